"""`entourage replicas` and `replicate`."""

import json
from pathlib import Path

import pytest
from cli_world import SERVICE, entourage, error_of, example_world, not_root

from entourage.cli import replication
from entourage.cli.exits import Exit
from entourage.model.ids import HostId, MemberId
from entourage.model.replication import Generation
from entourage.planner.replicating import ReplicaState

NOW = 1000.0


@pytest.fixture(autouse=True)
def _world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example_world(monkeypatch, tmp_path)
    monkeypatch.setattr("entourage.cli.replication.time.time", lambda: NOW)


def seen(monkeypatch: pytest.MonkeyPatch, *states: ReplicaState) -> None:
    monkeypatch.setattr(replication, "replica_states", lambda _: list(states))


def state(member: str, *, age_s: float | None, problem: str | None = None) -> ReplicaState:
    last = None
    if age_s is not None:
        last = Generation(
            id="3-x",
            number=3,
            member=MemberId(member),
            source=HostId("east/h1"),
            began_at=NOW - age_s - 0.5,
            taken_at=NOW - age_s,
            valid_at=NOW - age_s + 0.5,
            bytes=65536,
        )
    host = None if last is None else HostId("west/h1")
    return ReplicaState(member=MemberId(member), rpo_s=10.0, host=host, generation=last, problem=problem)


def test_fresh_replicas_are_shown_with_their_age_and_last_round(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, state("web1", age_s=4.2))
    done = entourage("replicas")
    assert done.exit_code == Exit.DONE, done.output
    (row,) = [line for line in done.stdout.splitlines() if "web1" in line]
    assert row.split() == ["web1", "west/h1", "3", "4.2", "s", "10", "s", "65.5", "kB", "in", "1.0", "s", "fresh"]


def test_one_that_is_behind_fails_the_command_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, state("web1", age_s=4.2), state("web2", age_s=10.5, problem="the link is too slow"))
    done = entourage("replicas")
    assert done.exit_code == Exit.FAILED
    assert "behind" in done.stdout
    assert "web2: the link is too slow" in done.stdout


def test_json_has_every_member(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, state("web1", age_s=4.2), state("web2", age_s=None))
    done = entourage("replicas", "--json")
    assert done.exit_code == Exit.FAILED
    found = json.loads(done.stdout)["replicas"]
    assert [(each["member"], each["behind"], each["age_s"]) for each in found] == [
        ("web1", False, 4.2),
        ("web2", True, None),
    ]


def test_a_service_without_replication_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch)
    done = entourage("replicas")
    assert done.exit_code == Exit.DONE
    assert f"{SERVICE.id} wants no replication; it does with rpo: 10 s" in done.stdout


def test_replicate_says_what_a_service_needs_for_it() -> None:
    done = entourage("replicate", "--json")
    assert done.exit_code == Exit.FAILED
    assert "wants no replication; write rpo: 10 s in its file" in error_of(done)["message"]


@pytest.mark.parametrize("command", ["replicas", "replicate"])
def test_both_need_root(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    not_root(monkeypatch)
    assert entourage(command).exit_code == Exit.NEEDS_ROOT

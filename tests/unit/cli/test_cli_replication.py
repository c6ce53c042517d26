"""`entourage replicas` and `replicate`."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_world import SERVICE, FakePlace, entourage, error_of, example_world, not_root

from entourage.cli import replication
from entourage.cli.exits import Exit
from entourage.drivers.qemu.kept import kept_disks, put_aside
from entourage.drivers.qemu.process import InstancePaths
from entourage.model.ids import HostId, MemberId
from entourage.model.replication import Generation
from entourage.planner.replicating import ReplicaState

NOW = 1000.0


@pytest.fixture(autouse=True)
def _world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example_world(monkeypatch, tmp_path)
    monkeypatch.setattr(FakePlace, "hosts", lambda _: [HostId("east/h1")], raising=False)
    monkeypatch.setattr(FakePlace, "access", lambda *_: SimpleNamespace(run_dir=tmp_path), raising=False)
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


def put_two_aside(directory: Path) -> list[str]:
    """Two old disks of web1, 5 min and 10 s old; what they are called."""
    for age_s in (300, 10):
        paths = InstancePaths(directory / "web1")
        paths.disk.write_bytes(b"x" * 4096)
        put_aside(paths, epoch=2, at=NOW - age_s)
    return ["east/h1/web1.2.19700101T001140Z", "east/h1/web1.2.19700101T001630Z"]


def test_disks_that_were_put_aside_are_shown_with_their_age_size_and_how_to_remove_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen(monkeypatch, state("web1", age_s=4.2))
    older, younger = put_two_aside(tmp_path)
    done = entourage("replicas")
    assert done.exit_code == Exit.DONE, done.output
    rows = [line.split() for line in done.stdout.splitlines() if "east/h1/web1" in line]
    assert rows == [[older, "5.0", "min", "4.1", "kB"], [younger, "10", "s", "4.1", "kB"]]
    assert f"entourage replicas {SERVICE.id} --lab lab1 --discard-kept NAME, or all" in done.stdout
    told = json.loads(entourage("replicas", "--json").stdout)["kept"]
    assert [(each["name"], each["age_s"], each["epoch"], each["bytes"]) for each in told] == [
        (older, 300.0, 2, 4096),
        (younger, 10.0, 2, 4096),
    ]
    assert Path(told[0]["path"]).read_bytes() == b"x" * 4096


def test_one_that_was_put_aside_is_removed_or_all_are_and_nothing_else(tmp_path: Path) -> None:
    older, younger = put_two_aside(tmp_path)
    wrong = entourage("replicas", "--discard-kept", older + "Z", "--json")
    assert wrong.exit_code == Exit.FAILED
    assert f"no old disk of {SERVICE.id} is called" in error_of(wrong)["message"]
    assert json.loads(entourage("replicas", "--discard-kept", older, "--json").stdout)["discarded"] == [older]
    of_another = InstancePaths(tmp_path / "db1")
    of_another.disk.touch()
    put_aside(of_another, epoch=1, at=NOW)
    assert f"removed {younger}" in entourage("replicas", "--discard-kept", "all").stdout
    assert [disk.member for disk in kept_disks(tmp_path)] == ["db1"]
    assert "nothing: none is kept" in entourage("replicas", "--discard-kept", "all").stdout


def test_replicate_says_what_a_service_needs_for_it() -> None:
    done = entourage("replicate", "--json")
    assert done.exit_code == Exit.FAILED
    assert "wants no replication; write rpo: 10 s in its file" in error_of(done)["message"]


@pytest.mark.parametrize("command", ["replicas", "replicate"])
def test_both_need_root(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    not_root(monkeypatch)
    assert entourage(command).exit_code == Exit.NEEDS_ROOT

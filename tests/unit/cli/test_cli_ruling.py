"""`run`, `explain`, `rules` and `decisions`: what they show, keep and refuse."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_world import (
    INFRASTRUCTURE,
    SERVICE,
    FakePlace,
    FakeWatcher,
    entourage,
    error_of,
    example_world,
    not_root,
    seen,
)

from entourage.cli import ruling  # noqa: F401 - loaded before parts are replaced
from entourage.drivers.decisions import DecisionRecords, KeptDecision
from entourage.drivers.records import sqlite_url
from entourage.engine.known import KnownMove
from entourage.lab.errors import LabError
from entourage.lab.leftovers import exclusive_rules
from entourage.lab.place import Place
from entourage.model.ids import ServiceId
from entourage.operations.moves import RefusedError
from entourage.operations.rule_files import keep_memory, kept_memory
from entourage.planner import MoveRequest, Refusal
from entourage.rules.memory import Memory, Placed
from entourage.rules.observations import OBSERVATIONS

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)

LAB = f"rules-{os.getpid()}"  # of this process alone: a run holds it against all others of this machine
RULES = """\
rules:
  follow: {when: member-moved, if: member.role == 'server', do: follow}
  busy: {when: always, if: path.crossings > 0, do: refuse, hold: 1 min}
"""
BAD = """\
rules:
  follow: {when: member-mvoed, do: follow}
  busy: {when: always, if: path.crossing > 0, do: refuse}
"""
TO_AND_FRO = """\
rules:
  west: {when: always, if: service.site == 'east', do: evacuate, to: west}
  east: {when: always, if: service.site == 'west', do: evacuate, to: east}
"""
EMPTY_LINE = "nothing was decided yet"


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where members are that are not at east; the loop remembers that all were there."""
    at: dict[str, str] = {}

    async def nothing(*_: object) -> None:
        pass

    for module in ("ruling", "explaining"):
        monkeypatch.setattr(f"entourage.operations.{module}.Watcher", lambda _: FakeWatcher(at))
    monkeypatch.setattr("entourage.operations.ruling.wire", lambda *_, **__: SimpleNamespace(close=nothing))
    for name in ("ruling.all_moves", "recovering.open_moves"):
        monkeypatch.setattr(f"entourage.operations.{name}", lambda _: [])
    return at


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, world: None) -> Place:
    """The lab with its one service, and a folder for what is kept."""
    made: Any = FakePlace(name=LAB)
    made.run_dir.mkdir()
    made.moves_url = sqlite_url(made.run_dir.absolute() / "moves.sqlite")
    monkeypatch.setattr("entourage.cli.ruling.open_lab", lambda _: made)
    monkeypatch.setattr("entourage.cli.ruling.open_place", lambda _, service: made.place(service))
    where = seen().snapshot.placement
    keep_memory(made, Memory(placed={SERVICE.id: Placed(where=where, since=1.0, whole=where)}))
    return made  # type: ignore[no-any-return]


@pytest.fixture
def two_services(place: Any) -> None:
    """The lab has another service beside."""
    place.more = (replace(SERVICE, id=ServiceId("blue")),)


@pytest.fixture
def records(place: Place) -> Iterator[DecisionRecords]:
    opened = DecisionRecords(place.moves_url)
    yield opened
    opened.close()


def file_of(text: str) -> str:
    Path("rules.yaml").write_text(text)
    return "rules.yaml"


def kept_by(records: DecisionRecords) -> list[tuple[str, str, str | None]]:
    """Rule, verdict and outcome, the first decision first."""
    return [_said(each) for each in reversed(records.latest())]


def _said(kept: KeptDecision) -> tuple[str, str, str | None]:
    return kept.document["rule"], kept.document["verdict"], None if kept.outcome is None else kept.outcome["outcome"]


# rules


def test_rules_shows_what_a_file_says() -> None:
    result = entourage("rules", "--rules", file_of(RULES))
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["follow", "member-moved", "member.role", "==", "'server'", "follow", "all"] in rows
    assert ["busy", "always", "path.crossings", ">", "0", "refuse", "all", "60", "s"] in rows


def test_rules_as_json() -> None:
    answer = json.loads(entourage("rules", "--rules", file_of(RULES), "--json").stdout)
    assert answer["file"] == "rules.yaml"
    assert answer["rules"][1] == {
        "name": "busy", "line": 3, "when": "always", "if": "path.crossings > 0", "do": "refuse", "for": None,
        "hold_s": 60.0,
    }  # fmt: skip


def test_what_expressions_may_name_is_listed_without_a_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lab(_: str) -> None:
        raise LabError("there is no lab")

    monkeypatch.setattr("entourage.cli.ruling.open_lab", no_lab)
    text = entourage("rules", "--observations").stdout
    assert all(each.path in text for each in OBSERVATIONS)
    answer = json.loads(entourage("rules", "--observations", "--json").stdout)
    assert [each["name"] for each in answer] == [each.path for each in OBSERVATIONS]
    assert answer[0] == {"name": "service.id", "type": "string", "says": "the service's name"}


@pytest.mark.parametrize("words", [["rules"], ["run"], ["run", "--once"], ["explain"]])
def test_every_mistake_of_a_rule_file_is_told_with_its_place(words: list[str]) -> None:
    result = entourage(*words, "--rules", file_of(BAD))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "rules.yaml:2:18: unknown event 'member-mvoed' (hint: did you mean 'member-moved'?)" in result.stderr
    assert (
        "rules.yaml:3:28: unknown observation 'path.crossing' (hint: did you mean 'path.crossings'?)" in result.stderr
    )
    as_json = entourage(*words, "--rules", "rules.yaml", "--json")
    assert as_json.exit_code == 2
    assert len(error_of(as_json)["problems"]) == 2


@pytest.mark.parametrize("words", [["rules"], ["run", "--once"], ["explain"]])
def test_rules_that_move_it_to_and_fro_are_refused(words: list[str]) -> None:
    result = entourage(*words, "--rules", file_of(TO_AND_FRO))
    assert result.exit_code == 2
    assert "shop would never rest" in result.stderr
    assert "rules.yaml:" in result.stderr


@pytest.mark.parametrize("words", [["rules"], ["run", "--once"], ["explain"]])
def test_a_rule_file_that_is_not_there_is_told(words: list[str]) -> None:
    result = entourage(*words, "--rules", "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.stderr


@pytest.mark.parametrize("words", [["rules"], ["run", "--once"], ["explain"]])
def test_without_rules_in_force_it_is_said_how_to_begin(words: list[str]) -> None:
    result = entourage(*words)
    assert result.exit_code == 1
    assert result.stderr == (f"entourage: no rules are in force in lab {LAB}; begin with: entourage run --rules FILE\n")
    assert error_of(entourage(*words, "--json"))["kind"] == "lab"


@pytest.mark.parametrize("command", ["explain", "decisions"])
def test_an_unknown_service_comes_back_with_the_likely_one(command: str) -> None:
    result = entourage(command, "shp")
    assert result.exit_code == 2
    assert result.stderr == f"entourage: unknown service 'shp' in lab {LAB}: did you mean 'shop'?\n"


@pytest.mark.parametrize("command", ["run", "explain", "rules", "decisions"])
def test_help_has_examples_and_json(command: str) -> None:
    result = entourage(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"  entourage {command}" in result.stdout
    assert "--json" in result.stdout


@pytest.mark.usefixtures("ordinary_user")
@pytest.mark.parametrize("command", ["run", "explain", "decisions"])
def test_what_looks_into_a_lab_needs_root(command: str) -> None:
    result = entourage(command)
    assert result.exit_code == 77
    assert f"{command} needs root" in result.stderr


# run


def test_run_once_decides_says_and_keeps_what_it_decided(moved: dict[str, str], records: DecisionRecords) -> None:
    moved["web1"] = "west"
    result = entourage("run", "--rules", file_of(RULES), "--once", "--only-decide")
    assert result.exit_code == 0, result.output
    assert f"2 rules of rules.yaml look at shop in lab {LAB}" in result.output
    assert "rule follow: do follow shop to west, for member-moved: web1 on west/h1" in result.output
    assert ("follow", "do", "only decided") in kept_by(records)


def test_run_as_json_is_a_line_for_each_decision(moved: dict[str, str]) -> None:
    moved["web1"] = "west"
    result = entourage("run", "--rules", file_of(RULES), "--once", "--only-decide", "--json")
    assert result.exit_code == 0, result.output
    follow, *_ = [json.loads(line) for line in result.stdout.splitlines()]
    assert (follow["rule"], follow["verdict"], follow["target"]) == ("follow", "do", "west")
    assert follow["about"] == "member-moved: web1 on west/h1"


def test_who_only_decides_leaves_the_rules_in_force_and_a_run_that_acts_alone(
    moved: dict[str, str], place: Place, records: DecisionRecords
) -> None:
    entourage("run", "--rules", file_of(RULES), "--once")
    moved["web1"] = "west"
    remembered = kept_memory(place)
    Path("tried.yaml").write_text(RULES.replace("follow:", "try:"))
    with exclusive_rules(LAB):
        result = entourage("run", "--rules", "tried.yaml", "--once", "--only-decide")
    assert result.exit_code == 0, result.output
    assert ("try", "do", "only decided") in kept_by(records)
    assert json.loads(entourage("rules", "--json").stdout)["file"] == "rules.yaml"
    assert kept_memory(place) == remembered


def test_nothing_that_was_only_decided_is_taken_for_begun(moved: dict[str, str], records: DecisionRecords) -> None:
    moved["web1"] = "west"
    entourage("run", "--rules", file_of(RULES), "--once", "--only-decide")
    assert records.latest()
    assert records.unfinished() == []


def test_where_nothing_happened_nothing_is_decided(moved: dict[str, str], records: DecisionRecords) -> None:
    assert moved == {}
    assert entourage("run", "--rules", file_of(RULES), "--once").exit_code == 0
    assert kept_by(records) == []
    assert entourage("decisions").stdout == f"{EMPTY_LINE}\n"


def test_the_rules_of_a_run_are_in_force_from_then_on(moved: dict[str, str], records: DecisionRecords) -> None:
    assert entourage("run", "--rules", file_of(RULES), "--once").exit_code == 0
    Path("rules.yaml").unlink()
    assert json.loads(entourage("rules", "--json").stdout)["file"] == "rules.yaml"
    moved["web1"] = "west"
    assert entourage("run", "--once", "--only-decide").exit_code == 0
    assert ("follow", "do", "only decided") in kept_by(records)


def test_rules_that_are_wrong_do_not_come_into_force(moved: dict[str, str]) -> None:
    assert moved == {}
    entourage("run", "--rules", file_of(RULES), "--once")
    entourage("run", "--rules", file_of(BAD), "--once")
    assert [each["name"] for each in json.loads(entourage("rules", "--json").stdout)["rules"]] == ["follow", "busy"]


def test_what_a_run_that_is_gone_was_doing_is_decided_anew(
    moved: dict[str, str], place: Place, records: DecisionRecords
) -> None:
    moved["web1"] = "west"
    remembered = kept_memory(place)
    keep_memory(place, Memory(placed=remembered.placed, running={("follow", SERVICE.id): 3.0}))
    entourage("run", "--rules", file_of(RULES), "--once", "--only-decide")
    assert ("follow", "do", "only decided") in kept_by(records)


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[MoveRequest]:
    """Moves that commit; the requests are listed."""
    asked: list[MoveRequest] = []

    async def run_move(_: object, request: MoveRequest, **__: object) -> dict[str, Any]:
        asked.append(request)
        return {
            "outcome": "committed", "reason": None, "move": "shop-20260102-030405", "total_s": 9.5,
            "predicted": {"total_s": 9.0},
        }  # fmt: skip

    monkeypatch.setattr("entourage.operations.ruling.run_move", run_move)
    monkeypatch.setattr("entourage.operations.ruling.write_move", lambda *_: None)
    return asked


def test_run_acts_and_says_what_came_of_it(
    moved: dict[str, str], moves: list[MoveRequest], records: DecisionRecords, place: Place
) -> None:
    moved["web1"] = "west"
    result = entourage("run", "--rules", file_of(RULES), "--once")
    assert result.exit_code == 0, result.output
    assert [(each.service, each.target, each.members) for each in moves] == [("shop", "west", None)]
    assert "committed in 9.5 s, predicted 9.0 s" in result.output
    assert ("follow", "do", "committed") in kept_by(records)
    assert (kept_memory(place).running, kept_memory(place).failed) == ({}, {})
    assert [service for _, service in kept_memory(place).acted["follow"]] == ["shop"]


def test_a_move_that_is_refused_at_the_last_moment_is_kept_as_failed(
    moved: dict[str, str], monkeypatch: pytest.MonkeyPatch, records: DecisionRecords, place: Place
) -> None:
    async def run_move(*_: object, **__: object) -> None:
        raise RefusedError(Refusal(service=SERVICE.id, target=INFRASTRUCTURE.sites[1].id, verdicts=()))

    monkeypatch.setattr("entourage.operations.ruling.run_move", run_move)
    moved["web1"] = "west"
    assert entourage("run", "--rules", file_of(RULES), "--once").exit_code == 0
    assert ("follow", "do", "refused") in kept_by(records)
    assert kept_memory(place).failed[("follow", SERVICE.id)].times == 1


def test_run_names_all_services_that_it_looks_at(moved: dict[str, str], two_services: None) -> None:
    assert moved == {}
    result = entourage("run", "--rules", file_of(RULES), "--once")
    assert f"2 rules of rules.yaml look at shop, blue in lab {LAB}" in result.output


def test_run_first_brings_to_its_end_what_another_has_left_open(
    moved: dict[str, str], monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    assert moved == {}
    left = [
        KnownMove(move=f"shop-{n}", began=1.0, executor="x", document={"service": SERVICE.id}, ended=None)
        for n in range(2)
    ]
    taken: list[Any] = []

    async def take_over(wired: Any, _: object) -> dict[str, Any]:
        taken.append(wired.place)
        return {}

    async def close() -> None:
        taken.append("closed")

    monkeypatch.setattr("entourage.operations.recovering.open_moves", lambda _: left)
    monkeypatch.setattr("entourage.operations.recovering.wire", lambda at: SimpleNamespace(place=at, close=close))
    monkeypatch.setattr("entourage.operations.recovering.take_over", take_over)
    assert entourage("run", "--rules", file_of(RULES), "--once").exit_code == 0
    assert taken == [place, "closed"]


# explain


def test_of_many_services_explain_wants_to_know_which(two_services: None) -> None:
    result = entourage("explain", "--rules", file_of(RULES))
    assert result.exit_code == 2
    assert result.stderr == f"entourage: lab {LAB} has 2 services: shop, blue; say which\n"


def test_explain_shows_what_each_rule_sees_and_says_and_changes_nothing(
    moved: dict[str, str], place: Place, records: DecisionRecords
) -> None:
    moved["web1"] = "west"
    before = kept_memory(place)
    result = entourage("explain", "--rules", file_of(RULES))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "shop is at east"
    assert "rule follow: do" in lines
    assert "  when member-moved: web1 on west/h1" in lines
    assert "  if   member.role == 'server'" in lines
    assert "         member.role = 'server'" in lines
    assert (kept_memory(place), records.latest()) == (before, [])


def test_explain_shows_what_a_rule_sees_that_is_not_true(moved: dict[str, str]) -> None:
    assert moved == {}
    lines = entourage("explain", "shop", "--rules", file_of(RULES)).stdout.splitlines()
    assert "rule follow: not true" in lines
    assert "  when member-moved: not so now" in lines
    assert "rule busy: not true" in lines
    assert "         path.crossings = 0" in lines


def test_explain_as_json(moved: dict[str, str]) -> None:
    moved["web1"] = "west"
    answer = json.loads(entourage("explain", "--rules", file_of(RULES), "--json").stdout)
    assert (answer["service"], answer["site"], answer["odd"]) == ("shop", "east", [])
    follow, busy = answer["rules"]
    assert (follow["verdict"], follow["so_now"]) == ("do", ["web1 on west/h1"])
    assert follow["sees"] == {"member.role": "server"}
    assert (busy["rule"], busy["if"], list(busy["sees"])) == ("busy", "path.crossings > 0", ["path.crossings"])


def test_a_host_that_is_left_is_told_by_run_by_explain_and_by_what_is_kept(
    moved: dict[str, str], records: DecisionRecords
) -> None:
    moved["maintained"] = "east/h1"
    leave = file_of("rules:\n  leave: {when: host-maintenance, do: evacuate}\n")
    ran = entourage("run", "--rules", leave, "--once", "--only-decide")
    way = ", off east/h1 to other hosts of east"
    assert f"rule leave: do evacuate shop{way}, for host-maintenance: on east/h1" in ran.output
    assert [each.document["leaves"] for each in records.latest()] == ["east/h1"]
    assert "evacuate, off east/h1 → other hosts of east" in " ".join(entourage("decisions").stdout.split())
    assert f"  do   evacuate{way}" in entourage("explain", "--rules", leave).stdout.splitlines()
    (rule,) = json.loads(entourage("explain", "--rules", leave, "--json").stdout)["rules"]
    assert (rule["target"], rule["leaves"]) == ("east", "east/h1")


# decisions


@pytest.fixture
def three(records: DecisionRecords) -> list[int]:
    """Decisions: one that was carried out, one that failed, one that waits."""
    common = {"service": "shop", "action": "follow", "about": "member-moved: web1 on west/h1", "members": None,
              "predicted_s": None}  # fmt: skip
    numbers = [
        records.keep("shop", {**common, "rule": "follow", "verdict": verdict, "reasons": [reason], "target": target})
        for verdict, reason, target in (
            ("do", "all can hold", "west"),
            ("do", "all can hold", "west"),
            ("wait", "web1 has two copies", None),
        )
    ]
    records.end(numbers[0], {"outcome": "committed", "reason": None})
    records.end(numbers[1], {"outcome": "rolled-back", "reason": "copy fw: link down"})
    return numbers


def test_decisions_are_listed_the_latest_first_with_what_came_of_them(three: list[int]) -> None:
    result = entourage("decisions")
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert words.index("wait") < words.index("rolled-back") < words.index("committed")
    assert "web1 has two copies" in words
    assert "copy fw: link down" in words
    assert "follow → west" in words
    assert len(three) == 3


def test_decisions_of_a_service_that_is_gone_are_there_still(three: list[int], place: Any) -> None:
    place.service = replace(SERVICE, id=ServiceId("blue"))
    answer = json.loads(entourage("decisions", "shop", "--json").stdout)
    assert [each["number"] for each in answer["decisions"]] == three[::-1]
    assert entourage("decisions", "blue").stdout == f"{EMPTY_LINE}\n"


def test_decisions_as_json(three: list[int]) -> None:
    answer = json.loads(entourage("decisions", "shop", "--json").stdout)
    assert answer["lab"] == LAB
    assert [each["number"] for each in answer["decisions"]] == three[::-1]
    assert answer["decisions"][1]["outcome"] == {"outcome": "rolled-back", "reason": "copy fw: link down"}
    assert len(json.loads(entourage("decisions", "--most", "1", "--json").stdout)["decisions"]) == 1


@pytest.mark.parametrize("most", ["0", "-1", "many"])
def test_a_wrong_number_of_decisions_is_told(most: str) -> None:
    result = entourage("decisions", "--most", most)
    assert result.exit_code == 2
    assert "--most" in result.stderr

"""`move` and `report`: what is asked of the operations, what is shown, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_world import WEST, FakePlace, FakeWatcher, document, entourage, error_of, example_world, not_root, planned

from entourage.cli.exits import InterruptedByUserError
from entourage.engine.groups import group_to_json
from entourage.engine.known import KnownMove
from entourage.lab.errors import LabError
from entourage.model.ids import HostId, MemberId, ServiceId, SiteId
from entourage.operations.moves import RefusedError
from entourage.operations.recovering import way_of
from entourage.operations.reports import write_move
from entourage.operations.rule_files import RuleText, put_in_force
from entourage.planner import MoveRequest, Refusal, Strategy
from entourage.probe.runner import ProbeError
from entourage.switch import Group, Policy

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)

Moves = Callable[[object], list[dict[str, Any]]]
MOVE = "shop-20260102-030405"
REFUSES = """\
rules:
  stay: {when: always, if: service.site == 'east', do: refuse}
"""


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], list[dict[str, Any]]]:
    """Makes moves return a report or raise an error, and returns the list of what they were asked."""

    def make(result: object) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        async def measured_move(_: object, request: MoveRequest, **how: Any) -> object:
            asked.append({"request": request, **how})
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr("entourage.cli.moving.measured_move", measured_move)
        return asked

    return make


def test_a_move_is_asked_for_as_written(moves: Moves) -> None:
    asked = moves(document())
    words = ["shop", "--to", "west", "--only", "web1", "--strategy", "serial", "--sessions", "7", "--out", "there"]
    assert entourage("move", *words).exit_code == 0
    assert asked[0]["request"] == MoveRequest(
        service=ServiceId("shop"), target=WEST, members=frozenset({MemberId("web1")}), strategy=Strategy.SERIAL
    )
    assert asked[0]["load"].sessions == 7
    assert asked[0]["out"] == Path("there")


def test_a_move_off_a_host_is_asked_for_within_its_site(moves: Moves) -> None:
    asked = moves(document())
    assert entourage("move", "--off", "east/h1", "--hold").exit_code == 0
    assert asked[0]["request"] == MoveRequest(
        service=ServiceId("shop"), target=SiteId("east"), onto=frozenset({HostId("east/h2")}), waits=True
    )


def test_a_move_within_a_site_is_undone_to_the_host_that_was_left(
    moves: Moves, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = Group(
        order=(MemberId("rt"),),
        sources={MemberId("rt"): HostId("east/h1")},
        targets={MemberId("rt"): HostId("east/h2")},
        source_site=SiteId("east"),
        target_site=SiteId("east"),
        moves_ingress=False,
        policy=Policy(link_rate=1.0, enough_bytes=1),
    )
    known = KnownMove(
        move=MOVE,
        began=1.0,
        document={"service": "shop", "strategy": "group", "group": group_to_json(off)},
        ended={"outcome": "committed"},
        executor=None,
    )
    monkeypatch.setattr("entourage.cli.looking.all_moves", lambda _: [known])
    monkeypatch.setattr("entourage.cli.looking.last_failover", lambda _: None)
    assert way_of(known) == "east/h1 to east/h2"
    asked = moves(document())
    assert entourage("move", "--back", "--off", "east/h2").exit_code == 2
    assert entourage("move", "--back").exit_code == 0
    assert asked[0]["request"] == MoveRequest(
        service=ServiceId("shop"),
        target=SiteId("east"),
        members=frozenset({MemberId("rt")}),
        onto=frozenset({HostId("east/h1")}),
    )


def test_a_move_within_a_site_says_so_and_from_where_to_where(moves: Moves) -> None:
    found = document(target="east", source="east")
    for member in found["members"]:
        member |= {"source": "east/h1", "target": "east/h2"}
    moves(found)
    said = entourage("move", "--off", "east/h1").stdout
    assert "5 members moved within east: 50 of 50 sessions alive, blackout 205 ms" in said
    assert "group east/h1 → east/h2: committed" in said


def test_a_move_without_sessions_has_no_users(moves: Moves) -> None:
    asked = moves(document(sessions=None, requests=None, stream=None))
    assert entourage("move", "--to", "west", "--sessions", "0").exit_code == 0
    assert asked[0]["load"] is None


def test_a_move_ends_with_its_verdict_its_figures_and_its_files(moves: Moves) -> None:
    moves(document())
    result = entourage("move", "--to", "west")
    assert "The whole path moved: 50 of 50 sessions alive, blackout 205 ms" in result.stdout
    assert "request p50 after, users-west" in result.stdout
    assert "packet stream: longest gap 210 ms, 3 of 1,000 packets lost" in result.stdout
    assert f"report: out/moves/{MOVE}.json" in result.stdout
    assert f"page:   file://{Path.cwd()}/out/moves/{MOVE}.html" in result.stdout
    assert "\x1b" not in result.output


def test_a_move_as_json_is_its_report(moves: Moves) -> None:
    moves(document())
    assert json.loads(entourage("move", "--to", "west", "--json").stdout) == document()


def test_a_move_that_was_rolled_back_says_why(moves: Moves) -> None:
    moves(document(outcome="rolled-back", reason="copy fw: link down"))
    result = entourage("move", "--to", "west")
    assert result.exit_code == 4
    assert "Nothing moved: rolled back" in result.stdout
    assert "reason: copy fw: link down" in result.stdout
    assert entourage("move", "--to", "west", "--json").exit_code == 4


@pytest.mark.parametrize("found", [{"problems": ["web1 gave no sign of life"]}, {"left_over": ["rt on east/h1"]}])
def test_a_move_that_left_something_wrong_has_failed(moves: Moves, found: dict[str, Any]) -> None:
    moves(document(**found))
    result = entourage("move", "--to", "west")
    assert result.exit_code == 1
    assert next(iter(found.values()))[0] in result.stdout


def test_a_refused_move_says_so(moves: Moves) -> None:
    refusal = planned(MoveRequest(service=ServiceId("shop"), target=SiteId("east")))
    assert isinstance(refusal, Refusal)
    moves(RefusedError(refusal))
    result = entourage("move", "--to", "west", "--json")
    assert result.exit_code == 3
    assert error_of(result)["kind"] == "refused"


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> FakePlace:
    """A lab in which a rule is in force that refuses to move the service."""
    place: Any = FakePlace()
    place.run_dir.mkdir()
    put_in_force(place, RuleText(file="rules.yaml", text=REFUSES))
    monkeypatch.setattr("entourage.operations.refusing.Watcher", lambda _: FakeWatcher())
    return place  # type: ignore[no-any-return]


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--only", "web1"]])
def test_a_move_that_a_rule_refuses_is_not_begun(moves: Moves, more: list[str]) -> None:
    asked = moves(document())
    result = entourage("move", "--to", "west", *more, "--json")
    assert result.exit_code == 3, result.output
    error = error_of(result)
    assert error["kind"] == "refused"
    assert error["message"] == "the move of shop to west is refused: rule"
    (line,) = error["problems"]
    assert "said by rule stay" in line
    assert asked == []


def test_rules_that_are_of_no_use_any_more_are_no_consent(moves: Moves, refusing: FakePlace) -> None:
    asked = moves(document())
    lab: Any = refusing
    put_in_force(lab, RuleText(file="rules.yaml", text=REFUSES.replace("refuse", "refsue")))
    result = entourage("move", "--to", "west")
    assert result.exit_code == 1
    assert "the rules in force cannot be read any more; entourage rules says why" in result.stderr
    assert asked == []


@pytest.mark.usefixtures("refusing")
def test_despite_its_rules_a_service_is_moved_if_that_is_said(moves: Moves) -> None:
    asked = moves(document())
    assert entourage("move", "--to", "west", "--despite-rules").exit_code == 0
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (LabError("a move is under way"), 1, "lab"),
        (ProbeError("the probe of users-east ended"), 1, "probe"),
        (ExceptionGroup("users", [ProbeError("no route")]), 1, "probe"),
        (InterruptedByUserError(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "/out"), 1, "file"),
    ],
)
def test_what_goes_wrong_in_a_move_is_told(moves: Moves, error: BaseException, code: int, kind: str) -> None:
    moves(error)
    result = entourage("move", "--to", "west", "--json")
    assert result.exit_code == code
    assert error_of(result)["kind"] == kind


@pytest.mark.usefixtures("ordinary_user")
def test_a_move_needs_root(moves: Moves) -> None:
    asked = moves(document())
    assert entourage("move", "--to", "west").exit_code == 77
    assert asked == []


def test_a_report_is_found_by_its_move() -> None:
    page = write_move(document(), Path("out")).html
    page.unlink()
    result = entourage("report", MOVE)
    assert result.exit_code == 0
    assert "The whole path moved" in result.stdout
    assert "users-east → provider-east → edge-east → rt" in result.stdout
    assert page.read_text().startswith("<!doctype html>")


def test_a_report_is_found_by_its_file() -> None:
    kept = write_move(document(), Path("elsewhere"))
    assert json.loads(entourage("report", str(kept.json), "--json").stdout) == document()
    assert entourage("report", str(kept.json), "--open-path").stdout == f"{kept.html.absolute().as_uri()}\n"


def test_an_unknown_report_names_the_known_ones() -> None:
    write_move(document(), Path("out"))
    result = entourage("report", "shop-20260102-030400")
    assert result.exit_code == 2
    assert f"did you mean '{MOVE}'?" in result.stderr
    assert f"are: {MOVE}" in result.stderr
    assert "no report of a move is in elsewhere/moves" in entourage("report", "x", "--out", "elsewhere").stderr


def test_a_file_that_is_no_report_is_told_line_by_line() -> None:
    wrong = document(total_s="long")
    del wrong["members"]
    Path("wrong.json").write_text(json.dumps(wrong))
    result = entourage("report", "wrong.json")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "entourage: wrong.json is no report",
        "  members: missing",
        "  total_s: input should be a valid number",
    ]
    assert not Path("wrong.html").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"3"])
def test_a_file_of_anything_else_is_no_report(content: bytes) -> None:
    Path("other.json").write_bytes(content)
    result = entourage("report", "other.json", "--json")
    assert result.exit_code == 2
    assert error_of(result)["kind"] == "report"
    assert error_of(result)["problems"]


def test_a_move_back_knows_its_strategies_too() -> None:
    result = entourage("move", "--back", "--strategy", "gruop")
    assert result.exit_code == 2
    assert "unknown strategy 'gruop': did you mean 'group'?" in result.stderr


def test_a_target_that_does_not_serve_is_told_with_what_can_be_done_about_it(moves: Moves) -> None:
    moves(document(problems=["a request from users-west failed"], unverified=["a request from users-west failed"]))
    result = entourage("move", "--to", "west")
    assert result.exit_code == 1
    assert "the target does not serve; what can be done about it:\n  entourage move --back --lab lab1" in result.stderr


@pytest.mark.parametrize("unverified", [["a request from users-west failed"], []], ids=["does not serve", "serves"])
def test_only_a_target_that_does_not_serve_is_left_again(
    moves: Moves, monkeypatch: pytest.MonkeyPatch, unverified: list[str]
) -> None:
    left: list[str] = []

    async def move_back(_: object, report: dict[str, Any], **__: object) -> None:
        left.append(report["move"])
        report["moved_back_by"] = "another move"

    monkeypatch.setattr("entourage.cli.moving.move_back", move_back)
    moves(document(problems=unverified, unverified=unverified))
    result = entourage("move", "--to", "west", "--if-unverified", "move-back")
    assert left == ([MOVE] if unverified else [])
    assert "what can be done" not in result.stderr


def test_what_is_to_become_of_a_failed_target_is_one_of_two_words(moves: Moves) -> None:
    asked = moves(document())
    result = entourage("move", "--to", "west", "--if-unverified", "panic")
    assert result.exit_code == 2
    assert "--if-unverified 'panic': write stay or move-back" in result.stderr
    assert asked == []

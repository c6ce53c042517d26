"""`status`, `trace` and `plan`: what they print, and what they say of wrong names."""

import json
from typing import Any

import pytest
from cli_world import entourage, error_of, example_world, not_root, seen

from entourage.model.ids import HostId, MemberId
from entourage.operations.looking import Traced
from entourage.operations.observe import Observation
from entourage.paths import trace
from entourage.ports.hypervisor import RunState

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)


def test_status_shows_members_ingress_and_edges() -> None:
    result = entourage("status")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["lb", "load-balancer", "east/h2", "running"] in rows
    assert ["users-west", "east"] in rows
    assert ["west", "absent"] in rows
    assert "stretched segments: none" in result.stdout
    assert "nothing odd" in result.stdout


def test_status_names_what_is_odd(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(_: str, *, service: str) -> Observation:
        odd = seen()
        copies = {**odd.copies, (MemberId("fw"), HostId("west/h1")): RunState.INCOMING}
        del copies[MemberId("rt"), HostId("east/h1")]
        unguarded = (HostId("west/h2"),)
        return Observation(snapshot=odd.snapshot, copies=copies, edges=odd.edges, stretched={}, unguarded=unguarded)

    monkeypatch.setattr("entourage.cli.looking.look", look)
    output = entourage("status").stdout
    assert "odd: the guard on west/h2 does not answer" in output
    assert "odd: fw on west/h1 is incoming" in output
    assert "odd: rt runs nowhere" in output
    assert ["rt", "router", "nowhere", "absent"] in [line.split() for line in output.splitlines()]
    assert "nothing odd" not in output


def test_status_of_a_move_under_way_is_not_odd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entourage.cli.looking.is_being_driven", lambda _: True)
    assert "a move is under way" in entourage("status").stdout
    assert json.loads(entourage("status", "--json").stdout)["moving"] is True


def test_status_as_json() -> None:
    answer = json.loads(entourage("status", "--json").stdout)
    assert answer["placement"]["web2"] == "east/h2"
    assert answer["ingress"] == {"users-east": "east", "users-west": "east"}
    assert answer["oddities"] == []


@pytest.fixture
def traced_regions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    async def trace_from(_: object, regions: list[Any]) -> list[Traced]:
        asked.extend(regions)
        paths = [trace(seen().snapshot, region) for region in regions]
        return [
            Traced(path=p, measured_ms=57.3, problem=None)
            if p.region == "users-west"
            else Traced(path=p, measured_ms=None, problem="timed out")
            for p in paths
        ]

    monkeypatch.setattr("entourage.cli.looking.trace_from", trace_from)
    return asked


def test_trace_shows_every_hop_and_what_requests_took(traced_regions: list[str]) -> None:
    result = entourage("trace", "shop", "--from", "users-west")
    assert traced_regions == ["users-west"]
    assert "provider-east (provider at east)  backbone 25 ms" in result.stdout
    assert "round trip: computed 55 ms, measured 57.3 ms" in result.stdout


def test_trace_of_all_regions_says_where_nothing_answers(traced_regions: list[str]) -> None:
    result = entourage("trace")
    assert traced_regions == ["users-east", "users-west"]
    assert "round trip: computed 5 ms, no answer: timed out" in result.stdout


@pytest.mark.usefixtures("traced_regions")
def test_trace_as_json() -> None:
    answer = json.loads(entourage("trace", "--json").stdout)
    assert [path["measured_rtt_ms"] for path in answer["paths"]] == [None, 57.3]
    assert answer["paths"][1]["hops"][0]["name"] == "users-west"


def test_plan_shows_steps_figures_and_paths() -> None:
    result = entourage("plan", "--to", "west")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert any(row[1:4] == ["prepare", "rt", "on"] for row in rows)
    assert any(row[:1] == ["blackout"] for row in rows)
    assert "shop east → west, 5 members" in result.stdout
    assert "users-west before: 55 ms, 0 inter-site crossings" in result.stdout
    assert "users-west after: 5 ms, 0 inter-site crossings" in result.stdout
    assert "cannot promise" not in result.stdout


def test_plan_of_some_members_shows_what_it_cannot_promise() -> None:
    result = entourage("plan", "--to", "west", "--only", "web1", "--only", "web2", "--strategy", "serial")
    assert "2 members" in result.stdout
    assert "⇄ web1 ⇄" in result.stdout
    assert "no-way-back: " in result.stdout
    assert entourage("plan", "--to", "west", "--only", "web1,web2").stdout.count("⇄") > 0


def test_plan_as_json() -> None:
    assert json.loads(entourage("plan", "--to", "west", "--json").stdout)["schema"] == "entourage.plan/1"


def test_plan_off_a_host_says_that_it_stays_within_the_site() -> None:
    result = entourage("plan", "--off", "east/h1", "--only", "rt,web1")
    assert result.exit_code == 0
    assert "shop within east, 2 members" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[2:5] for row in rows if row[1:2] == ["prepare"]] == [["rt", "on", "east/h2"], ["web1", "on", "east/h2"]]
    assert not {"stage", "flip", "stretch"} & {row[1] for row in rows if len(row) > 1}
    as_json = json.loads(entourage("plan", "--off", "east/h1", "--json").stdout)
    assert (as_json["sources"], as_json["target"], as_json["moves_ingress"]) == (["east"], "east", False)
    assert as_json["placement"] == dict.fromkeys(("rt", "fw", "web1"), "east/h2")


def test_a_host_on_which_nothing_of_it_is_need_not_be_left() -> None:
    result = entourage("plan", "--off", "west/h1")
    assert result.exit_code == 3
    assert "already-there (said by placement, nothing-to-do): none of" in result.stderr
    assert "is on west/h1" in result.stderr


def test_a_refusal_has_its_code_its_reasons_and_who_said_it() -> None:
    result = entourage("plan", "--to", "east")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "refused: already-there" in result.stderr
    assert "already-there (said by placement, nothing-to-do): rt, fw, lb, web1, web2 at east already" in result.stderr
    as_json = entourage("plan", "--to", "east", "--json")
    assert as_json.exit_code == 3
    assert error_of(as_json)["refusal"]["verdict"]["code"] == "already-there"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan", "--to", "wset"], "unknown site 'wset' in lab lab1: did you mean 'west'?"),
        (["plan", "shp", "--to", "west"], "unknown service 'shp' in lab lab1: did you mean 'shop'?"),
        (["plan", "--to", "west", "--only", "wbe1"], "unknown member 'wbe1' in service shop: did you mean 'web1'?"),
        (["plan", "--to", "west", "--strategy", "grup"], "unknown strategy 'grup': did you mean 'group'?"),
        (["plan", "--off", "east/h3"], "unknown host 'east/h3' in lab lab1: did you mean 'east/h2'?"),
        (["plan"], "where to? write --to SITE, or --off HOST; the sites are east, west"),
        (
            ["plan", "--off", "east/h1", "--to", "west"],
            "--off says where to, to other hosts of the same site: leave --to away",
        ),
        (["trace", "--from", "users-wst"], "unknown region 'users-wst' in lab lab1: did you mean 'users-west'?"),
        (["move", "--to", "wset"], "unknown site 'wset' in lab lab1: did you mean 'west'?"),
    ],
)
def test_an_unknown_name_comes_back_with_the_likely_one(words: list[str], message: str) -> None:
    result = entourage(*words)
    assert result.exit_code == 2
    assert result.stderr == f"entourage: {message}\n"


@pytest.mark.parametrize("words", [["status"], ["plan", "--to", "west"]])
def test_no_colours_where_no_terminal_is(words: list[str]) -> None:
    assert "\x1b" not in entourage(*words).output


@pytest.mark.usefixtures("ordinary_user")
@pytest.mark.parametrize("words", [["status"], ["trace"], ["plan", "--to", "west"]])
def test_looking_inside_needs_root(words: list[str]) -> None:
    result = entourage(*words)
    assert result.exit_code == 77
    assert "needs root" in result.stderr
    assert "namespaces" in result.stderr

"""`entourage advise`: the options, the best first, and why."""

import json
from typing import Any

import pytest
from cli_world import EAST, HOSTS, SERVICE, WEST, entourage, error_of, example_world, not_root, open_place, seen

from entourage.cli import advising  # noqa: F401 - loaded before parts are replaced
from entourage.lab.errors import LabError
from entourage.model.ids import MemberId, SegmentId
from entourage.operations.advising import Advised
from entourage.planner import HostLoad
from entourage.planner.advice import advise
from entourage.ports.hypervisor import Capability

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)


class Situation:
    """What `advise` finds; the test says where members are and who has room."""

    def __init__(self) -> None:
        self.at: dict[str, str] = {}
        self.carried: float | None = 2e6
        self.is_full = False
        self.is_stretched = True
        self.asked: list[tuple[str, float]] = []

    async def advise_service(self, place: Any, *, watch_s: float) -> Advised:
        self.asked.append((place.service.id, watch_s))
        now = seen(**self.at)
        full = {host: HostLoad(memory=1 << 40, cpu=99.0) if host.startswith("west") else load
                for host, load in now.load().items()}  # fmt: skip
        both = frozenset({EAST, WEST})
        advice = advise(
            now.snapshot,
            loads=full if self.is_full else now.load(),
            capabilities={MemberId(member): frozenset(Capability) for member in HOSTS},
            stretched={SegmentId(s.id): both for s in SERVICE.segments if not s.gateway} if self.is_stretched else {},
            in_use={},
            carried=self.carried,
        )
        sites = (EAST, WEST) if self.at else (EAST,)
        return Advised(service=SERVICE.id, sites=sites, carried=self.carried, watched_s=watch_s, advice=advice)


@pytest.fixture(autouse=True)
def situation(monkeypatch: pytest.MonkeyPatch, world: None) -> Situation:
    made = Situation()
    monkeypatch.setattr("entourage.cli.advising.open_place", open_place)
    monkeypatch.setattr("entourage.cli.advising.advise_service", made.advise_service)
    return made


def lines(*words: str) -> list[str]:
    result = entourage("advise", *words)
    assert result.exit_code == 0, result.output
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_a_split_service_is_told_what_to_do_what_each_option_comes_to_and_why(situation: Situation) -> None:
    situation.at = {"web1": "west", "web2": "west"}
    said = lines("shop")
    assert said[0].startswith("shop at east and west: ")
    head = next(line for line in said if line.startswith("option"))
    assert head == "option users-east users-west crossings between sites copied blackout takes"
    rows = [line for line in said if line.startswith(("leave ", "move to west ", "bring-back to east "))]
    assert said[0] == "shop at east and west: bring-back to east"
    assert rows[0] == "bring-back to east 5.0 ms 55.0 ms 0 0 B/h 281 MB 153 ms 19 s"
    assert rows[-1] == "move to west gains users nothing more, and costs a blackout of 162 ms"
    assert any(line.startswith("with leave users would wait ") for line in said)
    assert "7.2 GB/h" in next(row for row in rows if row.startswith("leave "))
    assert "it carried 2 MB/s during 2 s; round trips are computed, regions count alike" in " ".join(said)


def test_a_whole_service_is_left(situation: Situation) -> None:
    situation.carried = None
    said = lines()
    assert said[0] == "shop at east: leave"
    assert "what it carries was not counted; round trips are computed, regions count alike" in " ".join(said)
    assert any(line.startswith("move to west gains users nothing, and costs a blackout of ") for line in said)


def test_an_option_that_cannot_be_done_is_shown_as_refused_with_its_reason(situation: Situation) -> None:
    situation.is_full = True
    said = lines()
    assert "move to west refused" in said
    assert any(line.startswith("move to west cannot be done: ") for line in said)


def test_regions_without_an_answer_are_shown_as_such(situation: Situation) -> None:
    situation.at, situation.is_stretched = {"web1": "west", "web2": "west"}, False
    assert any(line.startswith("leave no answer no answer") for line in lines())


def test_as_json(situation: Situation) -> None:
    situation.at, situation.is_stretched = {"web1": "west", "web2": "west"}, False
    document = json.loads(entourage("advise", "shop", "--watch", "7.5", "--json").stdout)
    assert situation.asked == [("shop", 7.5)]
    assert (document["service"], document["sites"], document["watched_s"]) == ("shop", ["east", "west"], 7.5)
    assert document["carried_bytes_per_s"] == 2e6
    assert document["advice"] == document["options"][0]["option"]
    assert len(document["why"]) == len(document["options"]) - 1
    leave = next(option for option in document["options"] if option["option"] == "leave")
    assert leave["rtt_ms"] == {"users-east": None, "users-west": None}  # JSON has no infinity


def test_an_unknown_service_comes_back_with_the_likely_one() -> None:
    result = entourage("advise", "shp", "--json")
    assert result.exit_code == 2
    assert "shop" in error_of(result)["message"]


@pytest.mark.parametrize("watch", ["0", "-1", "4000", "long"])
def test_a_time_that_cannot_be_is_refused(situation: Situation, watch: str) -> None:
    assert entourage("advise", "--watch", watch).exit_code == 2
    assert situation.asked == []


def test_what_cannot_be_looked_at_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise LabError("web1 on east/h1 does not answer")

    monkeypatch.setattr("entourage.cli.advising.advise_service", fails)
    result = entourage("advise")
    assert (result.exit_code, result.stderr) == (1, "entourage: web1 on east/h1 does not answer\n")


def test_help_has_examples_and_json() -> None:
    said = entourage("advise", "--help").stdout
    assert "entourage advise shop --watch 30 --json" in said
    assert "--json" in said


@pytest.mark.usefixtures("ordinary_user")
def test_it_needs_root() -> None:
    assert entourage("advise").exit_code == 77

"""`entourage test-failover`: what it shows, keeps and refuses; the failover itself is a lab's."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_world import FakePlace, entourage, error_of, example_world, not_root

from entourage.cli import failing_over  # noqa: F401 - loaded before parts are replaced
from entourage.lab.errors import LabError
from entourage.model.ids import SiteId
from entourage.operations.moves import RefusedError
from entourage.planner import Code, Refusal, Verdict

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)
REPORT: dict[str, Any] = {
    "schema": "entourage.failover-test/1", "test": "shop-20260102-030405", "service": "shop", "target": "west",
    "outcome": "served", "problems": [], "began": 1767323045.0, "boot_s": {"web1": 9.5}, "answers_s": 11.25,
    "requests": {"answered": 20, "p50_ms": 3.21}, "placement": {"web1": "west/h1"}, "data_of": {"web1": 1767323040.0},
    "data_age_s": 5.0, "left_over": [],
}  # fmt: skip


class Tried:
    """Stands for the failover: what it was asked for, and what comes of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bool]] = []
        self.cleaned: list[str] = []
        self.report = REPORT
        self.error: Exception | None = None

    async def try_failover(self, _: Any, service: str, target: str, *, without_data: bool, tell: Any) -> dict[str, Any]:
        tell.phase(f"a bubble at {target}")
        self.asked.append((service, target, without_data))
        if self.error is not None:
            raise self.error
        return self.report

    async def clean_up(self, _: Any, service: str) -> None:
        self.cleaned.append(service)
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def tried(monkeypatch: pytest.MonkeyPatch, world: None) -> Tried:
    made = Tried()
    monkeypatch.setattr("entourage.cli.failing_over.open_lab", FakePlace)
    monkeypatch.setattr("entourage.cli.failing_over.try_failover", made.try_failover)
    monkeypatch.setattr("entourage.cli.failing_over.clean_up", made.clean_up)
    return made


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_it_shows_that_it_served_how_soon_and_with_how_old_data(tried: Tried) -> None:
    result = entourage("test-failover", "shop", "--to", "west")
    assert result.exit_code == 0
    assert tried.asked == [("shop", "west", False)]
    said = lines(result.stdout)
    assert "shop served at west in a bubble" in said
    for row in ("answers after 11.2 s", "data was 5.0 s old", "requests answered 20", "request p50 3.2 ms"):
        assert row in said
    assert "left over nothing" in said


def test_the_report_is_kept_where_it_is_said() -> None:
    result = entourage("test-failover", "--to", "west", "--out", "here")
    (file,) = Path("here").rglob("*.json")
    assert str(file) == "here/failover-tests/shop-20260102-030405.json"
    assert f"report: {file}" in " ".join(lines(result.stdout))
    assert json.loads(file.read_text()) == REPORT


def test_as_json_it_is_the_report_and_nothing_else() -> None:
    assert json.loads(entourage("test-failover", "--to", "west", "--json").stdout) == REPORT


def test_a_service_that_did_not_serve_is_a_failure_and_every_problem_is_shown(tried: Tried) -> None:
    tried.report = {
        **REPORT, "outcome": "not-served", "problems": ["web2 gives no sign of life"], "data_age_s": None,
        "requests": {"answered": 0, "p50_ms": None}, "left_over": ["the bubble's note"],
    }  # fmt: skip
    result = entourage("test-failover", "--to", "west")
    assert result.exit_code == 1
    said = lines(result.stdout)
    assert "shop did not serve at west in a bubble" in said
    assert "problem: web2 gives no sign of life" in said
    assert "data was none: no disk has a replica" in said
    assert "left over the bubble's note" in said
    assert entourage("test-failover", "--to", "west", "--json").exit_code == 1


def test_disks_without_a_replica_may_be_empty_if_that_is_asked_for(tried: Tried) -> None:
    entourage("test-failover", "--to", "west", "--without-data")
    assert tried.asked == [("shop", "west", True)]


def test_without_a_site_it_is_asked_where_to(tried: Tried) -> None:
    result = entourage("test-failover")
    assert result.exit_code == 2
    assert result.stderr == "entourage: where to? write --to SITE; sites are east, west\n"
    assert tried.asked == []


def test_an_unknown_site_comes_back_with_the_likely_one(tried: Tried) -> None:
    result = entourage("test-failover", "--to", "wset", "--json")
    assert result.exit_code == 2
    assert "unknown site 'wset' in lab" in error_of(result)["message"]
    assert "west" in error_of(result)["message"]
    assert tried.asked == []


def test_what_the_planner_refuses_ends_with_its_code_and_reason(tried: Tried) -> None:
    verdict = Verdict(code=Code.NO_REPLICA, said_by="failover", reasons=("there is no replica of the disk of web1",))
    tried.error = RefusedError(Refusal(service=FakePlace().service.id, target=SiteId("west"), verdicts=(verdict,)))
    result = entourage("test-failover", "--to", "west")
    assert result.exit_code == 3
    assert "there is no replica of the disk of web1" in result.stderr


def test_what_fails_is_told_in_a_sentence_and_nothing_is_kept(tried: Tried) -> None:
    tried.error = LabError("web1 on west/h1 did not boot")
    result = entourage("test-failover", "--to", "west")
    assert result.exit_code == 1
    assert "web1 on west/h1 did not boot" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(Path.cwd().rglob("*.json")) == []


def test_what_a_killed_test_has_left_is_taken_away_without_another_test(tried: Tried) -> None:
    result = entourage("test-failover", "shop", "--clean-up")
    assert (result.exit_code, result.stdout) == (0, "nothing of a test of shop is there\n")
    assert (tried.cleaned, tried.asked) == (["shop"], [])


def test_taking_away_as_json_is_json() -> None:
    assert json.loads(entourage("test-failover", "shop", "--clean-up", "--json").stdout) == {
        "service": "shop",
        "left_over": [],
    }


def test_what_cannot_be_taken_away_is_told(tried: Tried) -> None:
    tried.error = LabError("the bridge is busy")
    result = entourage("test-failover", "--clean-up", "--json")
    assert result.exit_code == 1
    assert error_of(result)["message"] == "the bridge is busy"


def test_help_has_examples_and_json() -> None:
    said = entourage("test-failover", "--help").stdout
    assert "entourage test-failover shop --to west --json" in said
    assert "--clean-up" in said
    assert "--without-data" in said


@pytest.mark.usefixtures("ordinary_user")
def test_it_needs_root() -> None:
    assert entourage("test-failover", "--to", "west").exit_code == 77

"""The check of a document names every place that is wrong."""

import json
from typing import Any

import pytest
from report_sample import demo_document, move

from entourage.report import validate_demo_report, validate_move_report
from entourage.report.schema import MoveReport


@pytest.mark.parametrize("strategy", ["group", "serial", "parallel"])
def test_a_right_report_has_no_complaints(strategy: str) -> None:
    assert validate_move_report(json.loads(json.dumps(move(strategy)))) == []


def test_a_right_demo_has_no_complaints() -> None:
    assert validate_demo_report(json.loads(json.dumps(demo_document()))) == []


@pytest.mark.parametrize("name", sorted(MoveReport.__required_keys__ - {"schema"}))
def test_a_missing_field_is_named(name: str) -> None:
    document = move()
    del document[name]
    assert validate_move_report(document) == [f"{name}: missing"]


def test_figures_that_were_not_measured_may_be_null() -> None:
    document = move(blackout_ms=None, sessions=None, requests=None, ingress=None)
    document["members"][0]["paused_at"] = None
    assert validate_move_report(document) == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"blackout_ms": "251"}, "blackout_ms"),
        ({"blackout_ms": float("nan")}, "blackout_ms"),
        ({"strategy": "all at once"}, "strategy"),
        ({"outcome": "done"}, "outcome"),
        ({"left_over": None}, "left_over"),
        ({"members": [{"name": "rt"}]}, "members[0].role"),
        ({"bytes": -1}, "bytes"),
        ({"marks": [{"ms": 1.0}]}, "marks[0].what"),
        ({"sessions": {"opened": 1000}}, "sessions.survived"),
    ],
)
def test_a_field_of_the_wrong_type_is_named_with_its_place(changes: dict[str, Any], place: str) -> None:
    problems = validate_move_report(move() | changes)
    assert any(problem.startswith(place) for problem in problems), problems


@pytest.mark.parametrize("document", [None, [], "text", {}, {"schema": "entourage.demo-report/1"}, {"schema": 1}])
def test_something_else_than_a_move_report_is_refused_in_one_line(document: object) -> None:
    assert len(validate_move_report(document)) == 1
    assert "entourage.move-report/1" in validate_move_report(document)[0]


def test_what_json_cannot_hold_is_refused() -> None:
    assert validate_move_report(move(total_s={1, 2}))[0].startswith("the document is not JSON")

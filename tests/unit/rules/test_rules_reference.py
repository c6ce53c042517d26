"""The reference page lists what the code has: each observation, event and action, in its words and order."""

import inspect
import re
from enum import Enum
from pathlib import Path

from entourage.rules.observations import OBSERVATIONS
from entourage.rules.rule import Act, Event

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "rules.md").read_text()


def table_under(heading: str) -> list[tuple[str, ...]]:
    """The cells of the first table below the heading, without its head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if line[:1] == "|"
    ]
    return rows[2:]


def meanings(kind: type[Enum]) -> list[tuple[str, ...]]:
    """The values of an enum, each with the comment beside it."""
    found = re.findall(r'^    [A-Z_]+ = "([a-z-]+)"  # (.+)$', inspect.getsource(kind), re.MULTILINE)
    assert [value for value, _ in found] == [member.value for member in kind]
    return [(f"`{value}`", meaning) for value, meaning in found]


def test_every_observation_is_listed_with_its_type_and_meaning() -> None:
    assert table_under("Observations") == [(f"`{each.path}`", each.kind.value, each.says) for each in OBSERVATIONS]


def test_every_event_is_listed_with_its_meaning() -> None:
    assert table_under("Events") == meanings(Event)


def test_every_action_is_listed_with_its_meaning() -> None:
    assert table_under("Actions") == meanings(Act)

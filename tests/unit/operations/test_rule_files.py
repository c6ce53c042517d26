"""The rules in force and what their loop remembers: kept beside the lab, whole or not at all."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from entourage.lab.errors import LabError
from entourage.lab.place import Place
from entourage.model.ids import ServiceId
from entourage.operations.rule_files import (
    RuleText,
    in_force,
    keep_memory,
    kept_memory,
    put_in_force,
    read_rule_file,
)
from entourage.rules.memory import Failed, Memory
from entourage.spec import SpecError

TEXT = RuleText(file="rules.yaml", text="rules:\n  r: {when: site-lost, do: evacuate}\n# ende gut – alles gut\n")
MEMORY = Memory(
    failed={("r", ServiceId("shop")): Failed(times=2, last=17.5)}, told=frozenset({("t", ServiceId("shop"))})
)


@dataclass
class Kept:
    """As much of a lab as files need."""

    run_dir: Path
    name: str = "lab1"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    kept: Any = Kept(tmp_path)
    return kept  # type: ignore[no-any-return]


def only_file(place: Place) -> Path:
    (file,) = place.run_dir.iterdir()
    return file


def test_the_rules_that_were_put_in_force_are_in_force(place: Place) -> None:
    put_in_force(place, RuleText(file="other.yaml", text=""))
    put_in_force(place, TEXT)
    assert in_force(place) == TEXT
    only_file(place)  # nothing half-written is left beside it


def test_without_rules_it_is_said_how_to_begin(place: Place) -> None:
    with pytest.raises(LabError, match="no rules are in force in lab lab1; begin with: entourage run --rules FILE"):
        in_force(place)


def test_what_is_remembered_is_kept(place: Place) -> None:
    assert kept_memory(place) == Memory()
    keep_memory(place, MEMORY)
    assert kept_memory(place) == MEMORY
    only_file(place)


def test_what_was_remembered_before_the_machine_started_is_forgotten(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_memory(place, MEMORY)
    other_boot = tmp_path / "boot_id"
    other_boot.write_text("another\n")
    monkeypatch.setattr("entourage.operations.rule_files._BOOT_ID", other_boot)
    assert kept_memory(place) == Memory()


@pytest.mark.parametrize(
    "memory", [{}, [], None, {"placed": 3}, {"placed": {}, "since": [["r", "shop", 3.0]], "acted": {}}]
)
def test_what_another_version_remembered_is_forgotten(place: Place, memory: object) -> None:
    keep_memory(place, MEMORY)
    file = only_file(place)
    file.write_text(json.dumps({**json.loads(file.read_text()), "memory": memory}))
    assert kept_memory(place) == Memory()


def test_a_file_that_was_damaged_is_told_by_name(place: Place) -> None:
    keep_memory(place, MEMORY)
    file = only_file(place)
    file.write_text(file.read_text()[:20])
    with pytest.raises(LabError, match=rf"{file.name} cannot be read"):
        kept_memory(place)


def test_a_folder_that_is_gone_is_told(place: Place) -> None:
    place.run_dir.rmdir()
    with pytest.raises(LabError, match="cannot be written: No such file or directory"):
        put_in_force(place, TEXT)
    with pytest.raises(LabError, match="cannot be written: No such file or directory"):
        keep_memory(place, MEMORY)


def test_a_rule_file_is_read_as_text_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(TEXT.text)
    assert read_rule_file(file) == RuleText(file=str(file), text=TEXT.text)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_is_no_text_or_not_there_is_a_spec_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "rules.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SpecError, match=r"rules\.yaml"):
        read_rule_file(file)

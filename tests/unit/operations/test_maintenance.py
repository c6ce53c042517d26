"""Hosts that are to be left: kept beside the lab, and never used for anything new."""

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from entourage.lab.errors import LabError
from entourage.lab.kept import write_whole
from entourage.lab.place import Lab
from entourage.model.ids import HostId
from entourage.operations.maintenance import (
    Maintenance,
    begin_maintenance,
    end_maintenance,
    hosts_named,
    in_maintenance,
    usable,
)
from entourage.operations.words import UnknownNameError
from entourage.planner import HostLoad

E1, E2, W1 = HostId("east/h1"), HostId("east/h2"), HostId("west/h1")


@dataclass
class Kept:
    """As much of a lab as is needed."""

    run_dir: Path
    name: str = "lab1"

    def hosts(self) -> list[HostId]:
        return [E1, E2, W1]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr("entourage.operations.maintenance.time.time", lambda: 1000.0)
    made: Any = Kept(tmp_path)
    return made  # type: ignore[no-any-return]


def test_no_host_is_in_maintenance_before_somebody_says_so(lab: Lab) -> None:
    assert in_maintenance(lab) == {}


def test_it_is_kept_since_when_and_what_for(lab: Lab) -> None:
    begin_maintenance(lab, [E1, W1], "new memory – 64 GiB")
    kept = Maintenance(since=1000.0, reason="new memory – 64 GiB")
    assert in_maintenance(lab) == {E1: kept, W1: kept}
    assert len(list(lab.run_dir.iterdir())) == 1  # nothing half-written is left beside it


def test_of_two_who_say_so_at_once_neither_is_lost(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    other = threading.Thread(target=begin_maintenance, args=(lab, [E2], "the other"))

    def write_while_the_other_comes(path: Path, text: str) -> None:
        if not other.is_alive():
            other.start()
            other.join(0.2)  # it cannot end before we have
        write_whole(path, text)

    monkeypatch.setattr("entourage.lab.kept.write_whole", write_while_the_other_comes)
    begin_maintenance(lab, [E1], "the one")
    other.join(10)
    assert set(in_maintenance(lab)) == {E1, E2}


def test_a_host_that_is_in_maintenance_already_keeps_its_time_and_reason(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_maintenance(lab, [E1], "first")
    monkeypatch.setattr("entourage.operations.maintenance.time.time", lambda: 2000.0)
    begin_maintenance(lab, [E1, E2], "second")
    assert in_maintenance(lab) == {
        E1: Maintenance(since=1000.0, reason="first"),
        E2: Maintenance(since=2000.0, reason="second"),
    }


def test_it_ends_for_those_that_are_named_and_can_be_ended_twice(lab: Lab) -> None:
    begin_maintenance(lab, [E1, E2], "")
    for _ in range(2):
        end_maintenance(lab, [E1])
        assert list(in_maintenance(lab)) == [E2]
    end_maintenance(lab, [E2])
    assert in_maintenance(lab) == {}


def test_hosts_in_maintenance_are_not_used_for_anything_new(lab: Lab) -> None:
    loads = {host: HostLoad(memory=number, cpu=0.0) for number, host in enumerate((E1, E2, W1))}
    assert usable(lab, loads) == loads
    begin_maintenance(lab, [E1], "")
    assert usable(lab, loads) == {E2: loads[E2], W1: loads[W1]}


def test_a_site_stands_for_all_of_its_hosts(lab: Lab) -> None:
    assert hosts_named(lab, ["east"]) == [E1, E2]
    assert hosts_named(lab, ["west/h1", "east/h2"]) == [W1, E2]
    assert hosts_named(lab, []) == []


@pytest.mark.parametrize("word", ["eas", "east/", "h1", "", "east/h3", "/"])
def test_a_host_that_is_none_is_refused_with_its_name(lab: Lab, word: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown host .* in lab lab1: "):
        hosts_named(lab, ["west/h1", word])


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"east/h1": 3}', '{"east/h1": {"since": 1}}', "\x00"])
def test_a_file_that_was_damaged_is_told_by_name(lab: Lab, text: str) -> None:
    (lab.run_dir / "maintenance.json").write_text(text)
    with pytest.raises(LabError, match=r"maintenance\.json cannot be read: "):
        in_maintenance(lab)
    with pytest.raises(LabError, match=r"maintenance\.json cannot be read: "):
        begin_maintenance(lab, [E1], "")
    assert (lab.run_dir / "maintenance.json").read_text() == text


def test_the_file_can_be_read_by_others(lab: Lab) -> None:
    begin_maintenance(lab, [E1], "why")
    (file,) = lab.run_dir.iterdir()
    assert json.loads(file.read_text()) == {"east/h1": {"since": 1000.0, "reason": "why"}}


def test_a_folder_that_is_gone_is_told(lab: Lab) -> None:
    lab.run_dir.rmdir()
    with pytest.raises(LabError, match="cannot be written: No such file or directory"):
        begin_maintenance(lab, [E1], "")

"""A service whose members are promised real-time CPU: they have it, take it along, and who changes that is told on."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from whole_lab import WITHIN_S, lab_up

from entourage.drivers.qemu.process import instance_paths, running_pid
from entourage.lab.daemons import own_command
from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId
from entourage.operations.examples import example

pytestmark = [pytest.mark.lab, pytest.mark.alone]

LAB = "t-realtime"
EAST, WEST = HostId("east/h1"), HostId("west/h1")
THREADS = {"rt": 2, "fw": 2, "lb": 2, "web1": 2, "web2": 2}


@pytest.fixture(scope="module")
def place(lab_requirements: Path) -> Iterator[Place]:
    """A lab with its service running at `east`."""
    specs = ("--sites", str(example("sites-realtime.yaml")), "--service", str(example("shop-realtime.yaml")))
    with lab_up(LAB, *specs, "--rtt", "10 ms", "--rate", "500 Mbit/s") as made:
        yield made


def promised() -> dict[str, Any]:
    """What the command says while packets pass."""
    words = own_command("realtime", "--probe", "--seconds", "2", "--lab", LAB, "--json")
    said: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, timeout=WITHIN_S, check=False).stdout)
    return said


def require_kept_at(host: HostId, said: dict[str, Any]) -> None:
    """Every thread there has what it was promised, packets pass, and nobody has anything elsewhere."""
    assert {thread["host"] for thread in said["threads"]} == {host}
    assert {m: sum(thread["member"] == m for thread in said["threads"]) for m in THREADS} == THREADS
    assert [thread for thread in said["threads"] if thread["applied"] != thread["promised"]] == []
    assert said["forwarded"]["packets"] > said["forwarded"]["lost"]


def test_members_have_what_they_are_promised(place: Place) -> None:
    assert place.service.member(MemberId("fw")).realtime is not None
    require_kept_at(EAST, promised())


def test_they_have_it_at_the_target_and_no_longer_at_the_source(place: Place, tmp_path: Path) -> None:
    words = ("move", "--to", "west", "--sessions", "0", "--lab", LAB, "--out", str(tmp_path), "--json")
    done = subprocess.run(own_command(*words), capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "committed"), done.stderr
    require_kept_at(WEST, promised())
    assert list(place.access(EAST).run_dir.glob("*.promise")) == []


def test_somebody_who_takes_it_away_is_told_on(place: Place) -> None:
    pid = running_pid(instance_paths(place.access(WEST), MemberId("fw")))
    assert pid is not None
    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
    (told,) = [
        verdict for verdict in promised()["verdicts"] if verdict.startswith("fw on west/h1") and "SCHED" in verdict
    ]
    assert "applied SCHED_OTHER" in told

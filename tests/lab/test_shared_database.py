"""Two machines that share a database: one drives at a time, and one that was too slow does nothing any more.

A machine is a network namespace here: the name that says who drives on a machine is not seen from another one.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from whole_lab import WITHIN_S, home_and_other, lab_up, move_killed_in, mover, pair, require_at_rest

from entourage.lab.daemons import own_command
from entourage.lab.leftovers import is_being_moved
from entourage.lab.place import open_place
from entourage.model.ids import SiteId
from entourage.operations.recovering import all_moves, open_moves
from postgres import Server

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LAB = "t-shared"
ELSEWHERE = ["unshare", "--net"]


@pytest.fixture(scope="module")
def url(lab_requirements: Path, postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The database of a lab with its service running."""
    made = postgres.new_url()
    with lab_up(LAB, *pair(tmp_path_factory.mktemp("spec")), "--database", made):
        yield made


@pytest.fixture(autouse=True)
def _what_guards_did(url: str) -> Iterator[None]:
    """Shown if the test fails: what was stopped and run again, and when."""
    yield
    for log in sorted(open_place(LAB).run_dir.glob("*/guard.jsonl")):
        print(log, log.read_text(), sep="\n")


def moves(*, elsewhere: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(entourage("moves", "--json", elsewhere=elsewhere).stdout)["moves"]
    return found


def entourage(*words: str, elsewhere: bool = True) -> subprocess.CompletedProcess[str]:
    command = [*(ELSEWHERE if elsewhere else ()), *own_command(*words, "--lab", LAB)]
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def wait_for(state: str, output: IO[str]) -> None:
    for line in output:
        if json.loads(line).get("state") == state:
            return
    pytest.fail(f"it never came to {state}")


def require_others_refused(target: SiteId, *, driver: int) -> None:
    """Whoever asks for a move, on this machine or on another one, is told who drives one."""
    for elsewhere in (True, False):
        refused = entourage("move", "--to", target, elsewhere=elsewhere)
        assert refused.returncode == 1
        assert f"a move is under way in lab {LAB}, driven by process {driver} on " in refused.stderr


@pytest.mark.parametrize("state", ["stopping", "draining"])
def test_one_that_stood_still_until_another_ended_its_move_does_nothing_more(
    state: str, url: str, postgres: Server
) -> None:
    place = open_place(LAB)
    moves_before = len(all_moves(place))
    home, target = home_and_other(place)
    slow = [*ELSEWHERE, *mover(LAB, target, state, "wait")]
    with subprocess.Popen(
        slow, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout is not None
        assert one.stderr is not None
        wait_for(state, one.stdout)
        assert moves()[0]["state"] == "under way"
        if state == "stopping":  # the right to drive is held in every state alike
            require_others_refused(target, driver=one.pid)
        postgres.end_sessions(url)  # its machine is not heard of any more
        assert moves()[0]["state"] == "interrupted"
        recovered = entourage("recover", "--json", elsewhere=False)
        assert [each["outcome"] for each in json.loads(recovered.stdout)["moves"]] == ["rolled-back"]
        require_at_rest(place, home)
        _, said = one.communicate("\n", timeout=WITHIN_S)
        assert one.returncode == 1
        # Or drives them now: a guard's own recovery, which finds nothing open, may just be looking.
        has_driven = r"another process has driven the moves of this database meanwhile"
        assert re.search(rf"RightLostError: ({has_driven}|.* drives the moves of this database now)", said)
    require_at_rest(place, home)
    assert len(all_moves(place)) == moves_before + 1


def test_a_move_that_was_killed_is_ended_from_another_machine(url: str) -> None:
    place = open_place(LAB)
    home, target = home_and_other(place)
    move_killed_in(LAB, target, "copying", by=ELSEWHERE)
    entourage("recover", elsewhere=True)  # unless the guards have somebody at it already
    # By us or by the guards' own, which holds the lab until it has ended; bounded by the test's own deadline.
    while open_moves(place) or is_being_moved(LAB):
        entourage("recover", elsewhere=True)
    assert all_moves(place)[0].ended is not None
    require_at_rest(place, home)

"""Moves in the simulated world: nothing that may never be, whatever goes wrong; and planted faults are found."""

import os
import secrets
import subprocess
import sys

import pytest

from entourage.twin import Run, simulate
from entourage.twin.exhaustive import Schedule, run_schedule, schedules
from entourage.twin.faults import FaultKind
from entourage.twin.many import Tally, simulate_many
from entourage.twin.mutants import MUTANTS, Mutant, caught_at

HALF = 1000  # of the seeds that every test run tries
MUTANT_SEEDS = 1000


def explained(tally: Tally) -> str:
    """What is violated, and the log of the first."""
    lines = [f"{each.name}: {'; '.join(each.what)}" for each in tally.violations]
    return "\n".join([*lines, *(tally.violations[0].log if tally.violations else ())])


@pytest.mark.parametrize("first", [0, secrets.randbits(48)], ids=["fixed", "fresh"])
def test_whatever_goes_wrong_a_move_ends_whole_and_never_runs_a_member_twice(first: int) -> None:
    print(f"seeds from {first}")
    tally = simulate_many(first, HALF)
    assert tally.runs == HALF
    assert tally.violations == [], explained(tally)
    assert tally.outcomes["committed"] > HALF / 10
    assert tally.outcomes["rolled-back"] > HALF / 10
    assert tally.recoveries > HALF / 10


def test_the_same_seed_is_the_same_log_in_every_process() -> None:
    program = "from entourage.twin import simulate\nfor s in range(40): print(*simulate(s).log, sep='\\n')"
    logs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(logs) == 1
    assert len(logs.pop()) > 10_000


def test_every_fault_at_every_call_of_a_group_of_one() -> None:
    every = [each for each in schedules(1) if len(each.faults) < 2]
    assert {fault.kind for each in every for fault in each.faults} == set(FaultKind) - {FaultKind.KILLED_IN_RECOVERY}
    assert {str(each): run.violations for each in every if (run := run_schedule(each)).violations} == {}


@pytest.mark.parametrize("members", [1, 2, 3, 4])
def test_undisturbed_a_move_commits_and_users_hardly_notice(members: int) -> None:
    run = run_schedule(Schedule(members=members, faults=()))
    assert (run.outcome, run.violations, run.orchestrators) == ("committed", (), 1)
    assert 0 < run.outage_s < 0.2  # virtual


def test_two_orchestrators_at_once_do_no_harm_even_without_the_lock() -> None:
    """The decision that is written once is enough to keep them from harm; the lock saves them the trouble."""
    runs: list[Run] = [simulate(seed, is_exclusive=False) for seed in range(300)]
    assert [seed for seed, run in enumerate(runs) if run.violations] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_planted_fault_is_found(mutant: Mutant) -> None:
    assert caught_at(mutant, seeds=MUTANT_SEEDS) is not None

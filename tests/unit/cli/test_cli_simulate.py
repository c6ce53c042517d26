"""`entourage simulate`."""

import json
from dataclasses import replace

import pytest
from cli_world import entourage, not_root, plain_output

from entourage.cli import simulating
from entourage.twin import Run, simulate

ordinary = pytest.fixture(autouse=True)(not_root)
plain = pytest.fixture(autouse=True)(plain_output)
BROKEN = 3


def broken(seed: int) -> Run:
    run = simulate(seed)
    return replace(run, violations=("rt ran twice",)) if seed == BROKEN else run


def test_one_seed_prints_its_log_and_how_it_ended() -> None:
    first, again = entourage("simulate", "--seed", "17"), entourage("simulate", "--seed", "17")
    assert first.exit_code == 0
    assert first.stdout == again.stdout
    assert "orchestrator-1: begins" in first.stdout
    assert "seed 17: " in first.stdout.splitlines()[-1]


def test_many_seeds_are_counted() -> None:
    result = entourage("simulate", "--seeds", "20", "--first", "5", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (document["first_seed"], document["seeds"]["runs"], document["violations"]) == (5, 20, [])


def test_a_violated_seed_is_told_with_its_log_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entourage.twin.many.simulate", broken)
    monkeypatch.setattr(simulating, "run_seed", broken)
    many = entourage("simulate", "--seeds", "6", "--first", "0")
    assert many.exit_code == 1
    assert f"seed {BROKEN}: rt ran twice" in many.stdout
    assert f"again: entourage simulate --seed {BROKEN}" in many.stdout
    assert "orchestrator-1: begins" in many.stdout
    one = entourage("simulate", "--seed", str(BROKEN), "--json")
    assert one.exit_code == 1
    assert json.loads(one.stdout)["violations"] == ["rt ran twice"]


def test_nothing_to_simulate_is_a_usage_error() -> None:
    result = entourage("simulate", "--seeds", "0")
    assert result.exit_code == 2
    assert "--exhaustive" in result.stderr

"""`entourage maintenance`: hosts are marked, listed and given back."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_world import FakePlace, entourage, error_of, example_world, not_root

from entourage.cli import maintaining  # noqa: F401 - loaded before parts are replaced
from entourage.model.ids import HostId

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)


@pytest.fixture(autouse=True)
def lab(monkeypatch: pytest.MonkeyPatch, world: None) -> None:
    def open_lab(name: str) -> Any:
        made: Any = FakePlace(name)
        made.run_dir = Path.cwd()
        made.hosts = lambda: [HostId(f"{site}/{host}") for site in ("east", "west") for host in ("h1", "h2")]
        return made

    monkeypatch.setattr("entourage.cli.maintaining.open_lab", open_lab)
    monkeypatch.setattr("entourage.operations.maintenance.time.time", lambda: 1000.0)
    monkeypatch.setenv("TZ", "UTC")


def hosts() -> list[tuple[str, float, str]]:
    document = json.loads(entourage("maintenance", "--json").stdout)
    assert document["lab"].startswith("lab")
    return [(each["host"], each["since"], each["reason"]) for each in document["maintenance"]]


def test_without_words_the_hosts_are_listed_and_nothing_is_changed() -> None:
    result = entourage("maintenance")
    assert (result.exit_code, result.stdout) == (0, "no host is in maintenance\n")
    assert list(Path.cwd().glob("maintenance*")) == []
    assert hosts() == []


def test_a_host_is_marked_with_what_for_and_shown() -> None:
    result = entourage("maintenance", "east/h1", "--reason", "new memory")
    assert result.exit_code == 0
    (row,) = [line for line in result.stdout.splitlines() if "east/h1" in line]
    assert row.split()[-2:] == ["new", "memory"]
    assert "1970-01-01" in row
    assert hosts() == [("east/h1", 1000.0, "new memory")]


def test_a_site_marks_all_of_its_hosts() -> None:
    entourage("maintenance", "west")
    assert [host for host, _, _ in hosts()] == ["west/h1", "west/h2"]


def test_it_is_over_for_those_that_are_named() -> None:
    entourage("maintenance", "east", "west/h1")
    assert entourage("maintenance", "east", "--over").exit_code == 0
    assert [host for host, _, _ in hosts()] == ["west/h1"]
    assert entourage("maintenance", "west", "--over").stdout == "no host is in maintenance\n"


def test_over_without_a_host_ends_nothing_and_says_what_to_write() -> None:
    entourage("maintenance", "east/h1")
    result = entourage("maintenance", "--over")
    assert result.exit_code == 2
    assert result.stderr == "entourage: whose maintenance is over? write the hosts, or the site, such as east/h1\n"
    assert [host for host, _, _ in hosts()] == ["east/h1"]


@pytest.mark.parametrize("over", [(), ("--over",)])
def test_a_host_that_is_none_changes_nothing_and_comes_back_with_the_likely_one(over: tuple[str, ...]) -> None:
    result = entourage("maintenance", "east/h2", "east/h11", *over, "--json")
    assert result.exit_code == 2
    assert "unknown host 'east/h11' in lab lab" in error_of(result)["message"]
    assert "east/h1" in error_of(result)["message"].partition(": ")[2]
    assert hosts() == []


def test_a_damaged_file_is_told_without_a_traceback() -> None:
    (Path.cwd() / "maintenance.json").write_text("[]")
    result = entourage("maintenance")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"entourage: {Path.cwd() / 'maintenance.json'} cannot be read: ")
    assert "Traceback" not in result.stderr


def test_help_has_examples_and_json() -> None:
    said = entourage("maintenance", "--help").stdout
    assert "entourage maintenance east/h1 --reason 'new memory'" in said
    assert "--over" in said
    assert "--json" in said


@pytest.mark.usefixtures("ordinary_user")
def test_it_needs_root() -> None:
    assert entourage("maintenance").exit_code == 77

"""What is written after `entourage`: help, versions, and words that are wrong."""

import json
import subprocess
import sys

import pytest
from cli_world import entourage, error_of, example_world

from entourage import __version__
from entourage.cli.main import run

world = pytest.fixture(autouse=True)(example_world)

COMMANDS = ["lab up", "lab down", "lab status", "status", "trace", "plan", "move", "report", "simulate", "demo"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_and_json(command: str) -> None:
    result = entourage(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"  entourage {command}" in result.stdout
    assert "Examples:" in result.stdout
    assert "--json" in result.stdout


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_help_lists_commands_and_exit_codes(words: list[str]) -> None:
    result = entourage(*words)
    assert result.exit_code == 0
    assert all(command.split()[0] in result.stdout for command in COMMANDS)
    assert "77   root is needed" in result.stdout


def test_lab_alone_lists_its_commands() -> None:
    result = entourage("lab")
    assert result.exit_code == 0
    assert "down" in result.stdout


def test_version() -> None:
    assert entourage("--version").stdout == f"entourage {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mve"], "No such command 'mve'"),
        (["create", "blue", "--from", "web"], "Missing option '--at'"),
        (["move", "--to", "west", "--sessions", "many"], "should be a valid integer"),
        (["move", "--to", "west", "--sessions", "-1"], "greater than or equal to 0"),
        (["status", "--bogus"], "No such option"),
        (["report"], "Missing argument"),
    ],
)
def test_wrong_words_are_told_in_one_line(words: list[str], message: str) -> None:
    result = entourage(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("entourage: ")
    assert message in result.stderr
    assert "--help" in result.stderr
    assert result.stderr.count("\n") == 1


def test_wrong_words_are_json_where_json_is_asked_for() -> None:
    result = entourage("move", "--json")
    assert result.exit_code == 2
    assert result.stderr == ""
    assert error_of(result)["kind"] == "usage"


def test_the_lab_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTOURAGE_LAB", "far")
    assert json.loads(entourage("status", "--json").stdout)["lab"] == "far"


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys\nfrom entourage.cli.main import app\napp(['--help'], standalone_mode=False)\n"
        "print(sorted({'rich', 'pydantic', 'pyroute2', 'ruamel', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_script_exits_with_the_commands_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["entourage", "plan", "--to", "nowhere"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2

"""`create`, `delete`, and `status` of several services: what they ask for, and what they say."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_world import EXAMPLES, INFRASTRUCTURE, SERVICE, entourage, error_of, example_world, not_root, seen

from entourage.lab.errors import LabError
from entourage.lab.place import WhichServiceError
from entourage.model.ids import ServiceId
from entourage.operations.observe import Observation
from entourage.spec.catalogue import Catalogue

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)


def of(name: str, *, is_half_made: bool = False) -> Observation:
    """The example's service under another name."""
    now = seen()
    snapshot = replace(now.snapshot, service=replace(SERVICE, id=ServiceId(name)))
    return replace(now, snapshot=snapshot, is_half_made=is_half_made)


@dataclass
class FakeLab:
    """A lab with these services."""

    name: str
    names: tuple[str, ...] = ("shop", "blue")
    infrastructure: Any = INFRASTRUCTURE
    moves_url: str = "sqlite:///moves.sqlite"
    asked: list[Any] = field(default_factory=list)

    @property
    def services(self) -> tuple[Any, ...]:
        return tuple(SimpleNamespace(id=name) for name in self.names)

    def place(self, service: str) -> Any:
        if service not in self.names:
            raise WhichServiceError(f"unknown service {service!r}")
        return SimpleNamespace(service=SimpleNamespace(id=service))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> FakeLab:
    """A lab that has the example's catalogue; what is made in it and taken away stands in `asked`."""
    made = FakeLab("lab1")
    kept = (str(EXAMPLES / "catalogue.yaml"), (EXAMPLES / "catalogue.yaml").read_text())

    async def create(_: object, catalogue: Catalogue, template: str, **how: Any) -> None:
        how.pop("progress")("booting guests", 0, 2)
        made.asked.append((Path(catalogue.file).name, template, how["service"], how["site"]))

    async def delete(_: object, service: str) -> None:
        made.asked.append(service)

    async def look(_: str, *, service: str) -> Observation:
        return of(service)

    async def look_at_all(_: object) -> list[Observation]:
        return [of(name, is_half_made=name == "half") for name in made.names]

    for module in ("instances", "looking"):
        monkeypatch.setattr(f"entourage.cli.{module}.open_lab", lambda _: made)
        monkeypatch.setattr(f"entourage.cli.{module}.look", look)
    monkeypatch.setattr("entourage.cli.looking.look_at_all", look_at_all)
    monkeypatch.setattr("entourage.operations.instances.create", create)
    monkeypatch.setattr("entourage.operations.instances.delete", delete)
    monkeypatch.setattr("entourage.operations.instances.read_catalogue", lambda _: kept)
    return made


def test_create_makes_the_service_from_the_labs_catalogue_and_shows_where_it_is(lab: FakeLab) -> None:
    result = entourage("create", "red", "--from", "small", "--at", "west")
    assert result.exit_code == 0
    assert lab.asked == [("catalogue.yaml", "small", "red", "west")]
    assert "0/2 booting guests" in result.stdout
    assert "red answers at 203.0.113.10, of its own prefix 203.0.113.0/28" in result.stdout
    answer = json.loads(entourage("create", "red", "--from", "web", "--at", "east", "--json").stdout)
    assert (answer["lab"], answer["service"], answer["half_made"]) == ("lab1", "red", False)


def test_a_catalogue_that_is_given_comes_before_the_labs_own(lab: FakeLab) -> None:
    Path("mine.yaml").write_text((EXAMPLES / "catalogue.yaml").read_text().replace("  small:", "  tiny:"))
    assert entourage("create", "red", "--from", "tiny", "--at", "west", "--catalogue", "mine.yaml").exit_code == 0
    assert lab.asked == [("mine.yaml", "tiny", "red", "west")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["red", "--from", "smal", "--at", "west"], "catalogue.yaml: did you mean 'small'?"),
        (["red", "--from", "small", "--at", "wset"], "unknown site 'wset' in lab lab1: did you mean 'west'?"),
        (["red", "--from", "small", "--at", "west", "--catalogue", "none.yaml"], "none.yaml:1:1: cannot read the file"),
    ],
)
def test_names_that_are_unknown_are_refused_before_anything_is_made(
    lab: FakeLab, words: list[str], message: str
) -> None:
    result = entourage("create", *words)
    assert (result.exit_code, message in result.stderr) == (2, True)
    assert lab.asked == []


def test_a_lab_without_a_catalogue_says_how_to_give_one(lab: FakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entourage.operations.instances.read_catalogue", lambda _: None)
    result = entourage("create", "red", "--from", "small", "--at", "west")
    assert (result.exit_code, lab.asked) == (1, [])
    assert "lab lab1 was brought up without a catalogue; give one with --catalogue FILE" in result.stderr


def test_delete_takes_away_the_service_that_is_named_and_no_other(
    lab: FakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "blue is gone" in entourage("delete", "blue").stdout
    assert entourage("delete", "bleu").exit_code == 2
    assert entourage("delete").exit_code == 2
    assert lab.asked == ["blue"]

    async def busy(*_: object) -> None:
        raise LabError("a move is under way in lab lab1")

    monkeypatch.setattr("entourage.operations.instances.delete", busy)
    refused = entourage("delete", "blue", "--json")
    assert (refused.exit_code, error_of(refused)["message"]) == (1, "a move is under way in lab lab1")


@pytest.mark.usefixtures("ordinary_user", "lab")
@pytest.mark.parametrize("words", [["create", "red", "--from", "small", "--at", "west"], ["delete", "blue"]])
def test_what_makes_services_or_takes_them_away_needs_root(words: list[str]) -> None:
    assert entourage(*words).exit_code == 77


def test_status_shows_all_services_or_the_one_that_is_named(lab: FakeLab) -> None:
    output = entourage("status").stdout
    assert [line for line in output.splitlines() if "203.0.113.10" in line] == [
        "shop, 203.0.113.10",
        "blue, 203.0.113.10",
    ]
    assert output.count("nothing odd") == 2
    answer = json.loads(entourage("status", "--json").stdout)
    assert [each["service"] for each in answer["services"]] == ["shop", "blue"]
    assert "placement" not in answer
    one = json.loads(entourage("status", "blue", "--json").stdout)
    assert (one["service"], one["placement"]["rt"], len(one["services"])) == ("blue", "east/h1", 1)
    assert entourage("status", "bleu").exit_code == 2
    lab.names = ()
    assert "lab lab1 has no service; make one with: entourage create" in entourage("status").stdout


def test_a_half_made_service_is_odd_unless_somebody_makes_it_now(lab: FakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.names = ("shop", "half")
    assert "odd: half is half-made; take it away: entourage delete half" in entourage("status").stdout
    monkeypatch.setattr("entourage.cli.looking.is_being_driven", lambda _: True)
    output = entourage("status").stdout
    assert "it is being made or taken away" in output
    assert "a move is under way" not in output
    assert "odd:" not in output

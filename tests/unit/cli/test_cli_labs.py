"""`lab up`, `lab down`, `lab status` and `demo`, with nothing brought up."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_world import EXAMPLES, FakePlace, entourage, error_of, example_world, not_root, seen

from entourage.lab.errors import LabError
from entourage.lab.fabric import LabStatus
from entourage.lab.place import SpecTexts
from entourage.lab.setup import SetupMissingError
from entourage.operations.labs import LabState
from entourage.operations.observe import Observation

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)


@pytest.fixture
def brought_up(monkeypatch: pytest.MonkeyPatch) -> list[SpecTexts]:
    """What labs were brought up from."""
    made: list[SpecTexts] = []

    def new_place(name: str, texts: SpecTexts, *, is_encrypted: bool, database: str | None) -> FakePlace:
        infrastructure, service = texts.parse()
        return FakePlace(name=name, infrastructure=infrastructure, service=service)

    async def bring_up(_: object, texts: SpecTexts, progress: Any) -> None:
        made.append(texts)
        progress("routers", 4, 6)

    async def look(_: str) -> Observation:
        return seen()

    monkeypatch.setattr("entourage.cli.labs.new_place", new_place)
    monkeypatch.setattr("entourage.cli.labs.bring_up", bring_up)
    monkeypatch.setattr("entourage.cli.labs.look", look)
    return made


def test_a_lab_comes_up_from_the_examples(brought_up: list[SpecTexts]) -> None:
    result = entourage("lab", "up")
    assert result.exit_code == 0
    assert brought_up[0].sites == (EXAMPLES / "sites.yaml").read_text()
    assert "4/6 routers" in result.stdout
    assert "lab lab1 is up: service shop answers at 203.0.113.10" in result.stdout
    assert "entourage move --to west" in result.stdout
    assert "\x1b" not in result.output


def test_licences_are_read_with_the_service_that_needs_them(brought_up: list[SpecTexts]) -> None:
    files = ["--service", str(EXAMPLES / "shop-licensed.yaml"), "--licences", str(EXAMPLES / "licences.yaml")]
    assert entourage("lab", "up", *files).exit_code == 0
    bought = brought_up[0].parse()[0].licences
    assert bought is not None
    assert [pool.words for pool in bought.pools][:2] == ["vrouter floating", "vfw at east"]


def test_a_service_with_licences_is_refused_without_the_file(brought_up: list[SpecTexts]) -> None:
    result = entourage("lab", "up", "--service", str(EXAMPLES / "shop-licensed.yaml"))
    assert result.exit_code == 2
    assert "3 problems in the spec" in result.stderr
    assert "licence 'vfw', and there is no file of licences (hint: name a file of products and pools" in result.stderr
    assert brought_up == []


def test_link_options_come_before_what_the_file_says(brought_up: list[SpecTexts]) -> None:
    result = entourage("lab", "up", "--rtt", "100 ms", "--rate", "1 Gbit/s", "--loss", "0.5 %")
    assert "inter-site link east – west: RTT 100 ms, 1 Gbit/s, loss 0.5 %" in result.stdout
    link = brought_up[0].parse()[0].links[0]
    assert (link.rtt, link.rate, link.loss) == (100.0, 1e9, 0.005)


@pytest.mark.usefixtures("brought_up")
def test_lab_up_as_json_keeps_progress_off_stdout() -> None:
    result = entourage("lab", "up", "--lab", "far", "--json")
    answer = json.loads(result.stdout)
    assert (answer["lab"], answer["accel"], answer["placement"]["rt"]) == ("far", "tcg", "east/h1")
    assert "4/6 routers" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rtt", "5"], "--rtt: '5' has no unit (hint: add one of us, µs, ms, s, min: 50 ms)"),
        (["--rtt", "0 ms"], "--rtt: '0 ms' is zero (hint: write a positive quantity, such as 50 ms)"),
        (["--rate", "-1 Mbit/s"], "--rate: '-1 Mbit/s' is negative (hint: write a positive"),
        (["--loss", "101 %"], "--loss: '101 %' is over 100 % (hint: write 0 % to 100 %)"),
    ],
)  # fmt: skip
def test_a_wrong_quantity_is_refused_with_a_hint(brought_up: list[SpecTexts], words: list[str], message: str) -> None:
    result = entourage("lab", "up", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"entourage: {message}")
    assert brought_up == []


def test_every_problem_of_a_spec_has_its_line_and_nothing_is_made(brought_up: list[SpecTexts]) -> None:
    wrong = (EXAMPLES / "sites.yaml").read_text().replace("rtt: 50 ms", "rtt: 50").replace("near: west", "near: wset")
    Path("wrong.yaml").write_text(wrong)
    result = entourage("lab", "up", "--sites", "wrong.yaml")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0] == "entourage: 2 problems in the spec"
    assert [line.split(": ")[0] for line in lines[1:]] == ["  wrong.yaml:14:10", "  wrong.yaml:20:22"]
    assert brought_up == []
    assert len(error_of(entourage("lab", "up", "--sites", "wrong.yaml", "--json"))["problems"]) == 2


def test_a_spec_that_is_not_there_is_a_problem_like_any_other(brought_up: list[SpecTexts]) -> None:
    result = entourage("lab", "up", "--service", "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml:1:1: cannot read the file: No such file or directory" in result.stderr
    assert brought_up == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LabError("lab lab1 is up or was left half-way: take it down first"), "take it down first"),
        (SetupMissingError(), "run: make setup"),
    ],
)
def test_a_lab_that_cannot_come_up_says_why(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def new_place(*_: object, **__: object) -> FakePlace:
        raise error

    monkeypatch.setattr("entourage.cli.labs.new_place", new_place)
    result = entourage("lab", "up")
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://host/moves", "moves are kept in SQLite or PostgreSQL, not in mysql: postgresql://USER@HOST/DATABASE"),
        ("moves", "not the URL of a database; it looks like postgresql://USER@HOST/DATABASE"),
        ("sqlite:///moves", "a SQLite file belongs to one machine; without this option a lab has one already"),
    ],
)
def test_a_database_that_cannot_be_shared_is_refused_before_anything_is_made(
    brought_up: list[SpecTexts], url: str, words: str
) -> None:
    result = entourage("lab", "up", "--database", url)
    assert result.exit_code == 2
    assert f"--database: {words}" in result.stderr
    assert brought_up == []


@pytest.fixture
def taken_down(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    async def take_down(name: str) -> list[str]:
        names.append(name)
        return [f"namespace ent.{name}.relay"] if name != "gone" else []

    monkeypatch.setattr("entourage.cli.labs.take_down", take_down)
    monkeypatch.setattr("entourage.cli.labs.known_labs", lambda: ["far", "lab1"])
    return names


@pytest.mark.parametrize(
    ("words", "names"),
    [([], ["lab1"]), (["far"], ["far"]), (["--lab", "far"], ["far"]), (["--all"], ["far", "lab1"])],
)
def test_the_labs_that_are_named_come_down(taken_down: list[str], words: list[str], names: list[str]) -> None:
    result = entourage("lab", "down", *words)
    assert result.exit_code == 0
    assert taken_down == names
    assert all(f"lab {name} is down" in result.stdout for name in names)


def test_down_says_if_nothing_was_there(taken_down: list[str]) -> None:
    assert "nothing of lab gone is there" in entourage("lab", "down", "gone").stdout
    assert json.loads(entourage("lab", "down", "--json").stdout) == {"removed": {"lab1": ["namespace ent.lab1.relay"]}}
    assert taken_down == ["gone", "lab1"]


def test_down_of_one_and_of_all_is_one_too_many(taken_down: list[str]) -> None:
    assert entourage("lab", "down", "far", "--all").exit_code == 2
    assert taken_down == []


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lab_states(*, may_look: bool) -> list[LabState]:
        network = LabStatus(
            lab="lab1", present=("relay",), missing=("edge-west",), processes=14,
            sessions={"edge-east": {"10.0.0.1": "Established"}, "pop-east": {"10.0.0.2": "Active"}},
        )  # fmt: skip
        return [
            LabState(name="half", is_half_made=True, is_whole=False, namespaces=3, network=None),
            LabState(
                name="lab1", is_half_made=False, namespaces=10,
                is_whole=False if may_look else None, network=network if may_look else None,
                agents={"east": True, "west": False} if may_look else {},
            ),
        ]  # fmt: skip

    monkeypatch.setattr("entourage.cli.labs.lab_states", lab_states)


@pytest.mark.usefixtures("states")
def test_lab_status_shows_what_is_whole_and_what_is_not() -> None:
    half, whole = [" ".join(line.split()) for line in entourage("lab", "status").stdout.splitlines()[3:5]]
    assert half == "half half-made 3 ? ? ?"
    assert whole == "lab1 damaged 10, missing: edge-west 14 1 of 2 established 1 of 2 answer"
    assert json.loads(entourage("lab", "status", "--json").stdout)["labs"][1]["network"]["processes"] == 14


@pytest.mark.usefixtures("states", "ordinary_user")
def test_lab_status_works_without_root_as_far_as_it_can() -> None:
    result = entourage("lab", "status")
    assert result.exit_code == 0
    assert "up, not looked into" in result.stdout
    assert "needs root" in result.stdout


@pytest.mark.usefixtures("ordinary_user")
@pytest.mark.parametrize("words", [["lab", "up"], ["lab", "down"], ["demo"]])
def test_what_makes_or_removes_labs_needs_root(words: list[str]) -> None:
    result = entourage(*words, "--json")
    assert result.exit_code == 77
    assert error_of(result)["kind"] == "needs-root"


def test_the_demo_ends_with_its_verdict_and_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    async def run_demo(**how: Any) -> dict[str, Any]:
        asked.update(how)
        how["tell"].act(1, "Everything at east")
        return {"schema": "entourage.demo-report/1", "infrastructure": {"regions": []}, "acts": []}

    monkeypatch.setattr("entourage.cli.story.run_demo", run_demo)
    monkeypatch.setattr("entourage.cli.story.new_place", lambda name, _: FakePlace(name=name))
    monkeypatch.setattr("entourage.operations.reports.render_demo", lambda _: "<!doctype html>")
    result = entourage("demo", "--sessions", "9", "--out", "there")
    assert result.exit_code == 0
    assert (asked["place"].name, asked["load"].sessions) == ("demo", 9)
    assert "act 1: Everything at east" in result.stdout
    assert "The story ended before the whole group moved" in result.stdout
    assert f"file://{Path.cwd()}/there/demo/report.html" in result.stdout
    assert json.loads(Path("there/demo/report.json").read_text())["schema"] == "entourage.demo-report/1"

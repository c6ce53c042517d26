"""`entourage quorum`, and the commands that do harm to a lab, with no lab there."""

import json
from typing import Any

import pytest
from cli_world import FakePlace, entourage, example_world, not_root

from entourage.drivers.quorum.telling import status
from entourage.lab.errors import LabError
from entourage.model.ids import SiteId
from entourage.operations.quorum import QuorumSeen
from entourage.quorum import WITNESS, Terms, begin
from entourage.quorum.machine import advance
from entourage.quorum.types import Ack, Ledger, Received, Sighting, Stamp, View, agent_of

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)
EAST, WEST = SiteId("east"), SiteId("west")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """East is lost; what west tells of it, and its witness does not answer just now."""
    west, _ = begin(agent_of(WEST), (EAST, WEST), terms=Terms(), ledger=Ledger(), now=0.0)
    sees = View(sightings={EAST: Sighting(heard=4.2, free=0.0)}, taken=())
    west, _ = advance(west, Received(10.0, WITNESS, Ack(Stamp(incarnation=1, sent=9.9), 0, sees)))
    told = {agent_of(EAST): None, agent_of(WEST): status(west, 10.0), WITNESS: None}

    async def look_at_quorum(lab: FakePlace) -> QuorumSeen:
        return QuorumSeen(lab=lab.name, told=told)

    monkeypatch.setattr("entourage.cli.quorum.look_at_quorum", look_at_quorum)
    monkeypatch.setattr("entourage.cli.quorum.open_lab", FakePlace)


@pytest.mark.usefixtures("told")
def test_quorum_says_who_has_the_right_who_heard_whom_and_who_may_act() -> None:
    lines = [" ".join(line.split()) for line in entourage("quorum").stdout.splitlines()]
    assert "west may run 2 of 3 voters have acknowledged it" in lines
    assert "east does not answer" in lines
    assert "east lost west never" in lines
    why = "west: west may act for east: the witness heard east 4.2 s ago; west has not heard east since it started"
    assert why in " ".join(lines)


@pytest.mark.usefixtures("told")
def test_quorum_as_json_has_what_every_agent_tells() -> None:
    document = json.loads(entourage("quorum", "--json").stdout)
    assert document["schema"] == "entourage.quorum/1"
    assert document["lab"] == "lab1"
    assert document["agents"]["east"] is None
    assert document["agents"]["west"]["sites"]["east"]["may_act"] == ["west"]


@pytest.mark.parametrize(
    ("words", "function", "said"),
    [
        (("cut", "witness:east"), "cut_link", "witness:east loses every packet"),
        (("heal", "witness:east"), "heal_link", "witness:east carries packets again"),
        (("kill", "east"), "kill_site", "east is dead: 9 processes killed, its links cut"),
        (
            ("revive", "east"),
            "revive_site",
            "east has its links, edge, guards and agent again; its members are not started",
        ),
    ],
)
def test_harm_is_done_and_told(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, str], function: str, said: str
) -> None:
    done: list[Any] = []

    async def deed(lab: FakePlace, what: str) -> int:
        done.append((lab.name, what))
        return 9

    monkeypatch.setattr("entourage.cli.harm.open_lab", FakePlace)
    monkeypatch.setattr(f"entourage.cli.harm.{function}", deed)
    assert entourage("lab", *words).stdout.strip() == said
    assert done == [("lab1", words[1])]
    assert words[1] in json.loads(entourage("lab", *words, "--json").stdout).values()


def test_a_link_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut_link(lab: FakePlace, link: str) -> None:
        raise LabError(f"no link {link!r} in lab {lab.name}; there are inter-site:east-west")

    monkeypatch.setattr("entourage.cli.harm.open_lab", FakePlace)
    monkeypatch.setattr("entourage.cli.harm.cut_link", cut_link)
    result = entourage("lab", "cut", "nowhere")
    assert result.exit_code == 1
    assert result.stderr == "entourage: no link 'nowhere' in lab lab1; there are inter-site:east-west\n"


@pytest.mark.usefixtures("ordinary_user")
@pytest.mark.parametrize("words", [("quorum",), ("lab", "cut", "x"), ("lab", "kill", "east")])
def test_they_need_root(words: tuple[str, ...]) -> None:
    assert entourage(*words).exit_code == 77

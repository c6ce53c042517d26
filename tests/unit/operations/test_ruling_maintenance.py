"""The loop of rules moves who is on a host in maintenance, and asks for no more than that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruling_world import INFRASTRUCTURE, REPORT, World

from entourage.model.ids import HostId, ServiceId, SiteId
from entourage.planner import HostLoad, MoveRequest
from entourage.rules.view import HostState

LEAVE = "leave: {when: host-maintenance, do: evacuate}"
EAST, WEST = SiteId("east"), SiteId("west")
H1, H2 = HostId("east/h1"), HostId("east/h2")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    made = World(monkeypatch, tmp_path)
    yield made
    made.records.close()


def maintain(world: World, *, at_h2: HostLoad) -> None:
    """Somebody wants to work on h1, until it was left."""
    loads = {h.id: HostLoad(memory=0, cpu=0.0) for site in INFRASTRUCTURE.sites for h in site.hosts if h.id != H1}
    world.seen = {"hosts": {H1: HostState.MAINTENANCE}, "loads": {**loads, H2: at_h2}}

    def move() -> dict[str, Any]:
        world.seen = {}
        return REPORT

    world.on_move = move


def test_it_is_asked_for_the_members_on_that_host_alone(world: World) -> None:
    maintain(world, at_h2=HostLoad(memory=0, cpu=0.0))
    world.run(LEAVE, after=[1] * 3)
    assert world.requests == [MoveRequest(service=ServiceId("shop"), target=EAST, onto=frozenset({H2}))]
    (kept,) = world.kept()
    assert (kept.document["target"], kept.document["leaves"]) == (EAST, H1)
    assert (kept.outcome or {})["outcome"] == "committed"


def test_where_there_is_no_room_beside_it_the_whole_service_is_asked_for(world: World) -> None:
    maintain(world, at_h2=HostLoad(memory=2 << 30, cpu=2.0))
    world.run(LEAVE, after=[1] * 3)
    assert world.requests == [MoveRequest(service=ServiceId("shop"), target=WEST)]
    assert world.kept()[0].document["leaves"] is None

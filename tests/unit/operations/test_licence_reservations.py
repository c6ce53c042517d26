"""A move's record is its reservation: there before anything is made, and gone as soon as the move has ended."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.engine.groups import group_to_json
from entourage.engine.known import KnownMove
from entourage.lab.errors import LabError
from entourage.licences import account
from entourage.model.ids import HostId, MemberId, ServiceId, SiteId
from entourage.model.world import Snapshot
from entourage.operations.examples import example
from entourage.operations.labs import read_texts
from entourage.operations.licences import view, with_holdings
from entourage.operations.moves import make_plan
from entourage.operations.observe import Observation
from entourage.planner import MoveRequest, Plan, Refusal
from entourage.ports.hypervisor import Capability, RunState
from entourage.switch import Group, Policy

TEXTS = read_texts(example("sites.yaml"), example("shop-licensed.yaml"), licences=example("licences.yaml"))
SITES, SHOP = TEXTS.parse()
LICENSED = ("rt", "fw", "lb")
TO_WEST = MoveRequest(service=ServiceId("shop"), target=SiteId("west"))
ENDED = {"outcome": "committed"}


def at(site: str) -> dict[MemberId, HostId]:
    return {member.id: HostId(f"{site}/h1") for member in SHOP.members}


def known(ended: Mapping[str, Any] | None, *, service: str = "shop") -> KnownMove:
    group = Group(
        order=tuple(member.id for member in SHOP.members),
        sources=at("east"),
        targets=at("west"),
        source_site=SiteId("east"),
        target_site=SiteId("west"),
        moves_ingress=True,
        stretch=(),
        unstretch=(),
        policy=Policy(link_rate=1e6, enough_bytes=1, most_bytes=1, most_s=1.0, waits=False),
    )
    document = {"service": service, "strategy": "group", "group": group_to_json(group)}
    return KnownMove(move="shop-1", began=1000.0, document=document, ended=ended, executor="x")


def seen(*states: tuple[str, RunState], counted: bool = True) -> Observation:
    """Copies of all members at these sites."""
    copies = {where: state for site, state in states for where in at(site).items()}
    infrastructure = SITES if counted else replace(SITES, licences=None)
    snapshot = Snapshot(
        taken_at=1060.0,
        infrastructure=infrastructure,
        service=SHOP,
        placement={member: host for (member, host), state in copies.items() if state is RunState.RUNNING},
        ingress={region.id: SiteId("east") for region in SITES.regions},
    )
    return Observation(snapshot=snapshot, copies=copies, edges={}, stretched={})


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[KnownMove]:
    """The lab's moves, as its database has them."""
    found: list[KnownMove] = []
    monkeypatch.setattr("entourage.operations.licences.all_moves", lambda _: found)
    return found


SERVICES = [SimpleNamespace(id=SHOP.id, hosted=SimpleNamespace(service=SHOP))]
PLACE: Any = SimpleNamespace(name="lab1", services=SERVICES, run_dir=Path("/nonexistent"))
BEFORE = ("east", RunState.RUNNING), ("west", RunState.INCOMING)


def used_and_reserved(observation: Observation) -> dict[str, tuple[int, int]]:
    snapshot = with_holdings(PLACE, observation)
    bought = snapshot.infrastructure.licences
    assert bought is not None
    found = account(bought, snapshot.holdings, at=snapshot.taken_at)
    assert not found.violations
    return {use.pool.words: (use.used, use.reserved) for use in found.pools}


def test_a_move_under_way_or_interrupted_holds_its_seats_from_its_record_on(moves: list[KnownMove]) -> None:
    at_rest = {"vrouter floating": (1, 0), "vfw at east": (1, 0), "vfw at west": (0, 0), "vlb floating": (1, 0)}
    only_east = seen(("east", RunState.RUNNING))
    assert used_and_reserved(only_east) == at_rest
    moves.append(known(None))
    assert used_and_reserved(only_east) == {**at_rest, "vfw at west": (0, 1), "vlb floating": (1, 1)}
    assert used_and_reserved(seen(*BEFORE)) == {**at_rest, "vfw at west": (1, 0), "vlb floating": (2, 0)}


@pytest.mark.parametrize("outcome", ["committed", "rolled-back", "unresolved"])
@pytest.mark.parametrize("site", ["east", "west"])
def test_nothing_is_reserved_by_a_move_that_has_ended(moves: list[KnownMove], outcome: str, site: str) -> None:
    moves.append(known({"outcome": outcome}))
    found = used_and_reserved(seen((site, RunState.RUNNING)))
    assert found[f"vfw at {site}"] == (1, 0)
    assert sum(used for used, _ in found.values()) == len(LICENSED)
    assert not any(reserved for _, reserved in found.values())


def test_moves_of_another_service_are_not_taken_for_this_ones(moves: list[KnownMove]) -> None:
    moves.append(known(None, service="blog"))
    assert used_and_reserved(seen(("east", RunState.RUNNING)))["vfw at west"] == (0, 0)


def wired(place: Any) -> Any:
    return SimpleNamespace(place=place, hypervisor=SimpleNamespace(capabilities=lambda: frozenset(Capability)))


@pytest.mark.usefixtures("moves")
def test_a_plan_is_made_with_the_licences_that_are_left() -> None:
    place: Any = SimpleNamespace(name="lab1", service=SHOP, services=SERVICES, run_dir=Path("/nonexistent"))
    only_east = seen(("east", RunState.RUNNING))
    assert isinstance(make_plan(wired(place), only_east, TO_WEST), Plan)
    crowded = replace(only_east, copies={**only_east.copies, (MemberId("lb"), HostId("west/h2")): RunState.PAUSED})
    found = make_plan(wired(place), crowded, TO_WEST)
    assert isinstance(found, Refusal)
    assert [verdict.code.value for verdict in found.verdicts] == ["licence"]


def test_where_nobody_counts_no_move_is_even_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_moves(_: object) -> list[KnownMove]:
        raise LabError("the moves of lab lab1 cannot be read")

    monkeypatch.setattr("entourage.operations.licences.all_moves", all_moves)
    uncounted = seen(("east", RunState.RUNNING), counted=False)
    assert with_holdings(PLACE, uncounted) == uncounted.snapshot
    assert view(PLACE, uncounted) is None
    with pytest.raises(LabError, match="cannot be read"):
        view(PLACE, seen(("east", RunState.RUNNING)))


def test_what_a_move_has_left_is_used_and_violates_once_its_grace_time_is_over(moves: list[KnownMove]) -> None:
    moves.append(known({**ENDED, "problems": ["fw on east/h1 could not be removed"]}))
    left = seen(("east", RunState.PAUSED), ("west", RunState.RUNNING))
    soon = view(PLACE, left)
    assert soon is not None
    assert soon.account.violations == ()
    late = view(PLACE, replace(left, snapshot=replace(left.snapshot, taken_at=1000.0 + 1801)))
    assert late is not None
    assert [(each.code.value, each.product) for each in late.account.violations] == [("second-copy", "vfw")]

"""A plan needs the licences of both copies: refused with the numbers where a pool has too few."""

from dataclasses import replace
from decimal import Decimal

import planner_world as world
import pytest

from entourage.licences import copies_of, ways_of
from entourage.model.ids import HostId, MoveId, ProductId, SiteId
from entourage.model.licences import Binding, Holdings, Licences, LicensedMove, Pool, Product
from entourage.model.world import Snapshot
from entourage.planner import CaveatCode, Code, HostLoad, Outlook, Plan, Refusal

VFW = ProductId("vfw")


def licensed(
    *seats: tuple[SiteId | None, int], second: bool = True, grace_s: float | None = None, counted: bool = True
) -> Snapshot:
    """The shop at east, with a firewall that needs a vfw."""
    found = world.snapshot()
    members = tuple(replace(m, licence=VFW) if m.id == world.FW else m for m in found.service.members)
    service = replace(found.service, members=members)
    bought = Licences(
        currency="EUR",
        products=(Product(id=VFW, vendor="acme", bound_to=Binding.UUID, grace_s=grace_s, needs_second=second),),
        pools=tuple(Pool(product=VFW, site=site, seats=count, price=Decimal(10)) for site, count in seats),
    )
    copies = copies_of(bought, service, dict.fromkeys(found.placement.items(), True))
    infrastructure = replace(found.infrastructure, licences=bought if counted else None)
    return replace(found, infrastructure=infrastructure, service=service, holdings=Holdings(copies=copies))


def refusal(snapshot: Snapshot) -> tuple[str, ...]:
    found = world.outcome(snapshot, world.request())
    assert isinstance(found, Refusal)
    assert [(v.code, v.code.outlook, v.said_by) for v in found.verdicts] == [
        (Code.LICENCE, Outlook.FIXABLE, "licences")
    ]
    return found.verdict.reasons


def test_too_few_seats_at_the_target_are_a_refusal() -> None:
    assert refusal(licensed((world.EAST, 5))) == (
        "fw of shop on west/h1 needs a seat of vfw, and there is no pool of it at west, nor one that floats",
    )
    assert refusal(licensed((None, 1))) == (
        "vfw floating: 1 more for fw while both copies exist, and 0 of 1 free (1 used, 0 reserved)",
    )


@pytest.mark.parametrize(
    "snapshot",
    [
        licensed((world.EAST, 1), (world.WEST, 1)),
        licensed((None, 2)),
        licensed((None, 1), second=False),
        licensed(counted=False),
    ],
    ids=["both-sites", "floating", "one-for-both", "nobody-counts"],
)
def test_enough_seats_are_a_plan(snapshot: Snapshot) -> None:
    assert isinstance(world.outcome(snapshot, world.request()), Plan)


def test_a_move_of_members_without_licences_needs_none() -> None:
    found = world.outcome(licensed((None, 1)), world.request(members=world.SERVERS))
    assert isinstance(found, Plan)


def test_what_an_open_move_has_reserved_is_not_given_away_twice() -> None:
    """Another service's firewall is on its way to west."""
    here = licensed((world.EAST, 2), (world.WEST, 1))
    bought = here.infrastructure.licences
    assert bought is not None
    blog = replace(here.service, id=type(here.service.id)("blog"))
    at, to = {world.FW: HostId("east/h2")}, {world.FW: HostId("west/h2")}
    copies = (*here.holdings.copies, *copies_of(bought, blog, {(world.FW, at[world.FW]): True}))
    ways = ways_of(bought, blog, sources=at, targets=to)
    for is_open in (True, False):
        moves = (LicensedMove(move=MoveId("blog-1"), began=0.0, is_open=is_open, ways=ways),)
        found = world.outcome(replace(here, holdings=Holdings(copies=copies, moves=moves)), world.request())
        assert isinstance(found, Refusal if is_open else Plan)


def test_a_move_that_is_predicted_to_outlast_the_grace_time_is_a_refusal() -> None:
    (reason,) = refusal(licensed((None, 2), grace_s=5))
    assert reason.startswith("fw will have two copies for about ")
    assert reason.endswith(", and vfw allows 5 s")


def test_who_waits_for_an_approval_is_told_how_long_that_may_take() -> None:
    roomy = licensed((None, 2), grace_s=3600)
    held = world.outcome(roomy, replace(world.request(), waits=True))
    assert isinstance(held, Plan)
    (caveat,) = held.cannot_promise
    assert caveat.code is CaveatCode.LICENCE_GRACE
    assert caveat.text == "held for longer than 60 min, fw has two copies for longer than its vendor allows"
    at_once = world.outcome(roomy, world.request())
    assert isinstance(at_once, Plan)
    assert at_once.cannot_promise == ()


def test_all_that_stands_against_a_move_is_said_at_once() -> None:
    snapshot = licensed((None, 1))
    found = world.outcome(snapshot, world.request(), can=world.ONLY_MIGRATE)
    assert isinstance(found, Refusal)
    assert [verdict.code for verdict in found.verdicts] == [Code.LICENCE]
    nothing = world.outcome(snapshot, world.request(), can=frozenset())
    assert isinstance(nothing, Refusal)
    assert [verdict.code for verdict in nothing.verdicts] == [Code.LICENCE, Code.CAPABILITY_MISSING]
    full = {host.id: HostLoad(memory=0, cpu=0.0) for host in snapshot.infrastructure.site(world.EAST).hosts}
    without_room = world.outcome(snapshot, world.request(), loads=full)
    assert isinstance(without_room, Refusal)
    assert [verdict.code for verdict in without_room.verdicts] == [Code.NO_ROOM]

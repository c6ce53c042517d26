"""Who holds licences in a lab: copies that are there, and moves, whose records are also their reservations.

A move's seats are reserved by its being open. Its record says who moves where before anything is made of it, outlives
the process that drives it, and has ended as soon as the move has, whichever way: so there is nothing to give back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from entourage.engine.groups import group_from_json
from entourage.engine.known import KnownMove
from entourage.lab.place import Lab, Place
from entourage.licences import Account, Costs, account, compare, copies_of, observations, ways_of
from entourage.licences.cost import ASSUMED
from entourage.model.ids import HostId, MemberId, MoveId
from entourage.model.licences import Holdings, LicensedMove
from entourage.model.world import Infrastructure, Service, Snapshot
from entourage.operations.observe import Observation
from entourage.operations.recovering import all_moves
from entourage.ports.hypervisor import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class LicencesView:
    """The account of a lab's pools, and what sets of appliances cost."""

    account: Account
    costs: Costs

    def to_json(self) -> dict[str, Any]:
        """For programs; prices as numbers, in the currency of the file, for a month."""
        return {
            "currency": self.account.licences.currency,
            "pools": [
                {
                    "product": use.pool.product,
                    "vendor": self.account.licences.product(use.pool.product).vendor,
                    "site": use.pool.site,
                    "seats": use.pool.seats,
                    "used": use.used,
                    "reserved": use.reserved,
                    "free": use.free,
                    "price": float(use.pool.price),
                }
                for use in self.account.pools
            ],
            "violations": [
                {"code": each.code.value, "product": each.product, "site": each.site, "reason": each.reason}
                for each in self.account.violations
            ],
            "observations": [dict(each) for each in observations(self.account)],
            "cost": _costs_json(self.costs),
        }


def view(place: Place, seen: Observation) -> LicencesView | None:
    """The lab's licences as of `seen`, and its moves as they are known now; None if nobody counts them."""
    snapshot = with_holdings(place, seen)
    infrastructure = snapshot.infrastructure
    if infrastructure.licences is None:
        return None
    return LicencesView(
        account=account(infrastructure.licences, snapshot.holdings, at=snapshot.taken_at),
        costs=compare(infrastructure.licences, _services(place), [site.id for site in infrastructure.sites]),
    )


def with_holdings(place: Place, seen: Observation) -> Snapshot:
    """The snapshot with whoever holds licences, if they are counted. LabError if moves cannot be read."""
    snapshot = seen.snapshot
    if snapshot.infrastructure.licences is None:
        return snapshot
    running = {where: state is RunState.RUNNING for where, state in seen.copies.items()}
    running |= dict.fromkeys(seen.others, True)
    return replace(snapshot, holdings=holdings(snapshot.infrastructure, _services(place), running, all_moves(place)))


def _services(lab: Lab) -> list[Service]:
    return [kept.hosted.service for kept in lab.services]


def holdings(
    infrastructure: Infrastructure,
    services: Sequence[Service],
    running: Mapping[tuple[MemberId, HostId], bool],
    moves: Iterable[KnownMove],
) -> Holdings:
    """Who holds licences; nobody does if none are counted.

    `running`: where there are copies, and whether they run. Moves of services that are not there any more hold nothing.
    """
    licences = infrastructure.licences
    if licences is None:
        return Holdings()
    by_id = {str(service.id): service for service in services}
    found = []
    for known in moves:
        service = by_id.get(known.document["service"])
        if service is None:
            continue
        group = group_from_json(known.document["group"])
        ways = ways_of(licences, service, sources=group.sources, targets=group.targets)
        found.append(LicensedMove(move=MoveId(known.move), began=known.began, is_open=known.ended is None, ways=ways))
    copies = tuple(copy for service in services for copy in copies_of(licences, service, running))
    return Holdings(copies=copies, moves=tuple(found))


def missing_licences(place: Place, placement: Mapping[MemberId, HostId]) -> tuple[str, ...]:
    """What is missing for the service to be started at `placement`, beside what the lab has."""
    infrastructure = place.infrastructure
    if infrastructure.licences is None:
        return ()
    running = dict.fromkeys(place.copies_of_others(), True) | dict.fromkeys(placement.items(), True)
    started = holdings(infrastructure, _services(place), running, ())
    # No moves and no time: there are no second copies that could be there for too long.
    return tuple(violation.reason for violation in account(infrastructure.licences, started, at=0.0).violations)


def _costs_json(costs: Costs) -> dict[str, Any]:
    return {
        "services": costs.services,
        "dedicated": _number(costs.dedicated),
        "shared": _number(costs.shared),
        "equal_from_services": costs.equal_from,
        "products": [
            {
                "product": each.product,
                "dedicated_seats": each.dedicated_seats,
                "spare_seats": each.spare_seats,
                "dedicated": _number(each.dedicated),
                "shared_seats": each.shared_seats,
                "shared": _number(each.shared),
                "unpriced_at": list(each.unpriced),
            }
            for each in costs.products
        ],
        "assumed": list(ASSUMED),
    }


def _number(price: Decimal | None) -> float | None:
    return None if price is None else float(price)

"""What every service's own set of appliances costs in licences, against one set at each site that all services share.

Assumed, and said with the figures:

- only appliances count; a server's licence is needed either way;
- own sets run at their services' homes, and one service moves at a time, from there: so where a move needs a seat more,
  there is a spare one for the largest set that may come;
- a shared set stands at every site, for users may enter at any, is as large as the largest own one, and carries all
  services. Nothing of it moves.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from entourage.model.ids import ProductId, SiteId
from entourage.model.licences import Licences, Pool
from entourage.model.world import Role, Service

ASSUMED = (
    "only appliances count: servers need their licences either way",
    "dedicated: every service has its own set at its home; one service moves at a time, and needs spare seats for that",
    "shared: one set at every site, as large as the largest dedicated one; it carries all services, and never moves",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one product: seats and price a month. `spare_seats`: those of the dedicated seats that only moves need.

    `unpriced`: the sites where nothing says what a seat costs; prices are None then.
    """

    product: ProductId
    dedicated_seats: int
    spare_seats: int
    dedicated: Decimal | None
    shared_seats: int
    shared: Decimal | None
    unpriced: tuple[SiteId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Of all products of appliances, for a month; None if the price of one is not known.

    `equal_from`: with so many services like these, or more, dedicated sets cost at least as much as shared ones; None
    if they never do, or a price is not known.
    """

    products: tuple[Cost, ...]
    services: int
    dedicated: Decimal | None
    shared: Decimal | None
    equal_from: int | None


def compare(licences: Licences, services: Sequence[Service], sites: Sequence[SiteId]) -> Costs:
    """The costs of dedicated and shared sets for these services at these sites."""
    needs = {service.id: _needs(service) for service in services}
    products = sorted({product for each in needs.values() for product in each})
    prices = {product: _Prices(licences, product, sites) for product in products}
    costs = [
        _cost(prices[product], [(service.home, needs[service.id][product]) for service in services])
        for product in products
    ]
    dedicated, shared = _sum([cost.dedicated for cost in costs]), _sum([cost.shared for cost in costs])
    equal_from = None
    if dedicated is not None and shared is not None and services:
        own = sum((prices[p].of(s.home) * needs[s.id][p] for p in products for s in services), Decimal(0))
        equal_from = _equal_from(spare=dedicated - own, a_service=own / len(services), shared=shared)
    return Costs(
        products=tuple(costs), services=len(services), dedicated=dedicated, shared=shared, equal_from=equal_from
    )


class _Prices:
    """What a seat of a product costs at each site, and from which pool it is."""

    def __init__(self, licences: Licences, product: ProductId, sites: Iterable[SiteId]) -> None:
        self.product = licences.product(product)
        self.pools: Mapping[SiteId, Pool | None] = {
            site: licences.pool(product, site) or licences.pool(product, None) for site in sites
        }
        self.unknown = tuple(site for site, pool in self.pools.items() if pool is None)

    def of(self, site: SiteId) -> Decimal:
        """A month's price of one seat; KeyError where it is not known."""
        pool = self.pools[site]
        if pool is None:
            raise KeyError(site)
        return pool.price

    def total(self, seats: Iterable[tuple[SiteId, int]]) -> Decimal | None:
        """Of so many seats at these sites; None if a price is not known."""
        return None if self.unknown else sum((self.of(site) * count for site, count in seats), Decimal(0))


def _sum(prices: Iterable[Decimal | None]) -> Decimal | None:
    known = list(prices)
    return None if None in known else sum((price for price in known if price is not None), Decimal(0))


def _needs(service: Service) -> Counter[ProductId]:
    return Counter(m.licence for m in service.members if m.licence is not None and m.role is not Role.SERVER)


def _cost(prices: _Prices, sets: Sequence[tuple[SiteId, int]]) -> Cost:
    largest = max(size for _, size in sets)
    spare = _spare(prices, sets)
    return Cost(
        product=prices.product.id,
        dedicated_seats=sum(size for _, size in sets) + sum(spare.values()),
        spare_seats=sum(spare.values()),
        dedicated=prices.total([*sets, *spare.items()]),
        shared_seats=largest * len(prices.pools),
        shared=prices.total([(site, largest) for site in prices.pools]),
        unpriced=prices.unknown,
    )


def _spare(prices: _Prices, sets: Sequence[tuple[SiteId, int]]) -> dict[SiteId, int]:
    """Seats for the largest set that one move may bring: at each site with a pool of its own, and once for all others.

    A move within the floating pool needs none if its product needs no second licence.
    """
    spare: dict[SiteId, int] = {}
    floating: list[tuple[int, SiteId]] = []
    for site, pool in prices.pools.items():
        is_floating = pool is None or pool.site is None
        coming = [
            size
            for home, size in sets
            if home != site and (prices.product.needs_second or not is_floating or not _floats(prices, home))
        ]
        if coming and is_floating:
            floating.append((max(coming), site))
        elif coming:
            spare[site] = max(coming)
    if floating:
        count, site = max(floating)
        spare[site] = count
    return spare


def _floats(prices: _Prices, site: SiteId) -> bool:
    pool = prices.pools[site]
    return pool is None or pool.site is None


def _equal_from(*, spare: Decimal, a_service: Decimal, shared: Decimal) -> int | None:
    if a_service <= 0:
        return None
    return max(1, int(((shared - spare) / a_service).to_integral_value(ROUND_CEILING)))

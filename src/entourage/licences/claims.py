"""Which seats copies and open moves take, and of which pool each of them is.

An open move claims a seat for every member at its source and at its target, from its beginning to its end and whichever
of the copies are there: so the sum of what is used and reserved is the same all the time, and it can end either way.
Two claims of one instance whose product needs no second licence are one seat where both are of the floating pool.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from entourage.model.ids import HostId, ProductId, SiteId, site_of
from entourage.model.licences import Holdings, Licences, Licensed, LicensedCopy, Pool

Instance = tuple[ProductId, str]  # a product and the identity that its vendor knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One seat at the site of `host`. `used`: by a copy that is there; else reserved for one.

    `shares`: it is an instance's that claims seats at several sites, of which it needs one at a time.
    """

    licensed: Licensed
    host: HostId
    used: bool
    shares: bool = False

    @property
    def instance(self) -> Instance:
        """Whose seat it is."""
        return instance_of(self.licensed)

    @property
    def words(self) -> str:
        """Who takes it: "fw of shop on east/h1"."""
        return f"{self.licensed.member} of {self.licensed.service} on {self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A claim and the pool that it is taken from; None if there is no pool for its site."""

    claim: Claim
    pool: Pool | None


def instance_of(licensed: Licensed) -> Instance:
    """What a vendor takes for one."""
    return licensed.product, licensed.identity


def copies_by_instance(holdings: Holdings) -> dict[Instance, list[LicensedCopy]]:
    """The copies that are there, those of an instance that run first."""
    found: dict[Instance, list[LicensedCopy]] = defaultdict(list)
    for copy in holdings.copies:
        found[instance_of(copy.licensed)].append(copy)
    for copies in found.values():
        if len(copies) > 1:
            copies.sort(key=lambda c: (not c.runs, c.host, c.licensed.service, c.licensed.member))
    return found


def seats(licences: Licences, holdings: Holdings) -> list[Seat]:
    """Every seat that is taken. A site's own pool comes first; what it has not is of the floating one.

    Where there is no floating pool a site's own has more claims than seats.
    """
    at_site: dict[tuple[ProductId, SiteId], list[Claim]] = defaultdict(list)
    for claim in _claims(licences, holdings):
        at_site[claim.licensed.product, site_of(claim.host)].append(claim)
    taken: list[Seat] = []
    for (product, site), claims in sorted(at_site.items()):
        own, floating = licences.pool(product, site), licences.pool(product, None)
        if own is None or len(claims) > own.seats:
            # Those that could share a seat of the floating pool come last, in an order that a move does not change.
            claims.sort(key=lambda c: (c.shares, not c.shares and not c.used, c.instance, c.licensed.member, c.host))
        for number, claim in enumerate(claims):
            fits = own is not None and (number < own.seats or floating is None)
            taken.append(Seat(claim=claim, pool=own if fits else floating))
    return list(_merged(taken))


def _claims(licences: Licences, holdings: Holdings) -> Iterator[Claim]:
    copies, open_ways = copies_by_instance(holdings), defaultdict(list)
    for move in holdings.moves:
        for way in move.ways if move.is_open else ():
            open_ways[instance_of(way.licensed)].append(way)
    needs_second = {product.id: product.needs_second for product in licences.products}
    for instance in {**copies, **open_ways}:
        there, ways = copies.get(instance, []), open_ways.get(instance, [])
        if not ways and (len(there) == 1 or not needs_second[instance[0]]):  # nearly all of them, nearly always
            yield Claim(licensed=there[0].licensed, host=there[0].host, used=True)
            continue
        places = {(copy.licensed, copy.host): True for copy in there}
        for way in ways:
            for host in (way.source, way.target):
                places.setdefault((way.licensed, host), False)
        if needs_second[instance[0]]:
            yield from (Claim(licensed=licensed, host=host, used=used) for (licensed, host), used in places.items())
        else:
            yield from _one_at_a_time(there, list(places))


def _one_at_a_time(there: list[LicensedCopy], places: list[tuple[Licensed, HostId]]) -> Iterator[Claim]:
    """A seat at each site of an instance that needs one at a time: used is that of the copy that runs, if one does."""
    holder = site_of(there[0].host) if there else None
    first = {site_of(host): (licensed, host) for licensed, host in reversed(places)}
    for site, (licensed, host) in first.items():
        yield Claim(licensed=licensed, host=host, used=site == holder, shares=len(first) > 1)


def _merged(taken: list[Seat]) -> Iterator[Seat]:
    """Of an instance that shares, one seat of the floating pool: used, if one of its claims is."""
    sharing: dict[Instance, Seat] = {}
    for seat in taken:
        if not (seat.claim.shares and seat.pool is not None and seat.pool.site is None):
            yield seat
        elif seat.claim.used or seat.claim.instance not in sharing:
            sharing[seat.claim.instance] = seat
    yield from sharing.values()

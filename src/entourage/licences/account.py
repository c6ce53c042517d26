"""The account of all pools: what is used, reserved and free now, and what is not as vendors allow it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from entourage.licences.claims import Claim, copies_by_instance, seats
from entourage.model.ids import ProductId, SiteId, site_of
from entourage.model.licences import Binding, Holdings, Licences, LicensedCopy, Pool, Product
from entourage.model.units import format_seconds

_NAMED = 8  # copies in a reason


class ViolationCode(Enum):
    """What vendors do not allow."""

    TOO_MANY_SEATS = "too-many-seats"  # more copies than seats
    NO_POOL = "no-pool"  # a copy at a site for which nothing was bought
    SECOND_COPY = "second-copy"  # two copies of one instance for longer than the product's grace time


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that a vendor does not allow. `site` None: of the floating pool, or at several sites."""

    code: ViolationCode
    product: ProductId
    site: SiteId | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """A pool's seats: `used` by copies that are there, `reserved` for those that open moves may make."""

    pool: Pool
    used: int
    reserved: int

    @property
    def taken(self) -> int:
        """Used or reserved."""
        return self.used + self.reserved

    @property
    def free(self) -> int:
        """What may still be reserved; 0 if there are too few."""
        return max(0, self.pool.seats - self.taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Every pool, in the order of the file; what is violated; and who may come to where nothing was bought."""

    licences: Licences
    pools: tuple[PoolUse, ...]
    violations: tuple[Violation, ...]
    without_pool: tuple[Claim, ...]


def account(licences: Licences, holdings: Holdings, *, at: float) -> Account:
    """The account at a moment, in seconds since the epoch. KeyError for a product that is not in `licences`."""
    claims: dict[tuple[ProductId, SiteId | None], list[Claim]] = defaultdict(list)
    without: list[Claim] = []
    for seat in seats(licences, holdings):
        if seat.pool is None:
            without.append(seat.claim)
        else:
            claims[seat.pool.product, seat.pool.site].append(seat.claim)
    pools = []
    for pool in licences.pools:
        taken = claims[pool.product, pool.site]
        used = sum(claim.used for claim in taken)
        pools.append(PoolUse(pool=pool, used=used, reserved=len(taken) - used))
    return Account(
        licences=licences,
        pools=tuple(pools),
        violations=(
            *_too_many(pools, claims),
            *(_no_pool(claim) for claim in without if claim.used),
            *_second_copies(licences, holdings, at),
        ),
        without_pool=tuple(without),
    )


def observations(found: Account) -> tuple[Mapping[str, str | int | None], ...]:
    """The account as plain data for rules: what is observed, of which product, at which site (None: floating).

    `licence.used`, `licence.reserved` and `licence.free`: seats of a pool. `licence.violated`: how many violations a
    product has at a site, with 0 for every pool that has none.
    """
    observed: list[Mapping[str, str | int | None]] = []
    violated = {(use.pool.product, use.pool.site): 0 for use in found.pools}
    for violation in found.violations:
        where = violation.product, violation.site
        violated[where] = violated.get(where, 0) + 1
    for use in found.pools:
        of = {"product": use.pool.product, "site": use.pool.site}
        seen = {"used": use.used, "reserved": use.reserved, "free": use.free}
        observed += ({"name": f"licence.{name}", **of, "value": count} for name, count in seen.items())
    observed += (
        {"name": "licence.violated", "product": product, "site": site, "value": count}
        for (product, site), count in violated.items()
    )
    return tuple(observed)


def no_pool_reason(claim: Claim) -> str:
    """Why a seat cannot be had at a site."""
    site, product = site_of(claim.host), claim.licensed.product
    return f"{claim.words} needs a seat of {product}, and there is no pool of it at {site}, nor one that floats"


def _too_many(
    pools: Iterable[PoolUse], claims: Mapping[tuple[ProductId, SiteId | None], Sequence[Claim]]
) -> Iterator[Violation]:
    for use in pools:
        if use.used <= use.pool.seats:
            continue
        who = [claim.words for claim in claims[use.pool.product, use.pool.site] if claim.used]
        more = ", …" if len(who) > _NAMED else ""
        yield Violation(
            code=ViolationCode.TOO_MANY_SEATS,
            product=use.pool.product,
            site=use.pool.site,
            reason=f"{use.pool.words}: {use.used} seats are used, and there are {use.pool.seats}; by"
            f" {', '.join(who[:_NAMED])}{more}",
        )


def _no_pool(claim: Claim) -> Violation:
    return Violation(
        code=ViolationCode.NO_POOL,
        product=claim.licensed.product,
        site=site_of(claim.host),
        reason=no_pool_reason(claim),
    )


def _second_copies(licences: Licences, holdings: Holdings, at: float) -> Iterator[Violation]:
    since = {
        (way.licensed, way.target): move.began
        for move in sorted(holdings.moves, key=lambda move: move.began)
        for way in move.ways
    }
    doubled = {instance: copies for instance, copies in copies_by_instance(holdings).items() if len(copies) > 1}
    for (product_id, _), copies in sorted(doubled.items(), key=lambda each: each[0]):
        product = licences.product(product_id)
        if product.grace_s is None:
            continue
        # The first may be there since its lab came up; the second came with a move, or nobody knows with what.
        moved = [since[copy.licensed, copy.host] for copy in copies if (copy.licensed, copy.host) in since]
        together_s = at - max(moved) if moved else None
        if together_s is None or together_s > product.grace_s:
            yield _second_copy(product, copies, together_s)


def _second_copy(product: Product, copies: Sequence[LicensedCopy], together_s: float | None) -> Violation:
    sites = {site_of(copy.host) for copy in copies}
    where = " and ".join(sorted(f"{c.licensed.member} of {c.licensed.service} on {c.host}" for c in copies))
    known = f"MAC {copies[0].licensed.identity}" if product.bound_to is Binding.MAC else product.bound_to.value
    how_long = ", nobody knows since when" if together_s is None else f" for {format_seconds(together_s)}"
    assert product.grace_s is not None
    return Violation(
        code=ViolationCode.SECOND_COPY,
        product=product.id,
        site=sites.pop() if len(sites) == 1 else None,
        reason=f"{where} have had one {known}{how_long}, and {product.id} allows {format_seconds(product.grace_s)}",
    )

"""Whether a move may have the seats that it needs. What it reserves stands as long as it is open."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from entourage.licences.account import Account, PoolUse, account, no_pool_reason
from entourage.model.licences import Holdings, Licences, LicensedMove, Pool
from entourage.model.units import format_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a move takes of each pool beside what is used and reserved without it: how many seats more."""

    seats: tuple[tuple[Pool, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Why a move cannot have its seats: sentences with names and numbers."""

    reasons: tuple[str, ...]


def admit(
    licences: Licences, holdings: Holdings, move: LicensedMove, *, at: float, together_s: float | None = None
) -> Reservation | Shortage:
    """Whether every seat is there that `move` needs at any moment until it ends, at its target or back at its source.

    `together_s`: how long both copies will exist, if that is known: more than a product's grace time is refused, too.
    """
    before = account(licences, holdings, at=at)
    after = account(licences, replace(holdings, moves=(*holdings.moves, replace(move, is_open=True))), at=at)
    more = [
        (use, use.taken - was.taken)
        for was, use in zip(before.pools, after.pools, strict=True)
        if use.taken > was.taken
    ]
    reasons = (*_short(more, before, move), *_without(before, after), *_too_long(licences, move, together_s))
    if reasons:
        return Shortage(reasons=reasons)
    return Reservation(seats=tuple((use.pool, count) for use, count in more))


def _short(more: list[tuple[PoolUse, int]], before: Account, move: LicensedMove) -> Iterator[str]:
    was = {use.pool.words: use for use in before.pools}
    for use, count in more:
        if use.taken <= use.pool.seats:
            continue
        who = ", ".join(way.licensed.member for way in move.ways if way.licensed.product == use.pool.product)
        now = was[use.pool.words]
        yield (
            f"{use.pool.words}: {count} more for {who} while both copies exist, and {now.free} of {use.pool.seats} free"
            f" ({now.used} used, {now.reserved} reserved)"
        )


def _without(before: Account, after: Account) -> Iterator[str]:
    known = {claim.words for claim in before.without_pool}
    for claim in after.without_pool:
        if claim.words not in known:
            yield no_pool_reason(claim)


def _too_long(licences: Licences, move: LicensedMove, together_s: float | None) -> Iterator[str]:
    for way in move.ways:
        product = licences.product(way.licensed.product)
        if product.grace_s is not None and together_s is not None and together_s > product.grace_s:
            yield (
                f"{way.licensed.member} will have two copies for about {format_seconds(together_s)}, and"
                f" {product.id} allows {format_seconds(product.grace_s)}"
            )

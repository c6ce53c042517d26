"""Products, pools and copies in few words, for the tests of the account."""

from collections.abc import Mapping
from decimal import Decimal

from entourage.licences import Account, PoolUse, account
from entourage.model.ids import HostId, MemberId, MoveId, ProductId, ServiceId, SiteId
from entourage.model.licences import (
    Binding,
    Holdings,
    Licences,
    Licensed,
    LicensedCopy,
    LicensedMove,
    LicensedWay,
    Pool,
    Product,
)

EAST, WEST = SiteId("east"), SiteId("west")
VFW = ProductId("vfw")
NOW = 100_000.0


def product(
    *, second: bool = True, grace_s: float | None = None, bound_to: Binding = Binding.UUID, name: str = "vfw"
) -> Product:
    return Product(id=ProductId(name), vendor="acme", bound_to=bound_to, grace_s=grace_s, needs_second=second)


def licences(*products: Product, **seats: int) -> Licences:
    """The product vfw unless others are given; `seats` of all of them at each site, or `floating`."""
    found = products or (product(),)
    pools = tuple(
        Pool(product=each.id, site=None if at == "floating" else SiteId(at), seats=count, price=Decimal(10))
        for each in found
        for at, count in seats.items()
    )
    return Licences(currency="EUR", products=found, pools=pools)


def member(name: str = "fw", *, service: str = "shop", product: str = "vfw", identity: str | None = None) -> Licensed:
    return Licensed(
        service=ServiceId(service),
        member=MemberId(name),
        product=ProductId(product),
        identity=identity or f"{service}/{name}",
    )


def copy(host: str, licensed: Licensed | None = None, *, runs: bool = True) -> LicensedCopy:
    return LicensedCopy(licensed=licensed or member(), host=HostId(host), runs=runs)


def move(
    source: str, target: str, *members: Licensed, began: float = NOW - 10, is_open: bool = True, name: str = "shop-1"
) -> LicensedMove:
    """Of fw, unless others are given."""
    ways = tuple(
        LicensedWay(licensed=each, source=HostId(source), target=HostId(target)) for each in members or (member(),)
    )
    return LicensedMove(move=MoveId(name), began=began, is_open=is_open, ways=ways)


def taken(found: Licences, holdings: Holdings) -> dict[str, tuple[int, int]]:
    """Used and reserved of each pool, by its words."""
    return {use.pool.words: (use.used, use.reserved) for use in account(found, holdings, at=NOW).pools}


def pools(found: Account) -> Mapping[str, PoolUse]:
    return {use.pool.words: use for use in found.pools}

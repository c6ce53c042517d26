"""Licences: the products of vendors, the pools of seats that were bought of them, and who holds seats.

A seat is the right to have one copy of a virtual machine with the product. Times in seconds since the epoch.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from entourage.model.ids import HostId, MemberId, MoveId, ProductId, ServiceId, SiteId


class Binding(Enum):
    """What a product's licence is bound to: copies that are alike in that are one instance for the vendor."""

    NOTHING = "nothing"  # nothing in the copy: no copy is known again
    UUID = "uuid"  # of the virtual machine: a member's own, and the same in all its copies
    MAC = "mac"  # of the first interface: the same in all copies of a member, and maybe in another service's
    SERIAL = "serial"  # number of the virtual machine: as the UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What a vendor licenses, and how it knows an instance again.

    `grace_s`: how long after a second copy has shown up there may be two; None for as long as one likes.
    `needs_second`: whether two copies of one instance take two seats; else one seat covers them meanwhile.
    """

    id: ProductId
    vendor: str
    bound_to: Binding
    grace_s: float | None = None
    needs_second: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """So many `seats` of a product at `site`, or floating: at any site (None). `price` of one seat for a month."""

    product: ProductId
    site: SiteId | None
    seats: int
    price: Decimal

    @property
    def words(self) -> str:
        """The pool as it is named: "vfw at east", "vfw floating"."""
        return f"{self.product} floating" if self.site is None else f"{self.product} at {self.site}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Licences:
    """Everything that was bought. At most one pool of a product at each site, and one that floats."""

    currency: str
    products: tuple[Product, ...]
    pools: tuple[Pool, ...]

    def product(self, product: ProductId) -> Product:
        """The product of that id; KeyError if there is none."""
        for each in self.products:
            if each.id == product:
                return each
        raise KeyError(product)

    def pool(self, product: ProductId, site: SiteId | None) -> Pool | None:
        """The product's own pool at a site, or the floating one for None."""
        return next((pool for pool in self.pools if (pool.product, pool.site) == (product, site)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Licensed:
    """A member that needs a seat. `identity`: what its vendor knows it by, the same in copies that are one instance."""

    service: ServiceId
    member: MemberId
    product: ProductId
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LicensedCopy:
    """A copy that is there. `runs`: now; one that is paused or waits for state does not, and is a copy all the same."""

    licensed: Licensed
    host: HostId
    runs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LicensedWay:
    """One member's part of a move."""

    licensed: Licensed
    source: HostId
    target: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class LicensedMove:
    """What a move, open or ended, does with members that need seats."""

    move: MoveId
    began: float
    is_open: bool
    ways: tuple[LicensedWay, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Who holds seats: the copies that are there, and the moves that are known."""

    copies: tuple[LicensedCopy, ...] = ()
    moves: tuple[LicensedMove, ...] = ()

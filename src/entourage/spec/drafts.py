"""A service half read: None stands for what was reported already, so that later checks can leave it alone."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from entourage.model.ids import ProductId
from entourage.model.realtime import Promise
from entourage.model.world import Role
from entourage.spec.nodes import Scalar
from entourage.spec.problems import Position
from entourage.spec.values import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDraft:
    """One entry of `segments`. `is_ingress` is None where it cannot be told whether a gateway was meant."""

    name: Scalar
    subnet: Found[IPv4Network] | None = None
    gateway: Found[IPv4Address] | None = None
    is_ingress: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDraft:
    """One entry of a member's `interfaces`."""

    segment: Found[str] | None = None
    address: Found[IPv4Address] | None = None
    mac: Found[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDraft:
    """One entry of `members`."""

    name: Scalar
    role: Role | None = None
    memory: Found[float] | None = None
    cpu: Found[float] | None = None
    dirty_rate: float = 0.0
    disk: int = 0
    realtime: tuple[Promise, Position] | None = None
    licence: ProductId | None = None
    ports: tuple[PortDraft, ...] | None = None

    def segments(self) -> frozenset[str] | None:
        """The segments that the member is on; None if that is not fully understood."""
        if not self.ports:
            return None
        known = [port.segment.value for port in self.ports if port.segment is not None]
        return frozenset(known) if len(known) == len(self.ports) else None

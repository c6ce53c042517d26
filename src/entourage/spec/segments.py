"""A service's segments, and whether the addresses of its members fit them."""

from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from entourage.spec.drafts import MemberDraft, SegmentDraft
from entourage.spec.fields import Fields, as_mapping, named
from entourage.spec.nodes import Node, Scalar
from entourage.spec.problems import Position, Problems, quote
from entourage.spec.values import Found

_T = TypeVar("_T")
_SEGMENT = {"subnet": "10.20.3.0/24"}
_GATEWAY = {"gateway": "10.20.0.1"}
_LONGEST_PREFIX = 30  # a longer one has no room for two addresses beside network and broadcast


def read_segments(top: Fields, problems: Problems) -> list[SegmentDraft] | None:
    """The entries of `segments`; None if they cannot be read at all."""
    node = top.mapping("segments")
    if node is None:
        return None
    if not node.entries:
        problems.add(
            node.at, "there is no segment", hint="define at least one, such as {inside: {subnet: 10.20.3.0/24}}"
        )
        return None
    return [_read_segment(*entry, problems) for entry in named(node, "segment", problems)]


def _read_segment(name: Scalar, value: Node, problems: Problems) -> SegmentDraft:
    what = f"segment {quote(name.text)}"
    body = as_mapping(value, what, problems, example="{subnet: 10.20.3.0/24}")
    if body is None:
        return SegmentDraft(name=name)
    fields = Fields(body, problems, what=what, required=_SEGMENT, optional=_GATEWAY, at=name.at)
    subnet, gateway = fields.network("subnet"), fields.address("gateway")
    if subnet is not None and subnet.value.prefixlen > _LONGEST_PREFIX:
        problems.add(
            subnet.at, f"subnet {subnet.value} is too small", hint=f"use a prefix length up to {_LONGEST_PREFIX}"
        )
        subnet = None
    if subnet is not None and gateway is not None:
        _check_inside(gateway, "gateway", subnet.value, what, problems)
    is_ingress = fields.has("gateway") or (False if fields.complete else None)
    return SegmentDraft(name=name, subnet=subnet, gateway=gateway, is_ingress=is_ingress)


def check_segments(segments: list[SegmentDraft], at: Position, problems: Problems) -> None:
    """Exactly one segment has the gateway, and no two overlap. `at` is the place of their heading."""
    ingress = [s for s in segments if s.is_ingress]
    for second in ingress[1:]:
        problems.add(
            second.gateway.at if second.gateway else second.name.at,
            f"segment {quote(second.name.text)} is the second with a gateway,"
            f" the first is {quote(ingress[0].name.text)} on line {ingress[0].name.at.line}",
            hint="only the segment on which the site's edge is attached has a gateway",
        )
    if not ingress and all(s.is_ingress is False for s in segments):
        problems.add(
            at,
            "no segment has a gateway",
            hint="add gateway: 10.20.0.1 to the segment on which the site's edge is attached",
        )
    _check_overlaps([(s, s.subnet) for s in segments if s.subnet is not None], problems)


def _check_overlaps(subnets: list[tuple[SegmentDraft, Found[IPv4Network]]], problems: Problems) -> None:
    # Subnets nest or are disjoint: in this order one that overlaps any before it lies inside the last outermost.
    outer: tuple[SegmentDraft, Found[IPv4Network]] | None = None
    for inner in sorted(subnets, key=lambda s: s[1].value):
        if outer is None or not inner[1].value.subnet_of(outer[1].value):
            outer = inner
            continue
        first, second = sorted((outer, inner), key=lambda s: s[1].at)
        problems.add(
            second[1].at,
            f"subnet {second[1].value} overlaps {first[1].value} of segment {quote(first[0].name.text)}"
            f" on line {first[1].at.line}",
            hint="give every segment a subnet of its own",
        )


def check_addresses(members: list[MemberDraft], segments: list[SegmentDraft] | None, problems: Problems) -> None:
    """Every interface's address is in its segment and free, and no address or MAC is there twice."""
    by_name = {s.name.text: s for s in reversed(segments or ())}
    addresses: dict[IPv4Address, Position] = {}
    macs: dict[str, Position] = {}
    for port in (port for member in members for port in member.ports or ()):
        _check_unique(port.address, "address", addresses, problems)
        _check_unique(port.mac, "MAC address", macs, problems)
        segment = by_name.get(port.segment.value) if port.segment is not None else None
        if port.address is None or segment is None or segment.subnet is None:
            continue
        what = f"segment {quote(segment.name.text)}"
        inside = _check_inside(port.address, "address", segment.subnet.value, what, problems)
        if inside and segment.gateway is not None and port.address.value == segment.gateway.value:
            problems.add(
                port.address.at,
                f"address {port.address.value} is the gateway of {what}",
                hint="the site's edge has this address; choose another",
            )


def _check_unique(found: Found[_T] | None, what: str, first: dict[_T, Position], problems: Problems) -> None:
    if found is None:
        return
    if found.value in first:
        problems.add(
            found.at,
            f"duplicate {what} {found.value}, first on line {first[found.value].line}",
            hint="every interface needs its own",
        )
    first.setdefault(found.value, found.at)


def _check_inside(found: Found[IPv4Address], kind: str, subnet: IPv4Network, what: str, problems: Problems) -> bool:
    address, ends = found.value, {subnet.network_address: "network", subnet.broadcast_address: "broadcast"}
    if address not in subnet:
        message = f"{kind} {address} is outside {what}, {subnet}"
    elif address in ends:
        message = f"{kind} {address} is the {ends[address]} address of {what}"
    else:
        return True
    problems.add(found.at, message, hint=f"choose one from {subnet[1]} to {subnet[-2]}")
    return False

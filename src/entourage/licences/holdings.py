"""Who holds seats, from what is known of members, their copies and moves."""

from collections.abc import Mapping

from entourage.model.ids import HostId, MemberId
from entourage.model.licences import Binding, Licences, Licensed, LicensedCopy, LicensedWay
from entourage.model.world import Member, Service


def licensed(licences: Licences, service: Service, member: Member) -> Licensed | None:
    """The member as its vendor knows it; None if it needs no licence. KeyError if there is no such product."""
    if member.licence is None:
        return None
    by_mac = licences.product(member.licence).bound_to is Binding.MAC and member.interfaces
    identity = member.interfaces[0].mac if by_mac else f"{service.id}/{member.id}"
    return Licensed(service=service.id, member=member.id, product=member.licence, identity=identity)


def copies_of(
    licences: Licences, service: Service, copies: Mapping[tuple[MemberId, HostId], bool]
) -> tuple[LicensedCopy, ...]:
    """Those of the service's copies that need seats. `copies`: where there is one, and whether it runs."""
    members = _licensed_members(licences, service)
    return tuple(
        LicensedCopy(licensed=members[member], host=host, runs=runs)
        for (member, host), runs in sorted(copies.items())
        if member in members
    )


def ways_of(
    licences: Licences, service: Service, *, sources: Mapping[MemberId, HostId], targets: Mapping[MemberId, HostId]
) -> tuple[LicensedWay, ...]:
    """What a move from `sources` to `targets` does with members that need seats."""
    members = _licensed_members(licences, service)
    return tuple(
        LicensedWay(licensed=members[member], source=sources[member], target=target)
        for member, target in sorted(targets.items())
        if member in members
    )


def _licensed_members(licences: Licences, service: Service) -> dict[MemberId, Licensed]:
    found = {member.id: licensed(licences, service, member) for member in service.members}
    return {member: each for member, each in found.items() if each is not None}

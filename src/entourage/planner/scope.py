"""What a move comes to, once its request has been read against the snapshot."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from entourage.model.ids import HostId, MemberId, SiteId, site_of
from entourage.model.world import Host, InterSiteLink, Member, Snapshot
from entourage.paths import after_move


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The members that really move (those asked for that are not at `target` yet), and whether the ingress does.

    `hosts`: those of `target` that may take them. `is_local`: the members move within the site.
    `ingress_sources` are the sites where packets enter now, other than the target; empty if the ingress stays.
    """

    snapshot: Snapshot
    target: SiteId
    hosts: tuple[Host, ...]
    is_local: bool
    members: tuple[Member, ...]
    ingress_moves: bool
    ingress_sources: tuple[SiteId, ...]

    def source(self, member: MemberId) -> SiteId:
        """The site where a member runs now; KeyError if it runs nowhere."""
        return site_of(self.snapshot.placement[member])

    def link(self, member: MemberId) -> InterSiteLink:
        """What a member is copied over; KeyError if there is nothing."""
        return self.snapshot.infrastructure.copied_over(self.source(member), self.target)

    def sources(self) -> tuple[SiteId, ...]:
        """The sites from which members move, sorted."""
        return tuple(sorted({self.source(member.id) for member in self.members}))

    def after(self, placement: Mapping[MemberId, HostId]) -> Snapshot:
        """The snapshot once the members in `placement` have moved, and the ingress with the chain's first stage."""
        moved = after_move(self.snapshot, placement=placement, ingress={})
        if not (self.ingress_moves and first_stage_at(moved, self.target)):
            return moved
        regions = (region.id for region in self.snapshot.infrastructure.regions)
        return after_move(moved, placement={}, ingress=dict.fromkeys(regions, self.target))


def scope_of(
    snapshot: Snapshot, target: SiteId, asked: tuple[Member, ...], onto: frozenset[HostId] | None = None
) -> Scope:
    """The scope of a move of `asked`, which all run. KeyError if there is no such site.

    With `onto` they move within the site, and the ingress stays where it is.
    The ingress follows the chain's first stage: it moves if a member of that stage is asked for, the whole stage is
    at the target afterwards, and some region's packets do not enter there yet.
    """
    hosts = snapshot.infrastructure.site(target).hosts
    if onto is not None:
        at_site = [member for member in asked if site_of(snapshot.placement[member.id]) == target]
        return Scope(
            snapshot=snapshot,
            target=target,
            hosts=tuple(host for host in hosts if host.id in onto),
            is_local=True,
            members=tuple(member for member in at_site if snapshot.placement[member.id] not in onto),
            ingress_moves=False,
            ingress_sources=(),
        )
    ids = {member.id for member in asked}
    follows = bool(ids & set(snapshot.service.chain[0])) and first_stage_at(snapshot, target, besides=ids)
    elsewhere = any(snapshot.ingress.get(region.id) != target for region in snapshot.infrastructure.regions)
    sources = {site for site in snapshot.ingress.values() if site != target}
    return Scope(
        snapshot=snapshot,
        target=target,
        hosts=hosts,
        is_local=False,
        members=tuple(member for member in asked if site_of(snapshot.placement[member.id]) != target),
        ingress_moves=follows and elsewhere,
        ingress_sources=tuple(sorted(sources)) if follows else (),
    )


def first_stage_at(snapshot: Snapshot, site: SiteId, *, besides: Collection[MemberId] = ()) -> bool:
    """Whether every member of the chain's first stage runs at `site` or is one of `besides`."""
    return all(
        member in besides or (member in snapshot.placement and site_of(snapshot.placement[member]) == site)
        for member in snapshot.service.chain[0]
    )

"""A failover: where the members of a lost site are started, from which data, or why that cannot be.

Nothing of a lost site can be asked, so nothing is copied from it: members boot anew, with their disks as the last
replica has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entourage.model.ids import HostId, MemberId, ServiceId, SiteId, site_of
from entourage.model.world import Member, Role, Snapshot
from entourage.planner.latency import check_latency
from entourage.planner.placing import NoRoomError, place
from entourage.planner.plan import Refusal
from entourage.planner.request import HostLoad
from entourage.planner.verdict import Code, Verdict

_BOOT_S, _ROUTE_S = 15.0, 2.0  # rough: a guest of the lab under software emulation, and the route


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverRequest:
    """Start at `target` what `service` had at the site `lost`.

    `without_data`: members whose disk has no replica start with an empty one. `ingress_first`: users are sent to the
    target before anything serves there, and wait; else after all do.
    """

    service: ServiceId
    lost: SiteId
    target: SiteId
    without_data: bool = False
    ingress_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverPlan:
    """Who is started where. `data`: for each disk with a replica the moment (seconds since the epoch) that it is of."""

    service: ServiceId
    lost: SiteId
    target: SiteId
    placement: Mapping[MemberId, HostId]
    data: Mapping[MemberId, float]
    ingress_first: bool

    @property
    def predicted_s(self) -> float:
        """Roughly, from the decision to the first answer."""
        return _BOOT_S + _ROUTE_S

    def to_json(self) -> dict[str, object]:
        """As it is kept with the decision: another process can go on with it."""
        return {
            "service": self.service,
            "lost": self.lost,
            "target": self.target,
            "placement": dict(self.placement),
            "data": dict(self.data),
            "ingress_first": self.ingress_first,
        }


def plan_from_json(data: Mapping[str, Any]) -> FailoverPlan:
    """The plan that `FailoverPlan.to_json` has written."""
    return FailoverPlan(**data)


def plan_failover(
    snapshot: Snapshot,
    request: FailoverRequest,
    *,
    loads: Mapping[HostId, HostLoad],
    replicas: Mapping[tuple[MemberId, HostId], float],
) -> FailoverPlan | Refusal:
    """Plan it. `snapshot.placement` has what still runs, which stays; `replicas` the moment that each is of."""
    if request.target == request.lost or request.target not in [s.id for s in snapshot.infrastructure.sites]:
        return _refusal(request, Code.UNKNOWN_SITE, f"{request.target} is no site to go to from {request.lost}")
    elsewhere = [m for m, host in snapshot.placement.items() if site_of(host) not in (request.lost, request.target)]
    if elsewhere:
        where = ", ".join(f"{member} runs on {snapshot.placement[member]}" for member in sorted(elsewhere))
        return _refusal(request, Code.ELSEWHERE, f"{where}: part of the service is at a third site, and stays there")
    members = [m for m in snapshot.service.members if site_of(snapshot.placement.get(m.id, _NOWHERE)) != request.target]
    if not members:
        return _refusal(request, Code.ALREADY_THERE, f"all members run at {request.target}")
    fixed = _at_replicas(members, request.target, replicas)
    bare = [m.id for m in members if m.disk and m.id not in fixed and not request.without_data]
    if bare:
        reason = f"there is no replica of the disk of {', '.join(bare)} at {request.target}; write rpo: in its file"
        return _refusal(request, Code.NO_REPLICA, reason)
    try:
        placement = _placed(snapshot, request.target, members, fixed, loads)
    except NoRoomError as error:
        return _refusal(request, Code.NO_ROOM, *error.reasons)
    late = check_latency(snapshot.infrastructure, snapshot.service, {**snapshot.placement, **placement}, loads)
    if late is not None:
        return Refusal(service=request.service, target=request.target, verdicts=(late,))
    return FailoverPlan(
        service=request.service,
        lost=request.lost,
        target=request.target,
        placement=placement,
        data={member: replicas[(member, host)] for member, host in fixed.items()},
        ingress_first=request.ingress_first,
    )


_NOWHERE = HostId("/")


def _at_replicas(
    members: list[Member], target: SiteId, replicas: Mapping[tuple[MemberId, HostId], float]
) -> dict[MemberId, HostId]:
    """Members with a disk start where its freshest replica is: a copy of it is made on the same host."""
    fixed = {}
    for member in members:
        found = [(at, host) for (of, host), at in replicas.items() if of == member.id and site_of(host) == target]
        if member.disk and found:
            fixed[member.id] = max(found)[1]
    return fixed


def _placed(
    snapshot: Snapshot,
    target: SiteId,
    members: list[Member],
    fixed: Mapping[MemberId, HostId],
    loads: Mapping[HostId, HostLoad],
) -> dict[MemberId, HostId]:
    hosts = snapshot.infrastructure.site(target).hosts
    left = {host: load for host, load in loads.items() if site_of(host) == target}
    for member in members:
        if member.id in fixed:
            host = snapshot.infrastructure.host(fixed[member.id])
            place([member], [host], loads=left)  # NoRoomError if it has none
            left[host.id] = _with(left[host.id], member)
    servers = {member.id for member in snapshot.service.of_role(Role.SERVER)}
    free = [member for member in members if member.id not in fixed]
    with_server = {host for member, host in fixed.items() if member in servers}
    return {**fixed, **place(free, hosts, loads=left, with_server=with_server)}


def _with(load: HostLoad, member: Member) -> HostLoad:
    promised = {} if member.realtime is None else {member.id: member.realtime}
    return HostLoad(
        memory=load.memory + member.memory, cpu=load.cpu + member.cpu, promised={**load.promised, **promised}
    )


def _refusal(request: FailoverRequest, code: Code, *reasons: str) -> Refusal:
    verdict = Verdict(code=code, said_by="failover", reasons=reasons)
    return Refusal(service=request.service, target=request.target, verdicts=(verdict,))

"""The planner. It decides; whoever asked does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from entourage.model.ids import HostId, MemberId
from entourage.model.units import format_ms
from entourage.model.world import Role, Snapshot
from entourage.planner.admission import Choice, choose_strategy, resolve, sites_of
from entourage.planner.cost import PathChange, Stretched, in_between, path_changes, stretches
from entourage.planner.figures import (
    CopyJob,
    Forecast,
    ahead_s,
    copy_order,
    forecast_group,
    forecast_parallel,
    forecast_serial,
    resident_or_memory,
)
from entourage.planner.latency import check_latency
from entourage.planner.licensing import check_licences, grace_caveats
from entourage.planner.placing import NoRoomError, place
from entourage.planner.plan import Caveat, CaveatCode, Plan, Refusal
from entourage.planner.request import HostLoad, MoveRequest, Strategy
from entourage.planner.scope import Scope
from entourage.planner.steps import steps_of
from entourage.planner.verdict import Code, Verdict
from entourage.ports.hypervisor import Capability

_FORECASTS: Mapping[Strategy, Callable[[Sequence[CopyJob]], Forecast]] = {
    Strategy.GROUP: forecast_group,
    Strategy.SERIAL: forecast_serial,
    Strategy.PARALLEL: forecast_parallel,
}


def plan(
    snapshot: Snapshot,
    request: MoveRequest,
    *,
    loads: Mapping[HostId, HostLoad],
    capabilities: Mapping[MemberId, frozenset[Capability]],
    stretched: Stretched | None = None,
    resident: Mapping[MemberId, int] | None = None,
) -> Plan | Refusal:
    """Plan a move.

    `loads`: what is in use on every host now, by this service and all others; a host without one is not used.
    `capabilities`: what each member's driver can do. `stretched`: the segments that are stretched now, and over
    which sites. `resident`: bytes of a member's memory that must be copied, where known (else all of it).
    """
    scope = resolve(snapshot, request)
    if isinstance(scope, Verdict):
        return _refusal(request, scope)
    placement = _placed(scope, loads)
    jobs = _jobs(scope, resident or {})
    choice = choose_strategy(request.strategy, jobs, capabilities)
    if isinstance(placement, Verdict):
        return _refusal(request, placement, *choice.objections)
    after = scope.after(placement)
    late = check_latency(after.infrastructure, after.service, after.placement, loads)
    against = [each for each in (late, check_licences(scope, placement), *choice.objections) if each is not None]
    if against:
        return _refusal(request, *against)
    drawn = _drawn_up(scope, choice, placement, _FORECASTS[choice.strategy](jobs), stretched or {})
    against = [each for each in (_broken(drawn.paths), check_licences(scope, placement, drawn.total_s)) if each]
    if against:
        return _refusal(request, *against)
    caveats = (*_in_the_clear(scope, jobs, capabilities), *(grace_caveats(scope) if request.waits else ()))
    return replace(drawn, cannot_promise=(*drawn.cannot_promise, *caveats))


def _refusal(request: MoveRequest, *verdicts: Verdict) -> Refusal:
    return Refusal(service=request.service, target=request.target, verdicts=verdicts)


def _placed(scope: Scope, loads: Mapping[HostId, HostLoad]) -> dict[MemberId, HostId] | Verdict:
    service = scope.snapshot.service
    servers = {m.id for m in service.of_role(Role.SERVER)} - {member.id for member in scope.members}
    with_server = {host for member, host in scope.snapshot.placement.items() if member in servers}
    try:
        placement = place(scope.members, scope.hosts, loads=loads, with_server=with_server)
    except NoRoomError as error:
        return Verdict(code=Code.NO_ROOM, said_by="placement", reasons=error.reasons)
    return {member.id: placement[member.id] for member in scope.members}


def _jobs(scope: Scope, resident: Mapping[MemberId, int]) -> tuple[CopyJob, ...]:
    return copy_order(
        CopyJob(
            member=member.id,
            size=resident_or_memory(member.id, member.memory, resident),
            dirty_rate=member.dirty_rate,
            link=scope.link(member.id),
            ahead_s=ahead_s(scope.link(member.id), disk=member.disk),
            has_disk=member.disk > 0,
            is_realtime=member.realtime is not None,
        )
        for member in scope.members
    )


def _drawn_up(
    scope: Scope, choice: Choice, placement: Mapping[MemberId, HostId], forecast: Forecast, stretched: Stretched
) -> Plan:
    after = scope.after(placement)
    meanwhile: list[Snapshot] = []
    if choice.strategy is not Strategy.GROUP:
        meanwhile = in_between(scope, placement, [each.member for each in forecast.members])
    stretch = stretches(after, meanwhile)
    paths = path_changes(scope.snapshot, after, meanwhile, stretched=stretched)
    return Plan(
        service=scope.snapshot.service.id,
        target=scope.target,
        sources=scope.sources(),
        strategy=choice.strategy,
        strategy_reason=choice.reason,
        verdict=Verdict(code=Code.OK, said_by="planner"),
        placement=placement,
        moves_ingress=scope.ingress_moves,
        steps=steps_of(
            scope, choice.strategy, placement=placement, forecast=forecast, stretch=stretch, stretched=stretched
        ),
        stretch=stretch,
        paths=paths,
        cannot_promise=_caveats(scope, choice.strategy, after, paths, forecast),
        forecast=forecast,
    )


def _broken(paths: Sequence[PathChange]) -> Verdict | None:
    reasons = tuple(
        f"requests from {change.region} would end with {change.after.ending.value}: {change.after.detail}"
        for change in paths
        if change.before.is_delivered and not change.after.is_delivered
    )
    return Verdict(code=Code.PATH_BROKEN, said_by="paths", reasons=reasons) if reasons else None


def _caveats(
    scope: Scope, strategy: Strategy, after: Snapshot, paths: Sequence[PathChange], forecast: Forecast
) -> tuple[Caveat, ...]:
    caveats = []
    if strategy is not Strategy.GROUP:
        caveats += _uncoordinated(scope, paths, forecast)
    sites = sites_of(after)
    if len(sites) > 1:
        worst = max(change.after.inter_site_crossings for change in paths) if paths else 0
        text = f"the service is left at {' and '.join(sorted(sites))}: requests cross the inter-site link {worst} times"
        caveats.append(Caveat(code=CaveatCode.SPLIT_AFTERWARDS, text=text))
    return tuple(caveats)


def _in_the_clear(
    scope: Scope, jobs: Sequence[CopyJob], capabilities: Mapping[MemberId, frozenset[Capability]]
) -> list[Caveat]:
    """Whose memory crosses the inter-site link, or the site's network, as it is."""
    readable = [job.member for job in jobs if Capability.ENCRYPTED not in capabilities.get(job.member, ())]
    if not readable:
        return []
    way = f"the network of {scope.target}" if scope.is_local else "the inter-site link"
    text = f"the memory of {', '.join(readable)} crosses {way} unencrypted, and no end proves who it is"
    return [Caveat(code=CaveatCode.NOT_ENCRYPTED, text=text)]


def _uncoordinated(scope: Scope, paths: Sequence[PathChange], forecast: Forecast) -> list[Caveat]:
    """What the hypervisor's own migrations cannot promise."""
    caveats = [
        Caveat(
            code=CaveatCode.NO_WAY_BACK,
            text="there is no commit point: if one member fails, those that have moved stay moved",
        )
    ]
    if len(forecast.members) > 1:
        skew = format_ms(forecast.pause_skew_ms)
        split = format_ms(forecast.split_ms)
        caveats.append(Caveat(code=CaveatCode.NOT_ALIGNED, text=f"members pause up to {skew} apart"))
        if not scope.is_local:  # within a site it makes no difference to packets
            text = f"about {split} with members at both sites: what it takes to copy the rest after the first"
            caveats.append(Caveat(code=CaveatCode.SPLIT_MEANWHILE, text=text))
    broken = [change.region for change in paths if change.worst_meanwhile and not change.worst_meanwhile.is_delivered]
    if broken:
        text = f"requests from {', '.join(broken)} do not arrive while members are at both sites"
        caveats.append(Caveat(code=CaveatCode.PATH_BROKEN_MEANWHILE, text=text))
    return caveats

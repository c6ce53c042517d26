"""What stands against a request: names, states, links and what the members' drivers can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entourage.model.ids import MemberId, SiteId, site_of
from entourage.model.units import format_rate
from entourage.model.world import InterSiteLink, Member, Snapshot
from entourage.planner.figures import CopyJob, too_slow_alone, too_slow_together, usable_rate
from entourage.planner.request import MoveRequest, Strategy
from entourage.planner.scope import Scope, scope_of
from entourage.planner.verdict import Code, Verdict
from entourage.ports.hypervisor import Capability

# What every member's driver must be able to do, best strategy first: `parallel` leaves a group split for less long
# than `serial`, which needs less of the link.
NEEDS: Mapping[Strategy, tuple[Capability, ...]] = {
    Strategy.GROUP: (
        Capability.HOLD,
        Capability.ALIGNED_STOP,
        Capability.COMPLETE_PAUSED,
        Capability.ABORT_AFTER_DRAIN,
    ),
    Strategy.PARALLEL: (Capability.MIGRATE,),
    Strategy.SERIAL: (Capability.MIGRATE,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A strategy, why it is this one, and what stands against it (nothing, if it can be taken)."""

    strategy: Strategy
    reason: str
    objections: tuple[Verdict, ...] = ()


def resolve(snapshot: Snapshot, request: MoveRequest) -> Scope | Verdict:
    """Read a request against the snapshot: what has to move, or why that cannot be or is not needed."""
    unknown = _unknown(snapshot, request)
    if unknown is not None:
        return unknown
    asked = tuple(m for m in snapshot.service.members if request.members is None or m.id in request.members)
    missing = [member.id for member in asked if member.id not in snapshot.placement]
    if missing:
        reasons = tuple(f"{member} runs nowhere: start it first" for member in missing)
        return Verdict(code=Code.NOT_RUNNING, said_by="placement", reasons=reasons)
    scope = scope_of(snapshot, request.target, asked, request.onto)
    if not scope.members:
        return _nothing_to_move(scope, asked)
    return _unlinked(scope) or scope


def choose_strategy(
    wanted: Strategy | None, jobs: Sequence[CopyJob], capabilities: Mapping[MemberId, frozenset[Capability]]
) -> Choice:
    """The strategy that was asked for, or else the best one that nothing stands against.

    If something stands against every one, the choice is the best one with its objections.
    """
    if wanted is not None:
        reason = f"{wanted.value} was asked for"
        return Choice(strategy=wanted, reason=reason, objections=_objections(wanted, jobs, capabilities))
    against = {strategy: _objections(strategy, jobs, capabilities) for strategy in NEEDS}
    for strategy, objections in against.items():
        if not objections:
            return Choice(strategy=strategy, reason=_why(strategy, against))
    return Choice(strategy=Strategy.GROUP, reason="nothing is possible", objections=against[Strategy.GROUP])


def _unknown(snapshot: Snapshot, request: MoveRequest) -> Verdict | None:
    service = snapshot.service
    if request.service != service.id:
        reason = f"there is no service {request.service}; there is {service.id}"
        return Verdict(code=Code.UNKNOWN_SERVICE, said_by="request", reasons=(reason,))
    sites = [site.id for site in snapshot.infrastructure.sites]
    if request.target not in sites:
        reason = f"there is no site {request.target}; there are {', '.join(sites)}"
        return Verdict(code=Code.UNKNOWN_SITE, said_by="request", reasons=(reason,))
    if request.members is None:
        return None
    known = [member.id for member in service.members]
    strangers = sorted(request.members - set(known))
    if strangers or not request.members:
        named = [f"{service.id} has no member {stranger}" for stranger in strangers] or ["no member was named"]
        hint = f"its members are {', '.join(known)}"
        return Verdict(code=Code.UNKNOWN_MEMBER, said_by="request", reasons=(*named, hint))
    return None


def _nothing_to_move(scope: Scope, asked: Sequence[Member]) -> Verdict:
    if scope.is_local:
        taking = {host.id for host in scope.hosts}
        left = [h.id for h in scope.snapshot.infrastructure.site(scope.target).hosts if h.id not in taking]
        nobody = f"none of {', '.join(member.id for member in asked)} is on {' or '.join(left) or 'another host'}"
        return Verdict(code=Code.ALREADY_THERE, said_by="placement", reasons=(nobody,))
    there = f"{', '.join(member.id for member in asked)} at {scope.target} already"
    if not scope.ingress_moves:
        return Verdict(code=Code.ALREADY_THERE, said_by="placement", reasons=(there,))
    where = f"packets enter at {', '.join(scope.ingress_sources) or 'no site'}: announce the prefix at {scope.target}"
    return Verdict(code=Code.INGRESS_ELSEWHERE, said_by="ingress", reasons=(there, where))


def _unlinked(scope: Scope) -> Verdict | None:
    sites = {*scope.sources(), *(scope.ingress_sources if scope.ingress_moves else ())}
    linked = {frozenset(link.sites) for link in scope.snapshot.infrastructure.links}
    reasons = tuple(
        f"no inter-site link joins {site} and {scope.target}"
        for site in sorted(sites - {scope.target})
        if frozenset({site, scope.target}) not in linked
    )
    return Verdict(code=Code.NO_LINK, said_by="links", reasons=reasons) if reasons else None


def _needs(strategy: Strategy, job: CopyJob) -> tuple[Capability, ...]:
    also = ((Capability.MIRROR_DISK, job.has_disk), (Capability.REALTIME, job.is_realtime))
    return (*NEEDS[strategy], *(capability for capability, is_needed in also if is_needed))


def _objections(
    strategy: Strategy, jobs: Sequence[CopyJob], capabilities: Mapping[MemberId, frozenset[Capability]]
) -> tuple[Verdict, ...]:
    found = []
    lacking = {
        job.member: [n.value for n in _needs(strategy, job) if n not in capabilities.get(job.member, frozenset())]
        for job in sorted(jobs, key=lambda job: job.member)
    }
    reasons = tuple(
        f"{strategy.value} needs {', '.join(needs)}, which the driver of {member} cannot do"
        for member, needs in lacking.items()
        if needs
    )
    if reasons:
        found.append(Verdict(code=Code.CAPABILITY_MISSING, said_by="drivers", reasons=reasons))
    slow = _slow(strategy, jobs)
    if slow:
        found.append(Verdict(code=Code.LINK_TOO_SLOW, said_by="links", reasons=slow))
    return tuple(found)


def _slow(strategy: Strategy, jobs: Sequence[CopyJob]) -> tuple[str, ...]:
    """Why copying never ends, with both rates; empty if it does."""
    if strategy is Strategy.SERIAL:
        return tuple(
            f"{job.member} dirties {format_rate(8 * job.dirty_rate)} and {_carries(job.link)}"
            for job in too_slow_alone(jobs)
        )
    return tuple(
        f"the members dirty {format_rate(8 * total)} together and {_carries(link)}"
        for link, total in too_slow_together(jobs).items()
    )


def _carries(link: InterSiteLink) -> str:
    one, other = link.sites
    way = f"the network of {one}" if one == other else f"the link {one}–{other}"
    return (
        f"{way} carries {format_rate(8 * usable_rate(link))} of its {format_rate(link.rate)}: copying never catches up"
    )


def _why(chosen: Strategy, against: Mapping[Strategy, tuple[Verdict, ...]]) -> str:
    better = [reason for objections in against.values() for verdict in objections for reason in verdict.reasons]
    if chosen is Strategy.GROUP:
        return "every member's driver can take part in a group switch"
    return f"{chosen.value} is the best that is possible: {'; '.join(dict.fromkeys(better))}"


def sites_of(snapshot: Snapshot) -> set[SiteId]:
    """The sites at which members of the service run."""
    return {site_of(host) for host in snapshot.placement.values()}

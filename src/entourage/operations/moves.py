"""Planning a move, running it, and its report."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from entourage.engine.document import SCHEMA, mark_offsets, switch_figures
from entourage.engine.groups import group_to_json
from entourage.lab.errors import LabError
from entourage.model.ids import SiteId
from entourage.model.world import FailedTarget
from entourage.operations.driving import driving, start_missing_guards
from entourage.operations.interruption import Interruption
from entourage.operations.licences import with_holdings
from entourage.operations.maintenance import usable
from entourage.operations.neighbours import disturbed
from entourage.operations.observe import Observation, observe
from entourage.operations.recovering import open_records, recovering, require_none_open
from entourage.operations.switching import Shown, Switch, Switched, switched_from_json
from entourage.paths import to_json, trace
from entourage.planner import MoveRequest, Plan, Refusal, Strategy, plan
from entourage.planner.steps import StepKind
from entourage.ports.right import Right
from entourage.switch import Group, Policy
from entourage.wiring import Wired

_ENOUGH_S = 0.006  # what the link carries in this time is little enough to stop for
_MOST_S = 0.2  # and what it does not carry in this is too much
# Of the link, for the joint refreshes. The rest is for others' traffic; and hosts that copy at full rate while nearly
# all are about to stop have no CPU left for the members' users, who wait for what was left undone when all resume.
_REFRESH_SHARE = 0.5


class RefusedError(Exception):
    """The planner says no; `refusal` says why, with numbers."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("; ".join(reason for verdict in refusal.verdicts for reason in verdict.reasons))
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A move that may begin: what was seen, and what is to be done."""

    before: Observation
    planned: Plan
    waits: bool = False  # goes on from its hold when somebody approves
    if_unverified: FailedTarget = FailedTarget.STAY


def make_plan(wired: Wired, seen: Observation, request: MoveRequest) -> Plan | Refusal:
    """What a move would do and cost, from what is now. LabError if licences are counted and moves cannot be read."""
    capabilities = {member.id: wired.hypervisor.capabilities() for member in wired.place.service.members}
    snapshot = with_holdings(wired.place, seen)
    planned = plan(
        snapshot,
        request,
        loads=usable(wired.place, seen.load()),
        capabilities=capabilities,
        stretched=seen.stretched,
        resident=seen.in_use,
    )
    if isinstance(planned, Refusal):
        return planned
    service = seen.snapshot.service
    others = [kept.hosted.service for kept in wired.place.services if kept.id != service.id]
    coming = [(service.member(member), planned.placement[member]) for member in planned.order]
    against = disturbed(seen.snapshot.infrastructure, others, copies=seen.all_copies(), coming=coming)
    return planned if against is None else Refusal(service=service.id, target=planned.target, verdicts=(against,))


async def admit(wired: Wired, request: MoveRequest) -> Admitted:
    """Plan a move. RefusedError if there is no plan, LabError if the service is not at rest."""
    wired.place.refresh()  # another service's copies take room, too
    before = await observe(wired)
    oddities = before.oddities()
    if oddities:
        raise LabError(f"the service is not at rest, so it is not moved: {'; '.join(oddities)}")
    planned = make_plan(wired, before, request)
    if isinstance(planned, Refusal):
        raise RefusedError(planned)
    policy = request.if_unverified or wired.place.service.if_unverified
    return Admitted(before=before, planned=planned, waits=request.waits, if_unverified=policy)


async def run_move(
    wired: Wired, request: MoveRequest, *, shown: Shown, interruption: Interruption | None = None
) -> dict[str, Any]:
    """Plan the move, run it, and return its report; what users saw is added by whoever has users.

    Raises RefusedError before anything is changed, LabError if the service is not at rest or being moved already.
    An `interruption` before the commit puts everything back; a move without a commit point goes on to its end.
    """
    async with driving(wired.place) as right:
        await start_missing_guards(wired, shown)
        admitted = await admit(wired, request)
        return await run_admitted(wired, admitted, right, shown=shown, interruption=interruption or Interruption())


async def run_admitted(
    wired: Wired, admitted: Admitted, right: Right, *, shown: Shown, interruption: Interruption
) -> dict[str, Any]:
    """As `run_move`, for one who has had the `right` since before the move was admitted."""
    from entourage.engine.durable import DurableMoves  # noqa: PLC0415 - slow to import

    name = wired.place.name
    require_none_open(wired.place, so=f", so nothing else is moved before; entourage recover --lab {name}")
    before, planned = admitted.before, admitted.planned
    group = group_of(planned, before, waits=admitted.waits)
    started = time.time()
    move = f"{wired.place.service.id}-{datetime.fromtimestamp(started, tz=UTC):%Y%m%d-%H%M%S}"
    with open_records(wired.place) as records:
        switch = Switch(wired=wired, records=records, move=move, right=right, shown=shown)

        async def drive() -> dict[str, Any]:
            return (await switch.run(planned.strategy, group, interruption)).to_json()

        # From here on to cancel would leave things as they are just then.
        with interruption.instead(lambda _: None):
            document = move_document(wired, group, planned.strategy, admitted.if_unverified)
            async with DurableMoves(records.url, recover=recovering(wired, records, right, shown)) as moves:
                switched = switched_from_json(await moves.begin(move, document, drive))
        await wired.guard.end()
    ended = time.time()
    after = await observe(wired)
    document = {
        "schema": SCHEMA,
        "move": move,
        "service": wired.place.service.id,
        "source": group.source_site,
        "target": group.target_site,
        "strategy": planned.strategy.value,
        "outcome": switched.outcome,
        "reason": switched.reason,
        "problems": list(switched.problems),
        "unverified": list(switched.unverified),
        "started_at": started,
        "total_s": round(ended - started, 3),
        **_figures(wired, group, switched),
        "ingress": await _ingress(wired, group, switched),
        "sessions": None,
        "requests": None,
        "path": {"before": paths_json(before, group.target_site), "after": paths_json(after, group.target_site)},
        "predicted": planned.predicted(),
        "link": link_json(wired, group),
        "left_over": left_over(after, planned, switched.outcome),
    }
    await wired.watch.stop()
    return document


def move_document(wired: Wired, group: Group, strategy: Strategy, if_unverified: FailedTarget) -> dict[str, Any]:
    """What another process needs to bring the move to its end, and what a list of moves shows."""
    return {
        "service": wired.place.service.id,
        "strategy": strategy.value,
        "group": group_to_json(group),
        "if_unverified": if_unverified.value,
    }


def group_of(planned: Plan, seen: Observation, *, waits: bool = False) -> Group:
    """The plan as the switch wants it."""
    infrastructure = seen.snapshot.infrastructure
    source = planned.sources[0]
    steps = planned.steps
    rate = infrastructure.copied_over(source, planned.target).rate / 8
    return Group(
        order=planned.order,
        sources={member: seen.snapshot.placement[member] for member in planned.order},
        targets={member: planned.placement[member] for member in planned.order},
        source_site=source,
        target_site=planned.target,
        moves_ingress=planned.moves_ingress,
        stretch=tuple(s.segment for s in steps if s.kind is StepKind.STRETCH and s.segment is not None),
        unstretch=tuple(s.segment for s in steps if s.kind is StepKind.UNSTRETCH and s.segment is not None),
        policy=Policy(
            link_rate=rate * _REFRESH_SHARE,
            enough_bytes=int(rate * _ENOUGH_S),
            most_bytes=rate * _MOST_S,
            most_s=_MOST_S,
            waits=waits,
        ),
    )


def paths_json(seen: Observation, target: SiteId) -> dict[str, Any]:
    """Every region's path now; first the one of the users near `target`, for whom a move is made."""
    regions = seen.snapshot.infrastructure.regions
    paths = {r.id: to_json(trace(seen.snapshot, r.id, stretched=seen.stretched)) for r in regions}
    first = next((r.id for r in regions if r.near == target), regions[0].id)
    return {
        "hops": paths[first]["hops"],
        "inter_site_crossings": paths[first]["inter_site_crossings"],
        "region": first,
        "regions": paths,
    }


def left_over(after: Observation, planned: Plan, outcome: str) -> list[str]:
    """What a move should not have left behind, a line each."""
    found = after.oddities()
    wanted = {step.segment for step in planned.steps if step.kind is StepKind.STRETCH}
    gone = {step.segment for step in planned.steps if step.kind is StepKind.UNSTRETCH}
    for segment in after.stretched:
        if segment in gone or (outcome == "rolled-back" and segment in wanted):
            found.append(f"segment {segment} is stretched")
    return found


def link_json(wired: Wired, group: Group) -> dict[str, float] | None:
    """The inter-site link that the move goes over; None within a site."""
    if group.source_site == group.target_site:
        return None
    link = wired.place.infrastructure.link(group.source_site, group.target_site)
    return {"rtt_ms": link.rtt, "rate_bps": link.rate, "loss": link.loss}


def add_users(document: dict[str, Any], *, sessions: Mapping[str, Any], requests: Mapping[str, Any]) -> None:
    """Put what live users saw into a move's report."""
    document["sessions"] = dict(sessions)
    document["requests"] = dict(requests)


def _figures(wired: Wired, group: Group, switched: Switched) -> dict[str, Any]:
    figures = switch_figures(
        wired.place.service,
        stopped=switched.stopped,
        resumed=switched.resumed,
        copied=switched.copied,
        sources=group.sources,
        targets=group.targets,
    )
    zero = min(switched.stopped.values(), default=None)
    figures["marks"] = mark_offsets(switched.marks, zero=zero) if zero is not None else []
    return figures


async def _ingress(wired: Wired, group: Group, switched: Switched) -> dict[str, Any] | None:
    """First packet at the target's edge and last at the source's, in ms after the first pause and the last resume."""
    if not (group.moves_ingress and switched.stopped and switched.resumed):
        return None
    first = (await wired.watch.seen(group.target_site)).first
    last = (await wired.watch.arrived(group.source_site)).last
    zero, running = min(switched.stopped.values()), max(switched.resumed.values())
    return {
        "first_packet_target_ms": _ms(zero, first),
        "first_packet_after_last_resume_ms": _ms(running, first),
        "last_packet_source_ms": _ms(zero, last),
    }


def _ms(start: float, end: float | None) -> float | None:
    return None if end is None else round((end - start) * 1000, 3)

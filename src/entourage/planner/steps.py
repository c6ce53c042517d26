"""The steps of a move as data: what an engine has to do, in this order.

Undo is data too: every step before COMMIT can be taken back by asking its driver for the state before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from entourage.model.ids import HostId, MemberId, SegmentId, SiteId
from entourage.planner.cost import SegmentStretch, Stretched
from entourage.planner.figures import Forecast, MemberForecast
from entourage.planner.request import Strategy
from entourage.planner.scope import Scope


class StepKind(Enum):
    """What a step does. Members of one step are dealt with at the same time."""

    PREPARE = "prepare"  # make the member's waiting copy on `host`
    STRETCH = "stretch"  # join `segment` between its sites
    STAGE = "stage"  # announce the prefix at `site`, less preferred
    COPY = "copy"  # copy the member's memory once while it runs, and hold it
    HOLD = "hold"  # all are held: wait here for a window or an approval, or leave; it costs the users nothing
    REFRESH = "refresh"  # send what was dirtied since, and hold again
    STOP = "stop"  # stop all members at once
    DRAIN = "drain"  # send what is left, until every target is complete and paused
    COMMIT = "commit"  # one durable record; before it everything can go back, after it only forward
    MIGRATE = "migrate"  # the hypervisor's own migration: copies, pauses and resumes when it sees fit
    TUNNEL = "tunnel"  # send what still reaches the edge of `site` to the target's edge
    FLIP = "flip"  # prefer the announcement at `site`; with MIGRATE as soon as the chain's first stage has arrived
    RESUME = "resume"  # let all targets run
    VERIFY = "verify"  # packets pass the whole chain as planned
    WITHDRAW = "withdraw"  # take the announcement at `site` away, once it is quiet there
    UNTUNNEL = "untunnel"  # end the tunnel from `site`
    UNSTRETCH = "unstretch"  # separate `segment` again
    CLEANUP = "cleanup"  # take the members' copies at the source away


# Rough times of steps outside the blackout, in ms: what a hypervisor and a BGP router of the lab need.
_ROUGH_MS: Mapping[StepKind, float] = {
    StepKind.PREPARE: 400.0,  # of each: they are made at the same time, four or five in 2 s
    StepKind.STRETCH: 100.0,
    StepKind.STAGE: 1000.0,
    StepKind.COMMIT: 5.0,
    StepKind.TUNNEL: 20.0,
    StepKind.FLIP: 20.0,
    StepKind.VERIFY: 1000.0,
    StepKind.WITHDRAW: 1000.0,
    StepKind.UNTUNNEL: 20.0,
    StepKind.UNSTRETCH: 100.0,
    StepKind.CLEANUP: 1000.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; which of the other fields are set depends on its kind. `predicted_ms` is how long it should take."""

    kind: StepKind
    members: tuple[MemberId, ...] = ()
    host: HostId | None = None
    site: SiteId | None = None
    segment: SegmentId | None = None
    predicted_ms: float = 0.0

    def to_json(self) -> dict[str, object]:
        """The step as it stands in plans; what its kind does not need is null."""
        return {
            "kind": self.kind.value,
            "members": list(self.members),
            "host": self.host,
            "site": self.site,
            "segment": self.segment,
            "predicted_ms": self.predicted_ms,
        }


def steps_of(
    scope: Scope,
    strategy: Strategy,
    *,
    placement: Mapping[MemberId, HostId],
    forecast: Forecast,
    stretch: Sequence[SegmentStretch],
    stretched: Stretched,
) -> tuple[Step, ...]:
    """All steps of a move, in order. `stretched` is what is stretched now, `stretch` what must be."""
    steps = [_step(StepKind.PREPARE, member.id, host=placement[member.id]) for member in scope.members]
    steps += [
        _step(StepKind.STRETCH, segment=each.segment)
        for each in stretch
        if not each.sites <= stretched.get(each.segment, frozenset())
    ]
    if scope.ingress_moves:
        steps.append(_step(StepKind.STAGE, site=scope.target))
    if strategy is Strategy.GROUP:
        steps += _group_switch(scope, forecast)
    else:
        steps += _own_migrations(scope, strategy, forecast)
    return tuple(steps + _ending(scope, stretch, stretched))


def _group_switch(scope: Scope, forecast: Forecast) -> list[Step]:
    members = tuple(each.member for each in forecast.members)
    drain_ms = forecast.blackout_ms - forecast.pause_skew_ms - forecast.resume_skew_ms
    return [
        *(
            Step(kind=StepKind.COPY, members=(each.member,), predicted_ms=1000 * each.copy_s)
            for each in forecast.members
        ),
        Step(kind=StepKind.HOLD, members=members),
        Step(kind=StepKind.REFRESH, members=members, predicted_ms=1000 * forecast.refresh_s),
        Step(kind=StepKind.STOP, members=members, predicted_ms=forecast.pause_skew_ms),
        *_tunnels(scope),  # nobody listens at the source any more; like all before the commit, it can be undone
        Step(kind=StepKind.DRAIN, members=members, predicted_ms=drain_ms),
        _step(StepKind.COMMIT, *members),
        *_flip(scope),
        Step(kind=StepKind.RESUME, members=members, predicted_ms=forecast.resume_skew_ms),
    ]


def _own_migrations(scope: Scope, strategy: Strategy, forecast: Forecast) -> list[Step]:
    redirect = [*_tunnels(scope), *_flip(scope)]
    if strategy is Strategy.PARALLEL:
        members = tuple(each.member for each in forecast.members)
        return [Step(kind=StepKind.MIGRATE, members=members, predicted_ms=1000 * forecast.copy_s), *redirect]
    steps = []
    waiting = {member.id for member in scope.members} & set(scope.snapshot.service.chain[0])
    for each in forecast.members:
        steps.append(_migration(each))
        if waiting == {each.member}:  # packets follow as soon as the chain begins at the target
            steps += redirect
        waiting.discard(each.member)
    return steps


def _migration(forecast: MemberForecast) -> Step:
    took_ms = 1000 * forecast.copy_s + forecast.pause_ms
    return Step(kind=StepKind.MIGRATE, members=(forecast.member,), predicted_ms=took_ms)


def _tunnels(scope: Scope) -> list[Step]:
    return [_step(StepKind.TUNNEL, site=site) for site in scope.ingress_sources]


def _flip(scope: Scope) -> list[Step]:
    return [_step(StepKind.FLIP, site=scope.target)] if scope.ingress_moves else []


def _ending(scope: Scope, stretch: Sequence[SegmentStretch], stretched: Stretched) -> list[Step]:
    members = tuple(member.id for member in scope.members)
    stays = {each.segment for each in stretch if each.stays}
    used = {each.segment for each in stretch} | set(stretched)
    ending = [_step(StepKind.VERIFY)]
    ending += [_step(StepKind.WITHDRAW, site=site) for site in scope.ingress_sources]
    ending += [_step(StepKind.UNTUNNEL, site=site) for site in scope.ingress_sources]
    ending += [
        _step(StepKind.UNSTRETCH, segment=segment.id)
        for segment in scope.snapshot.service.segments
        if segment.id in used - stays
    ]
    ending.append(_step(StepKind.CLEANUP, *members))
    return ending


def _step(
    kind: StepKind,
    *members: MemberId,
    host: HostId | None = None,
    site: SiteId | None = None,
    segment: SegmentId | None = None,
) -> Step:
    return Step(
        kind=kind, members=members, host=host, site=site, segment=segment, predicted_ms=_ROUGH_MS.get(kind, 0.0)
    )

"""What a service's members would do to other services on the same hosts."""

from collections.abc import Iterable, Sequence

from entourage.model.ids import HostId
from entourage.model.world import Infrastructure, Member, Service
from entourage.operations.observe import loads_of
from entourage.planner.latency import check_latency
from entourage.planner.verdict import Code, Verdict

Copies = Sequence[tuple[Member, HostId]]


def disturbed(
    infrastructure: Infrastructure, others: Iterable[Service], *, copies: Copies, coming: Copies
) -> Verdict | None:
    """What stands against members coming to hosts on which these copies are: latencies promised to `others`.

    None if all hold that hold now. One that does not hold now is nobody's fault who comes.
    """
    before, after = loads_of(infrastructure, copies), loads_of(infrastructure, [*copies, *coming])
    reasons: list[str] = []
    for other in others:
        own = {member.id for member in other.members}
        placement = {member.id: host for member, host in copies if member.id in own}
        if check_latency(infrastructure, other, placement, before) is not None:
            continue
        late = check_latency(infrastructure, other, placement, after)
        reasons += [] if late is None else [f"{other.id}, which is there already: {reason}" for reason in late.reasons]
    return Verdict(code=Code.LATENCY, said_by="realtime", reasons=tuple(reasons)) if reasons else None

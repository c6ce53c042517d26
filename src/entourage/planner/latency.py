"""Whether a service's promised latency holds where a move would bring its appliances."""

from collections.abc import Mapping

from entourage.model.ids import HostId, MemberId
from entourage.model.realtime import Promise
from entourage.model.world import Infrastructure, Service
from entourage.planner.request import HostLoad
from entourage.planner.verdict import Code, Verdict
from entourage.realtime import Kept, chain_latency, keep
from entourage.realtime.latency import Responses

_UNPROMISED = "{member} is promised no real-time CPU on {host}: nothing can be said of how long packets wait there"


Placement = Mapping[MemberId, HostId]


def check_latency(
    infrastructure: Infrastructure, service: Service, placement: Placement, loads: Mapping[HostId, HostLoad]
) -> Verdict | None:
    """What stands against members running at `placement`; None if the promise holds, or the service has none.

    `loads`: of the hosts as they are now.
    """
    promised_s = service.latency_p999_s
    if promised_s is None:
        return None
    appliances = service.appliance_stages()
    responses = _responses(infrastructure, service, placement, loads)
    missing = [member for stage in appliances for member in stage if member not in responses]
    if missing:
        words = tuple(_UNPROMISED.format(member=m, host=placement.get(m, "its host")) for m in missing)
        return Verdict(code=Code.LATENCY, said_by="realtime", reasons=words)
    longest = chain_latency(appliances, responses)
    if longest.total_us <= promised_s * 1e6:
        return None
    largest = longest.largest
    assert largest is not None
    reasons = (
        f"the appliances may add {longest.total_us / 1000:.3g} ms there and back, and {promised_s * 1000:g} ms are"
        f" promised; most of it {largest} on {placement[largest]}",
        *(f"{member} on {placement[member]} may add {part / 1000:.3g} ms" for member, part in longest.parts_us.items()),
    )
    return Verdict(code=Code.LATENCY, said_by="realtime", reasons=reasons)


def _responses(
    infrastructure: Infrastructure, service: Service, placement: Placement, loads: Mapping[HostId, HostLoad]
) -> Responses:
    """Of all members of the service whose hosts keep what they are promised."""
    found: dict[MemberId, tuple[int, ...]] = {}
    for host_id in sorted(set(placement.values())):
        host = infrastructure.host(host_id)
        if host.realtime is None:
            continue
        there = {m.id: m.realtime for m in service.members if placement.get(m.id) == host_id and m.realtime}
        others = loads[host_id].promised if host_id in loads else {}
        promises: dict[MemberId, Promise] = {
            **{member: each for member, each in others.items() if placement.get(member, host_id) == host_id},
            **there,
        }
        kept = keep(host.realtime, promises)
        if isinstance(kept, Kept):
            found |= {member: kept.responses_us[member] for member in there}
    return found

"""What is, asked of everything that knows: a frozen observation that plans and pictures are made from."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from entourage.model.ids import HostId, MemberId, SegmentId, SiteId
from entourage.model.world import Infrastructure, Member, Snapshot
from entourage.planner import HostLoad
from entourage.ports.hypervisor import RunState
from entourage.ports.ingress import Announcement, IngressState
from entourage.wiring import Wired

HALF_MADE = "{0} is half-made; take it away: entourage delete {0}"
_NOT_ANNOUNCED = (Announcement.ABSENT, Announcement.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The snapshot that pure layers read, and what else was seen: every copy, every edge, every stretched segment.

    `in_use`: bytes of the members' memories that a copy has to carry, where they can be told.
    `unguarded` has the hosts whose guard does not answer: a member that is paused there would stay so if we died.
    `others`: the copies of other services' members, of which no more is known than that they are there.
    """

    snapshot: Snapshot
    copies: Mapping[tuple[MemberId, HostId], RunState]
    edges: Mapping[SiteId, IngressState]
    stretched: Mapping[SegmentId, frozenset[SiteId]]
    unguarded: tuple[HostId, ...] = ()
    others: Mapping[tuple[MemberId, HostId], Member] = field(default_factory=dict)
    is_half_made: bool = False
    in_use: Mapping[MemberId, int] = field(default_factory=dict)

    def load(self) -> dict[HostId, HostLoad]:
        """What the copies that are there use of each host, those of other services included."""
        return loads_of(self.snapshot.infrastructure, self.all_copies())

    def all_copies(self) -> list[tuple[Member, HostId]]:
        """The copies of all services' members."""
        own = [(self.snapshot.service.member(member), host) for member, host in self.copies]
        return [*own, *((member, host) for (_, host), member in self.others.items())]

    def oddities(self) -> list[str]:
        """What should not be there in a service at rest, one line each."""
        found = [HALF_MADE.format(self.snapshot.service.id)] if self.is_half_made else []
        where: dict[MemberId, list[HostId]] = {}
        for (member, host), state in sorted(self.copies.items()):
            where.setdefault(member, []).append(host)
            if state is not RunState.RUNNING:
                found.append(f"{member} on {host} is {state.value}")
        found += [f"{m} has copies on {', '.join(hosts)}" for m, hosts in sorted(where.items()) if len(hosts) > 1]
        found += [f"{m.id} runs nowhere" for m in self.snapshot.service.members if m.id not in where]
        announced = [s for s, edge in self.edges.items() if edge.announcement not in _NOT_ANNOUNCED]
        if len(announced) != 1:
            found.append(f"{self.snapshot.service.prefix} is announced at {', '.join(announced) or 'no site'}")
        found += [
            f"the edge of {s} does not answer" for s, e in self.edges.items() if e.announcement is Announcement.UNKNOWN
        ]
        found += [f"the edge of {s} tunnels to {e.tunnel_to}" for s, e in self.edges.items() if e.tunnel_to]
        found += [f"the guard on {host} does not answer" for host in self.unguarded]
        return found

    def to_json(self) -> dict[str, Any]:
        """The observation for `status --json`."""
        return {
            "service": self.snapshot.service.id,
            "half_made": self.is_half_made,
            "placement": dict(sorted(self.snapshot.placement.items())),
            "copies": [
                {"member": member, "host": host, "state": state.value}
                for (member, host), state in sorted(self.copies.items())
            ],
            "ingress": dict(sorted(self.snapshot.ingress.items())),
            "edges": {
                site: {"announcement": edge.announcement.value, "tunnel_to": edge.tunnel_to}
                for site, edge in sorted(self.edges.items())
            },
            "stretched": {segment: sorted(sites) for segment, sites in sorted(self.stretched.items())},
            "oddities": self.oddities(),
        }


def loads_of(infrastructure: Infrastructure, copies: Iterable[tuple[Member, HostId]]) -> dict[HostId, HostLoad]:
    """What these copies use of each host."""
    used = {host.id: HostLoad(memory=0, cpu=0.0) for site in infrastructure.sites for host in site.hosts}
    for member, host in copies:
        before = used[host]
        used[host] = HostLoad(
            memory=before.memory + member.memory,
            cpu=before.cpu + member.cpu,
            promised={**before.promised, **({} if member.realtime is None else {member.id: member.realtime})},
        )
    return used


async def observe(wired: Wired) -> Observation:
    """Ask every host for every member, every edge, every provider router, every segment and every guard."""
    place = wired.place
    hosts = place.hosts()
    pairs = [(member.id, host) for member in place.service.members for host in hosts]
    states, edges, ingress, stretched, guarded, others = await asyncio.gather(
        asyncio.gather(*(wired.hypervisor.look(member, host) for member, host in pairs)),
        wired.ingress.observe(place.service),
        wired.ingress.best_site(place.service),
        wired.segments.observe(place.service),
        asyncio.gather(*(wired.guard.is_there(host) for host in hosts)),
        asyncio.to_thread(place.copies_of_others),
    )
    copies = {pair: state for pair, state in zip(pairs, states, strict=True) if state is not RunState.ABSENT}
    snapshot = Snapshot(
        taken_at=time.time(),
        infrastructure=place.infrastructure,
        service=place.service,
        placement={member: host for (member, host), state in copies.items() if state is RunState.RUNNING},
        ingress=ingress,
    )
    unguarded = tuple(host for host, is_there in zip(hosts, guarded, strict=True) if not is_there)
    return Observation(
        snapshot=snapshot,
        copies=copies,
        edges=edges,
        stretched=stretched,
        unguarded=unguarded,
        others=others,
        is_half_made=not place.kept.is_whole,
        in_use=await _in_use(wired, snapshot.placement),
    )


async def _in_use(wired: Wired, placement: Mapping[MemberId, HostId]) -> dict[MemberId, int]:
    members = [wired.place.service.member(member) for member in placement]
    found = await asyncio.gather(*(wired.hypervisor.in_use(each, placement[each.id]) for each in members))
    return {member.id: used for member, used in zip(members, found, strict=True) if used is not None}

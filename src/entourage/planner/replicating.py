"""Where replicas are kept, when the next round is due, and whether the link carries what is wanted."""

from collections.abc import Mapping
from dataclasses import dataclass

from entourage.model.ids import HostId, MemberId, SiteId
from entourage.model.replication import Generation
from entourage.model.units import format_rate
from entourage.model.world import Infrastructure, Service
from entourage.planner.placing import place
from entourage.planner.request import HostLoad

# Of the inter-site link, for all rounds over it together; the rest is for users, moves, and what is written meanwhile.
LINK_SHARE = 0.5
_EARLY = 1 / 3  # of `rpo_s`: a round that takes longer than the last ones is no reason to be late


def replica_site(infrastructure: Infrastructure, service: Service, at: SiteId) -> SiteId | None:
    """Where the disk of a member that runs `at` a site is replicated to; None if no link leads to another site."""
    links = {site: link for link in infrastructure.links if at in link.sites for site in link.sites if site != at}
    if service.replica_at in links:
        return service.replica_at
    return min(links, key=lambda site: (links[site].rtt, site), default=None)


def replica_hosts(infrastructure: Infrastructure, service: Service, site: SiteId) -> dict[MemberId, HostId]:
    """On which of the site's hosts each member's replica is: where there is room for the whole service.

    Always the same, whatever else runs there. NoRoomError if the service does not fit there.
    """
    hosts = infrastructure.site(site).hosts
    placed = place(service.members, hosts, loads={host.id: HostLoad(memory=0, cpu=0.0) for host in hosts})
    return {member.id: placed[member.id] for member in service.replicated()}


def pace(infrastructure: Infrastructure, service: Service, *, source: SiteId, target: SiteId) -> float:
    """Bytes/s that one member's round may take of the link, so that all of them together take their share."""
    return infrastructure.link(source, target).rate / 8 * LINK_SHARE / max(1, len(service.replicated()))


def due_at(last: Generation | None, *, rpo_s: float, now: float) -> float:
    """When the next round has to begin; not after `now` if it is due. Times in seconds since the epoch.

    A generation counts until the next one is valid: until then its data becomes as old as the next round begins after
    it was taken, and as that round takes; which is taken to be as long as the last one took.
    """
    if last is None or last.taken_at > now:  # a clock was stepped: nothing is known of how old the data is
        return now
    return last.taken_at + max(0.0, rpo_s * (1 - _EARLY) - last.took_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """Data became older than it may be. `oldest_s`: how old. `needed`, `available`: of the link, in bit/s."""

    oldest_s: float
    rpo_s: float
    took_s: float
    needed: float
    available: float

    def __str__(self) -> str:
        """A sentence."""
        words = f"data was {self.oldest_s:.1f} s old, wanted are {self.rpo_s:g} s: "
        rates = f"{format_rate(self.needed)} needed, {format_rate(self.available)} available"
        if self.needed > self.available:
            return f"{words}the link is too slow, {rates}"
        return f"{words}the round took {self.took_s:.1f} s, which is not the link's rate: {rates}"


def lateness(before: Generation | None, last: Generation, *, rpo_s: float, pace: float) -> Late | None:
    """Whether the generation `before` was too old when `last` took its place; None if not, or if it was the first one.

    With one round right after another data is as old as two of them take. So the link has to carry what a round brings
    in half of `rpo_s`.
    """
    if before is None or before.taken_at > last.taken_at or last.valid_at - before.taken_at <= rpo_s:
        return None
    return Late(
        oldest_s=last.valid_at - before.taken_at,
        rpo_s=rpo_s,
        took_s=last.took_s,
        needed=last.bytes * 8 / (rpo_s / 2),
        available=pace * 8,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """What there is of one member's disk at other sites. `host` has the freshest `generation`; both None: nothing.

    `problem`: what whoever replicates has to say, in a sentence; None if all is well.
    """

    member: MemberId
    rpo_s: float
    host: HostId | None
    generation: Generation | None
    problem: str | None = None

    def age_s(self, now: float) -> float | None:
        """How old the data is; None if there is none."""
        return None if self.generation is None else self.generation.age_s(now)

    def is_behind(self, now: float) -> bool:
        """Whether the data is older than it may be, or there is none."""
        return self.generation is None or self.generation.age_s(now) > self.rpo_s

    def to_json(self, now: float) -> Mapping[str, object]:
        """For `entourage replicas --json`."""
        last = self.generation
        return {
            "member": self.member,
            "host": self.host,
            "rpo_s": self.rpo_s,
            "behind": self.is_behind(now),
            "problem": self.problem,
            "age_s": None if last is None else round(last.age_s(now), 3),
            "taken_at": None if last is None else last.taken_at,
            "generation": None if last is None else last.number,
            "source": None if last is None else last.source,
            "round": None if last is None else {"bytes": last.bytes, "seconds": round(last.took_s, 3)},
        }

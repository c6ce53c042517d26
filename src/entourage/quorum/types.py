"""What the lease protocol is about: terms, records, messages, events, effects and an agent's state. All frozen.

Every time is in seconds of the agent's own monotonic clock, whose zero means nothing; only differences are ever sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from entourage.model.ids import ServiceId, SiteId

AgentId = NewType("AgentId", str)  # a site's id, or the witness
WITNESS = AgentId("the witness")  # with a space: no site can be named so


def agent_of(site: SiteId) -> AgentId:
    """The agent of a site."""
    return AgentId(site)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The times that all agents have agreed on, in seconds. ValueError if they cannot keep two sites apart.

    `lease`: so long a site may run its services after it has sent a heartbeat that a majority acknowledged.
    `margin`: so much longer a voter waits after it has acknowledged one. `beat`: from heartbeat to heartbeat.
    `drift`: no clock runs faster or slower than true time by more than this share.
    """

    lease: float = 3.0
    margin: float = 0.75
    beat: float = 0.3
    drift: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.drift < 1 or not 0 < self.beat < self.lease:
            raise ValueError(f"terms without sense: {self}")
        if self.to_fence <= 0:
            raise ValueError(f"a margin of {self.margin} s does not outweigh clocks that differ by {self.drift:.1%}")

    @property
    def silence(self) -> float:
        """How long a voter must not have acknowledged a site, before it grants a takeover of it."""
        return self.lease + self.margin

    @property
    def to_fence(self) -> float:
        """How long a site's members may go on, by its clock, after its right has ended: what fencing may take.

        A site's clock may be slow and a voter's fast: (lease + x) / (1 - drift) must not exceed silence / (1 + drift).
        """
        return self.silence * (1 - self.drift) / (1 + self.drift) - self.lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """`by` acts for `lost`, for these services; it ends all that `lost` did before its epoch `epoch`.

    `by_epoch` is the epoch that `by` itself had then: once it has been taken over itself, it may do this no more.
    `extends`: the one that `by` had won before and takes the place of, with more services: what is left if this one is
    given up. An epoch is of one takeover only, so they are the same whatever they extend.
    """

    lost: SiteId
    epoch: int
    by: SiteId
    by_epoch: int
    services: tuple[ServiceId, ...]
    extends: "Takeover | None" = field(default=None, compare=False)

    def may_follow(self, granted: "Takeover | None") -> bool:
        """Whether nothing that was granted stands against it: that was nothing, or the same site's, for no more."""
        return granted is None or (
            (granted.by, granted.by_epoch) == (self.by, self.by_epoch) and set(granted.services) <= set(self.services)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a voter keeps of one site. `epoch`: the site's own, the highest it has shown.

    `granted`: the takeover that this voter granted last. `spent`: no takeover with this epoch or a lower one is granted
    any more, but `granted` itself. `closed`: those of its own up to this epoch have been won or lost for good.
    """

    epoch: int = 0
    granted: Takeover | None = None
    spent: int = 0
    closed: int = 0

    @property
    def taken(self) -> Takeover | None:
        """The takeover that has been granted, as long as the site has not shown that it knows."""
        return self.granted if self.granted is not None and self.granted.epoch > self.epoch else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What an agent keeps durably. `starts` counts how often it was started: a number for each incarnation.

    `won`: takeovers of its own that a majority has granted, and that have not been carried out to their end.
    """

    starts: int = 0
    entries: Mapping[SiteId, Entry] = field(default_factory=dict)
    won: tuple[Takeover, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """When a heartbeat was sent, by its sender's clock, and in which incarnation of the sender: only it can read it."""

    incarnation: int
    sent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a vantage point knows of a site. `heard`: s since it was last heard of; None: never.

    `free`: s until the vantage point may grant a takeover; 0 if it may now.
    """

    heard: float | None
    free: float


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one agent sees, as it tells the others: of every site, and the takeovers that it has granted."""

    sightings: Mapping[SiteId, Sighting]
    taken: tuple[Takeover, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A site asks for its right. `epoch` says at once that nothing is left of what was taken over in it, or before."""

    stamp: Stamp
    epoch: int
    view: View


@dataclass(frozen=True, slots=True)
class Ack:
    """The voter has heard it, and grants no takeover of it for `Terms.silence`."""

    stamp: Stamp
    epoch: int
    view: View


@dataclass(frozen=True, slots=True)
class Refusal:
    """The voter has granted a takeover of the site: that one."""

    taken: Takeover
    view: View


@dataclass(frozen=True, slots=True)
class Ask:
    """Grant me this takeover."""

    takeover: Takeover


@dataclass(frozen=True, slots=True)
class Grant:
    """Granted, durably."""

    takeover: Takeover


@dataclass(frozen=True, slots=True)
class Denial:
    """Not granted, and never to be; `spent` is the voter's, so that the next attempt can be above it."""

    takeover: Takeover
    spent: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The asker has given this takeover up, durably: forget that you granted it."""

    takeover: Takeover


Message = Heartbeat | Ack | Refusal | Ask | Grant | Denial | Withdrawal


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    now: float


@dataclass(frozen=True, slots=True)
class Received:
    """A message came. It may be late, come twice, or be of an incarnation of the sender that is no more."""

    now: float
    sender: AgentId
    message: Message


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Somebody wants this site to take these services of `lost` over."""

    now: float
    lost: SiteId
    services: tuple[ServiceId, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """Nothing is left here of the services that the takeover with that epoch names: the answer to `Remove`."""

    now: float
    epoch: int


@dataclass(frozen=True, slots=True)
class Settled:
    """A takeover that was won has been carried out; it need not be told again."""

    now: float
    takeover: Takeover


Event = Tick | Received | TakeOver | Removed | Settled


@dataclass(frozen=True, slots=True)
class Store:
    """Make this durable before any effect that follows; if that fails, stop the agent."""

    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message. It may be lost."""

    to: AgentId
    message: Message


@dataclass(frozen=True, slots=True)
class Permit:
    """This site's members may run until then, by its own clock. Whoever fences does so then by himself."""

    until: float


@dataclass(frozen=True, slots=True)
class Remove:
    """Others have taken services of this site over: remove every copy of those, and answer `Removed`."""

    takeover: Takeover


@dataclass(frozen=True, slots=True)
class Won:
    """A majority has granted it: start these services here, as long as this site has its right."""

    takeover: Takeover


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody was asked for the takeover, or not enough may grant it; each reason is a sentence."""

    lost: SiteId
    reasons: tuple[str, ...]


Effect = Store | Send | Permit | Remove | Won | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidacy:
    """A takeover that is asked for, and who has answered."""

    takeover: Takeover
    granted: frozenset[AgentId]
    denied: frozenset[AgentId]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One agent. All but `ledger` is forgotten when it ends.

    `began`: when it started. `heard`: when each site's last heartbeat came; `acknowledged`: the last that was
    acknowledged. `proofs`: by voter, when that one of our heartbeats was sent which it acknowledged last. `told`: by
    voter, which takeover of us it has granted. `views`: by agent, what it sees, and when that came.
    """

    me: AgentId
    sites: tuple[SiteId, ...]
    terms: Terms
    ledger: Ledger
    began: float
    next_beat: float
    permitted: float | None = None
    removing: Takeover | None = None
    heard: Mapping[SiteId, float] = field(default_factory=dict)
    acknowledged: Mapping[SiteId, float] = field(default_factory=dict)
    proofs: Mapping[AgentId, float] = field(default_factory=dict)
    told: Mapping[AgentId, Takeover] = field(default_factory=dict)
    views: Mapping[AgentId, tuple[float, View]] = field(default_factory=dict)
    candidacies: Mapping[SiteId, Candidacy] = field(default_factory=dict)

    @property
    def site(self) -> SiteId | None:
        """The site whose agent this is; None for the witness."""
        return None if self.me == WITNESS else SiteId(self.me)

    @property
    def voters(self) -> tuple[AgentId, ...]:
        """Every site's agent, and the witness."""
        return (*(agent_of(site) for site in self.sites), WITNESS)

    @property
    def others(self) -> tuple[AgentId, ...]:
        """All voters but this one."""
        return tuple(voter for voter in self.voters if voter != self.me)

    @property
    def majority(self) -> int:
        """How many voters are more than half of them."""
        return len(self.voters) // 2 + 1

    def entry(self, site: SiteId) -> Entry:
        """What is kept of that site."""
        return self.ledger.entries.get(site, Entry())

"""A world for the lease protocol, with everything that can befall it.

Clocks that differ, a network that loses, delays, repeats and is cut, agents that stall, end in the middle of their
effects and start again, sites that die, and members that may run for as long as fencing may take. Every message and
every fault comes from a seed or a list, so a run can be repeated. Times are in seconds of true time.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from entourage.model.ids import ServiceId, SiteId
from entourage.quorum import WITNESS, AgentId, State, Takeover, Terms, machine
from entourage.quorum.rights import may_start
from entourage.quorum.types import (
    Effect,
    Event,
    Ledger,
    Message,
    Permit,
    Received,
    Remove,
    Removed,
    Send,
    Settled,
    Store,
    TakeOver,
    Tick,
)

HEALED_FOR = 30.0  # time after the last fault until everything must be whole again


@dataclass(frozen=True, slots=True)
class Cut:
    """Nothing that `a` sends reaches `b` from `at` on, for that long."""

    at: float
    lasts: float
    a: AgentId
    b: AgentId


@dataclass(frozen=True, slots=True)
class Noise:
    """Messages sent in this time are lost, come twice, or come late, each with that chance."""

    at: float
    lasts: float
    chance: float
    late: float


@dataclass(frozen=True, slots=True)
class Stall:
    """The agent does nothing; what comes waits for it."""

    at: float
    lasts: float
    agent: AgentId


@dataclass(frozen=True, slots=True)
class End:
    """The agent ends, and starts again later.

    `effects`: not at once, but when it keeps something the next time, after so many of its effects. `with_site`: at
    once, and its site has no power in that time. The copies of its members are there again when it starts.
    """

    at: float
    lasts: float
    agent: AgentId
    effects: int
    with_site: bool


Fault = Cut | Noise | Stall | End


@dataclass
class Node:
    """An agent, and at a site what fences it: `permitted`, in its own clock, is kept when the agent ends."""

    me: AgentId
    rate: float
    offset: float
    ledger: Ledger = field(default_factory=Ledger)
    state: State | None = None
    stalled_until: float = 0.0
    ends: End | None = None
    powered: bool = True
    permitted: float = float("-inf")
    copies: set[ServiceId] = field(default_factory=set)
    waiting: list[tuple[AgentId, Message]] = field(default_factory=list)

    def incarnation(self) -> State | None:
        """Its state, if it is there."""
        return self.state

    def clock(self, now: float) -> float:
        """What its clock shows."""
        return self.offset + self.rate * now


class World:
    """Some sites with two services each, and the witness."""

    def __init__(self, sites: int, faults: Sequence[Fault], *, seed: int, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        self.random = Random(seed)
        self._wishes = Random(seed)
        self.sites = tuple(SiteId(name) for name in ("east", "west", "north", "south")[:sites])
        self.services = [ServiceId(f"{kind}-{site}") for site in self.sites for kind in ("shop", "mail")]
        self.owner = {ServiceId(f"{kind}-{site}"): site for site in self.sites for kind in ("shop", "mail")}
        self.faults = list(faults)
        self.violations: list[str] = []
        self.takeovers: set[Takeover] = set()  # granted by a majority
        self.started: list[tuple[float, SiteId, Takeover]] = []
        self.removed: list[tuple[float, SiteId]] = []
        self.now = 0.0
        self._granted: dict[Takeover, set[AgentId]] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        drift = self.terms.drift
        self.nodes: dict[AgentId, Node] = {}
        for me in (*(AgentId(site) for site in self.sites), WITNESS):
            rate = self.random.choice((1 - drift, 1.0, 1 + drift))
            self.nodes[me] = Node(me=me, rate=rate, offset=self.random.uniform(-1e6, 1e6))
        for service, site in self.owner.items():
            self.nodes[AgentId(site)].copies.add(service)

    def run(self, until: float | None = None) -> "World":
        """Let everything happen; by default until everything has had time to heal, which is then demanded."""
        for node in self.nodes.values():
            self._at(0.0, lambda node=node: self._begin(node))  # type: ignore[misc]
        for fault in self.faults:
            if isinstance(fault, Stall | End):
                self._at(fault.at, lambda fault=fault: self._befall(fault))  # type: ignore[misc]
        last = max((fault.at + fault.lasts for fault in self.faults), default=0.0)
        end = until if until is not None else last + HEALED_FOR
        while self._queue and self._queue[0][0] <= end:
            self.now, _, work = heapq.heappop(self._queue)
            work()
            self._check()
        self.now = end
        if until is None:
            self._demand_whole()
        return self

    def running(self, site: SiteId) -> set[ServiceId]:
        """What may be running at a site now: fencing takes as long as it may."""
        node = self.nodes[AgentId(site)]
        allowed = node.powered and node.clock(self.now) < node.permitted + self.terms.to_fence
        return node.copies if allowed else set()

    def _at(self, when: float, work: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, work))

    def _begin(self, node: Node) -> None:
        node.powered = True
        node.ends = None
        node.waiting.clear()
        state, effects = machine.begin(
            node.me, self.sites, terms=self.terms, ledger=node.ledger, now=node.clock(self.now)
        )
        node.state = state
        self._carry_out(node, effects)
        self._tick(node, state.ledger.starts)

    def _tick(self, node: Node, starts: int) -> None:
        """The beats of one incarnation, each at its time, and what the rules at a site want of it."""
        state = node.incarnation()
        if state is None or state.ledger.starts != starts:
            return
        if node.stalled_until <= self.now:
            self._handle(node, Tick(node.clock(self.now)))
            self._want(node)
        state = node.incarnation()
        if state is not None:
            due = (state.next_beat - node.offset) / node.rate
            self._at(max(due, self.now + 0.01, node.stalled_until), lambda: self._tick(node, starts))

    def _want(self, node: Node) -> None:
        """Take over whoever may be taken over, sometimes one service after another, and start what was won."""
        if node.me == WITNESS:
            return
        me = SiteId(node.me)
        for site in self.sites:
            wanted = tuple(service for service in self.services if self.owner[service] == site)
            wanted = wanted[: self._wishes.choice((1, len(wanted)))]
            if site != me and node.incarnation() is not None:
                self._handle(node, TakeOver(node.clock(self.now), site, wanted))
        state = node.incarnation()
        for takeover in may_start(state, node.clock(self.now)) if state is not None else ():
            node.copies |= set(takeover.services)
            self.started.append((self.now, me, takeover))
            if node.incarnation() is not None:
                self._handle(node, Settled(node.clock(self.now), takeover))

    def _handle(self, node: Node, event: Event) -> None:
        assert node.state is not None
        state, effects = machine.advance(node.state, event)
        end = node.ends
        if end is not None and (end.effects == 0 or any(isinstance(effect, Store) for effect in effects)):
            self._carry_out(node, effects[: end.effects])
            self._end(node, end)
            return
        node.state = state
        self._carry_out(node, effects)

    def _carry_out(self, node: Node, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Store(ledger):
                    node.ledger = ledger
                    self._note_grants(node.me, ledger)
                case Send(to, message):
                    self._send(node.me, to, message)
                case Permit(until):
                    node.permitted = until
                case Remove(takeover):
                    self._at(self.now + self.random.uniform(0, 1), lambda: self._remove(node, takeover.epoch))
                case _:
                    pass

    def _note_grants(self, me: AgentId, ledger: Ledger) -> None:
        for entry in ledger.entries.values():
            if entry.granted is not None:
                voters = self._granted.setdefault(entry.granted, set())
                voters.add(me)
                if len(voters) > len(self.nodes) // 2 and entry.granted not in self.takeovers:
                    self.takeovers.add(entry.granted)
                    self.owner.update(dict.fromkeys(entry.granted.services, entry.granted.by))

    def _remove(self, node: Node, epoch: int) -> None:
        state = node.state
        if state is None or not node.powered or state.removing is None or state.removing.epoch != epoch:
            return
        node.copies -= set(state.removing.services)
        self.removed.append((self.now, SiteId(node.me)))
        self._handle(node, Removed(node.clock(self.now), epoch))

    def _send(self, sender: AgentId, to: AgentId, message: Message) -> None:
        copies, latest = 1, 0.06
        for fault in self.faults:
            if not fault.at <= self.now < fault.at + fault.lasts:
                continue
            if isinstance(fault, Cut) and (fault.a, fault.b) == (sender, to):
                return
            if isinstance(fault, Noise):
                if self.random.random() < fault.chance:
                    return
                copies += self.random.random() < fault.chance
                latest = fault.late if self.random.random() < fault.chance else latest
        for _ in range(copies):
            arrives = self.now + self.random.uniform(0.002, latest)
            self._at(arrives, lambda: self._arrive(sender, to, message))

    def _arrive(self, sender: AgentId, to: AgentId, message: Message) -> None:
        node = self.nodes[to]
        if node.state is None:
            return
        if node.stalled_until > self.now:
            node.waiting.append((sender, message))
            return
        self._handle(node, Received(node.clock(self.now), sender, message))

    def _befall(self, fault: Stall | End) -> None:
        node = self.nodes[fault.agent]
        if isinstance(fault, Stall):
            node.stalled_until = max(node.stalled_until, fault.at + fault.lasts)
            self._at(node.stalled_until, lambda: self._wake(node))
        elif fault.with_site:
            self._end(node, fault)
            node.powered, node.permitted = False, float("-inf")
        else:
            node.ends = fault
            self._at(fault.at + fault.lasts, lambda: self._end(node, fault) if node.ends is fault else None)

    def _wake(self, node: Node) -> None:
        if node.stalled_until > self.now:
            return
        while node.waiting and node.state is not None:
            sender, message = node.waiting.pop(0)
            self._handle(node, Received(node.clock(self.now), sender, message))

    def _end(self, node: Node, fault: End) -> None:
        if node.state is not None:
            node.state = None
            self._at(max(self.now, fault.at + fault.lasts), lambda: self._begin(node) if node.state is None else None)

    def _check(self) -> None:
        for service in self.services:
            sites = [site for site in self.sites if service in self.running(site)]
            if len(sites) > 1:
                self.violations.append(f"{self.now:.3f}: {service} may run at {' and '.join(sites)}")

    def _demand_whole(self) -> None:
        for service in self.services:
            copies = [site for site in self.sites if service in self.nodes[AgentId(site)].copies]
            runners = [
                site
                for site in copies
                if self.nodes[AgentId(site)].clock(self.now) < self.nodes[AgentId(site)].permitted
            ]
            if len(copies) != 1 or runners != copies:
                self.violations.append(f"healed: {service} has copies at {copies} and runs at {runners}")
        for node in self.nodes.values():
            state, now = node.state, node.clock(self.now)
            if state is None or state.candidacies or state.ledger.won:
                self.violations.append(f"healed: {node.me} is not done with a takeover, or not there")
            elif node.me != WITNESS and [
                v for v in state.others if now - state.proofs.get(v, -1e9) > state.terms.lease
            ]:
                self.violations.append(f"healed: not everybody acknowledges {node.me}")

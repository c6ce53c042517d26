"""A switch that is driven by a test: events one by one, and what must hold after each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import strategies as st

from entourage.model.ids import HostId, MemberId, SiteId
from entourage.switch import Group, Policy, advance, begin
from entourage.switch import types as sw

S = TypeVar("S")
NAMES = tuple(MemberId(name) for name in ("rt", "fw", "lb", "web1", "web2"))
A, B = NAMES[:2]
BEFORE_COMMIT = (
    sw.Preparing, sw.Copying, sw.Waiting, sw.Converging, sw.Stopping, sw.Draining, sw.Disarming
)  # fmt: skip
AFTER_COMMIT = (sw.Resuming, sw.Verifying, sw.Cleaning)
ENDS = (sw.Done, sw.RolledBack)


def a_group(
    size: int = 3,
    *,
    moves_ingress: bool = True,
    enough: int = 1000,
    max_rounds: int = 3,
    link_rate: float = 25e6,
    waits: bool = False,
) -> Group:
    order = NAMES[:size]
    return Group(
        order=order,
        sources={member: HostId("east/h1") for member in order},
        targets={member: HostId("west/h1") for member in order},
        source_site=SiteId("east"),
        target_site=SiteId("west"),
        moves_ingress=moves_ingress,
        policy=Policy(link_rate=link_rate, enough_bytes=enough, max_rounds=max_rounds, waits=waits),
    )


GROUPS = st.builds(
    a_group,
    size=st.integers(1, 5),
    moves_ingress=st.booleans(),
    enough=st.integers(0, 2000),
    max_rounds=st.integers(0, 3),
)


class Watched(sw.Stopped):
    """Told by who watches the member; the switch cannot tell it from the answer of a stop."""


@dataclass
class Run:
    """A switch under way, with every command that has not been answered yet and all that was ever told to happen."""

    state: sw.State
    waiting: list[sw.Command]
    commands: list[sw.Command] = field(default_factory=list)
    events: list[sw.Event] = field(default_factory=list)
    states: list[type] = field(default_factory=list)

    @classmethod
    def of(cls, group: Group) -> "Run":
        state, commands = begin(group)
        return cls(state=state, waiting=list(commands), commands=list(commands), states=[type(state)])

    def happen(self, event: sw.Event) -> None:
        self.events.append(event)
        self.state, commands = advance(self.state, event)
        if any(isinstance(command, sw.Undo) for command in commands):
            self.waiting.clear()  # as the engine does: nothing that is under way is waited for any more
        self.waiting += commands
        self.commands += commands
        self.states.append(type(self.state))
        self.require_order()

    def answer(self, command: sw.Command, *, left: int = 0) -> None:
        self.waiting.remove(command)
        event = answer_of(command, left=left)
        if event is not None:
            self.happen(event)

    def answer_all(self, kinds: Iterable[type]) -> None:
        for command in [c for c in self.waiting if isinstance(c, tuple(kinds))]:
            self.answer(command)

    def require(self, kind: type[S]) -> S:
        assert isinstance(self.state, kind)
        return self.state

    def require_order(self) -> None:
        """What must be so whatever has happened: the order of stop, drain, record and resume."""
        members = self.state.group.members()
        drained = members & {e.member for e in self.events if isinstance(e, sw.Drained)}
        stopped = {e.member for e in self.events if isinstance(e, sw.Stopped)}
        stopped &= members  # while all is undone strangers may report what they like
        recorded = any(isinstance(e, sw.Recorded) for e in self.events)
        kinds = [type(command) for command in self.commands]
        if sw.Drain in kinds:
            assert stopped == members
        if sw.Disarm in kinds:
            assert drained == stopped == members
        if sw.RecordCommit in kinds:
            assert any(isinstance(e, sw.Disarmed) for e in self.events)
            assert drained == stopped == members
            assert kinds.count(sw.RecordCommit) == 1
        if sw.Resume in kinds or sw.FlipIngress in kinds:
            assert recorded
            assert sw.Undo not in kinds
        if sw.Stop in kinds:
            assert any(isinstance(e, sw.Ready) for e in self.events)
        if sw.CleanUp in kinds:
            assert {e.member for e in self.events if isinstance(e, sw.Resumed)} == members
        assert kinds.count(sw.Undo) <= 1

    def finish(self) -> None:
        """Answer everything, in the order in which it was asked, until the end."""
        while not isinstance(self.state, ENDS):
            assert self.waiting, f"nobody is asked for anything in {self.state}"
            self.answer(self.waiting[0])


def answer_of(command: sw.Command, *, left: int = 0) -> sw.Event | None:
    match command:
        case sw.Prepare(member):
            return sw.Prepared(member)
        case sw.Copy(member) | sw.Refresh(member):
            return sw.Held(member, left)
        case sw.Stop(member):
            return sw.Stopped(member, 10.0)
        case sw.Drain(member):
            return sw.Drained(member, 100)
        case sw.Resume(member):
            return sw.Resumed(member, 11.0)
        case _:
            return ANSWERS.get(type(command))


ANSWERS: dict[type[sw.Command], sw.Event] = {
    sw.PreparePath: sw.PathReady(),
    sw.CheckReady: sw.Ready(),
    sw.Arm: sw.Armed(),
    sw.Disarm: sw.Disarmed(),
    sw.RecordCommit: sw.Recorded(),
    sw.FlipIngress: sw.IngressFlipped(),
    sw.Verify: sw.Verified(()),
    sw.CleanUp: sw.Cleaned(),
    sw.Undo: sw.Undone(),
}


def advance_to(kind: type, group: Group | None = None) -> Run:
    """A run that has just reached the state."""
    run = Run.of(group or a_group(waits=kind is sw.Waiting))
    if kind in (sw.Undoing, sw.RolledBack):
        run.happen(sw.AbortRequested("not now"))
    left = 10**6 if kind is sw.Converging else 0
    while not isinstance(run.state, kind):
        run.answer(run.waiting[0], left=left)
    if kind is sw.Converging:
        run.answer_all([sw.CheckReady])
    return run

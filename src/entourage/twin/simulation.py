"""One run: a move by the real engine in the simulated world, faults, whoever takes over, and how it must end."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from entourage.engine.mover import Drivers, GroupMover, Outcome
from entourage.ports.errors import DriverError
from entourage.ports.hypervisor import CopyProgress, RunState
from entourage.ports.ingress import Announcement
from entourage.switch import types as sw
from entourage.twin.ending import broken_promises, sessions_reset
from entourage.twin.faults import Fault, FaultKind, draw_faults
from entourage.twin.hypervisor import TwinHypervisor
from entourage.twin.loop import StuckError, VirtualLoop
from entourage.twin.misfortune import Misfortune
from entourage.twin.network import TwinIngress, TwinSegments, TwinVerifier, TwinWatch
from entourage.twin.parts import Copy, Scenario
from entourage.twin.records import Guards, TwinGuard, TwinJournal
from entourage.twin.scenario import EAST, draw_scenario, host_of
from entourage.twin.streams import Streams
from entourage.twin.world import Client, World

_TRIES_AFTER_HEALING = 3
_END_WITHIN_S = 1500.0  # after the last fault is over and the last orchestrator was started
_WRITTEN_WITHIN_S = 30.0  # what the journal of a process keeps beside the decision
_SETTLE_S = 60.0  # what may still be on its way when it is over
_SESSIONS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one run. `violations` is empty if all that was promised was kept. Virtual seconds."""

    outcome: str  # "committed", "rolled-back", or "none" if it did not come to an end
    violations: tuple[str, ...]
    log: tuple[str, ...]
    calls: int
    virtual_s: float
    outage_s: float
    sessions_reset: int
    orchestrators: int


class Simulation:
    """The world and its orchestrators, for one run."""

    def __init__(
        self,
        scenario: Scenario,
        faults: Iterable[Fault],
        chance: Random,
        *,
        mover: type[GroupMover] = GroupMover,
        is_exclusive: bool = True,
    ) -> None:
        """`is_exclusive`: as in the lab, only one process at a time may drive a move; the lock ends with it."""
        self._faults = tuple(faults)
        self._mover_type = mover
        self._is_exclusive = is_exclusive
        self.loop = VirtualLoop(Random(chance.random()) if scenario.shuffles else None)  # type: ignore[abstract]  # noqa: S311
        self.world = World(self.loop, scenario, chance)
        self._streams = Streams(self.world)
        self._guards = Guards(self.world, self._streams)
        self._misfortune = Misfortune(
            self.world,
            self._streams,
            self._guards,
            self._faults,
            people={
                FaultKind.ORCHESTRATOR_KILLED: self._kill,
                FaultKind.SECOND_ORCHESTRATOR: self._second,
                FaultKind.ABORT: self._abort,
            },
        )
        self._ended: asyncio.Future[None] = self.loop.create_future()
        self.world.ended = self._ended
        self._driving: Client | None = None
        self._mover: GroupMover | None = None
        self._started = 0
        self._started_at = 0.0
        self._is_healed = False  # whether all was well when the last orchestrator was started
        self._tries = 0
        self._seen_faults = 0
        self._outcome: Outcome | None = None

    def run(self) -> Run:
        """To its end, and what came of it."""
        world = self.world
        self._at_rest()
        for fault in self._faults:
            world.note("seed", str(fault))
        self._start(recovers=False)
        self.loop.call_later(_END_WITHIN_S, self._look_at_the_clock)
        try:
            self.loop.run(self._ended)
            if not world.violations:
                self._settle()
                for promise in broken_promises(world, self._outcome):
                    world.violate(promise)
        except StuckError:
            world.violate("everybody waits for something that will never happen")
        world.is_over = True
        self.loop.bury()
        state = self._outcome.state if self._outcome is not None else None
        return Run(
            outcome="none" if state is None else "committed" if isinstance(state, sw.Done) else "rolled-back",
            violations=tuple(world.violations),
            log=tuple(f"{at:12.6f} {who}: {what}" for at, who, what in world.log),
            calls=world.calls,
            virtual_s=self.loop.time(),
            outage_s=world.longest_outage_s,
            sessions_reset=sessions_reset(world, _SESSIONS),
            orchestrators=self._started,
        )

    # --- orchestrators ----------------------------------------------------------------------------------------------

    def _start(self, *, recovers: bool) -> None:
        """A new process, if nobody holds the move."""
        world = self.world
        if self._driving is not None and self._is_exclusive:
            return
        self._started += 1
        self._started_at = self.loop.time()
        self._is_healed = self._healed_at() <= self._started_at and not world.striking
        client = Client(world, f"orchestrator-{self._started}")
        world.note(client.name, "begins to recover" if recovers else "begins")
        drivers = Drivers(
            hypervisor=TwinHypervisor(world, self._streams, client),
            ingress=TwinIngress(world, client),
            segments=TwinSegments(world, client),
            watch=TwinWatch(world, client),
            verifier=TwinVerifier(world, client),
            guard=TwinGuard(world, self._guards, client),
        )
        journal = TwinJournal(world, client)

        def shown(state: sw.State) -> None:
            world.note(client.name, type(state).__name__)

        mover = self._mover_type(world.scenario.service, drivers, journal, progress=_unseen, shown=shown)
        self._driving, self._mover = client, mover
        if recovers:
            self._misfortune.recovery_begins()
        task = self.loop.spawn(self._drive(mover, journal, recovers=recovers), client.process)
        task.add_done_callback(lambda done: self._over(client, done))

    async def _drive(self, mover: GroupMover, journal: TwinJournal, *, recovers: bool) -> Outcome:
        group = self.world.scenario.group
        if recovers:
            outcome = await mover.recover(group, "the orchestrator was gone")
        else:
            await asyncio.wait_for(journal.write("planned", {}), _WRITTEN_WITHIN_S)
            outcome = await mover.run(group)
        await asyncio.wait_for(journal.write("ended", {}), _WRITTEN_WITHIN_S)
        return outcome

    def _over(self, client: Client, done: "asyncio.Task[Outcome]") -> None:
        """A process has come to its end by itself: well, or it has to be tried again."""
        world = self.world
        if not client.is_alive or world.is_over:
            return
        client.is_alive = False
        if self._driving is client:
            self._driving, self._mover = None, None
        if self._misfortune.begun != self._seen_faults:
            self._seen_faults, self._tries = self._misfortune.begun, 0
        is_healed = self._is_healed
        self._tries += is_healed
        if done.exception() is None:
            self._check_nobody_is_left(client)
        self._guards.died(client)
        error = done.exception()
        if error is not None:
            world.note(client.name, f"fails: {error!r}")
            if not isinstance(error, DriverError | TimeoutError) and not (
                isinstance(error, KeyError) and self._has_crashes()
            ):
                world.violate(f"an orchestrator failed by a fault of its own: {error!r}")
        else:
            outcome = done.result()
            state = outcome.state
            world.note(client.name, f"ends: {type(state).__name__} {'; '.join(state.problems)}".rstrip())
            if not state.problems or (is_healed and world.lost and self._tries >= _TRIES_AFTER_HEALING):
                self._check_told(client, state)
                self._outcome = outcome
                if not self._ended.done():
                    self._ended.set_result(None)
                return
        if self._tries >= _TRIES_AFTER_HEALING:
            world.violate(f"does not come to a good end, and nothing is wrong any more: {error or state.problems}")
        self._again()

    def _check_nobody_is_left(self, client: Client) -> None:
        """Who says that the move has ended leaves no member standing that no guard watches.

        One who fails before it knows the decision may have to: it could be a commit.
        """
        world, sources = self.world, self.world.scenario.group.sources
        if world.is_committed():
            return
        for member, host in sources.items():
            copy, guard = world.copies.get((member, host)), world.guards[host]
            stands = copy is not None and copy.state is RunState.PAUSED
            if stands and guard.is_alive and member in guard.known - set(guard.armed) - world.unguardable:
                world.violate(f"{client.name} has left {member} standing on {host}, and no guard is armed for it")

    def _check_told(self, client: Client, state: sw.Done | sw.RolledBack) -> None:
        """Who says that all is well at the target has tried it."""
        if not isinstance(state, sw.Done) or state.problems:
            return
        group = self.world.scenario.group
        copies = [self.world.copies.get((member, host)) for member, host in group.targets.items()]
        last = max((copy.resumed_at or 0.0 for copy in copies if copy is not None), default=0.0)
        if client.verified_at is None or client.verified_at < last:
            self.world.violate("told that all is well, and nobody has tried it")

    def _again(self) -> None:
        """Somebody starts an orchestrator again after a while; at the latest one when nothing is wrong any more."""
        after_s = self.world.scenario.restart_s
        if self._tries:
            after_s = max(after_s, self._healed_at() - self.loop.time() + 0.1)
        self.loop.call_later(after_s, lambda: self._start(recovers=True))

    def _kill(self) -> None:
        client = self._driving
        if client is None:
            return
        self.world.note("fault", f"  {client.name} is killed")
        client.is_alive = False
        self._driving, self._mover = None, None
        self.loop.kill(client.process)
        for stream in [each for each in self._streams.all if each.client is client and not each.is_whole]:
            self._streams.break_off(stream, by=client.name)
        self._guards.died(client)
        self._again()

    def _second(self) -> None:
        if self._ended.done():
            return  # a move that has ended is nobody's to recover
        if self._driving is not None and self._is_exclusive:
            self.world.note("second orchestrator", f"refused: the move is driven by {self._driving.name}")
        else:
            self._start(recovers=True)

    def _abort(self) -> None:
        if self._mover is not None:
            self._mover.abort("somebody asked for it")

    # --- before and after -------------------------------------------------------------------------------------------

    def _at_rest(self) -> None:
        """Everybody runs, and users enter where the first member of the chain is."""
        world, group = self.world, self.world.scenario.group
        for member in world.scenario.service.members:
            host = group.sources.get(member.id, host_of(member.id, EAST))
            copy = Copy(
                member=member.id, host=host, state=RunState.RUNNING, memory=member.memory, dirty_rate=0.0, version=1
            )
            copy.resumed_at = 0.0
            world.put(copy)
        world.announced[EAST] = Announcement.ACTIVE
        assert not world.troubles()

    def _settle(self) -> None:
        """Everything heals, and what is still on its way arrives."""
        settled = self.loop.create_future()
        self.world.ended = settled
        wait_s = max(0.0, self._healed_at() - self.loop.time()) + _SETTLE_S
        self.loop.call_later(wait_s, settled.cancel)
        with suppress(asyncio.CancelledError):
            self.loop.run(settled)

    def _look_at_the_clock(self) -> None:
        if self._ended.done():
            return
        since = max(self._healed_at(), self._started_at)
        left = since + _END_WITHIN_S - self.loop.time()
        if left <= 0:
            self.world.violate(f"has not come to an end {_END_WITHIN_S:g} s after everything was well")
        else:
            self.loop.call_later(left + 1.0, self._look_at_the_clock)

    def _healed_at(self) -> float:
        """When everything that has begun to go wrong is over."""
        return max(self._misfortune.until, self.world.late_until)

    def _has_crashes(self) -> bool:
        return any(fault.kind is FaultKind.CALL_CRASHES for fault in self._faults)


def simulate(seed: int, *, mover: type[GroupMover] = GroupMover, is_exclusive: bool = True) -> Run:
    """The run that this seed decides, always the same."""
    chance = Random(seed)  # noqa: S311 - not for secrets: it has to be the same again
    scenario = draw_scenario(chance)
    faults = draw_faults(chance, scenario)
    return Simulation(scenario, faults, chance, mover=mover, is_exclusive=is_exclusive).run()


def _unseen(_: CopyProgress) -> None:
    """Nobody watches the progress."""

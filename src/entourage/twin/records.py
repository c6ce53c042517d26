"""Guards and the journal of the simulated world, as one process sees them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from entourage.model.ids import HostId, MemberId
from entourage.model.world import Service
from entourage.ports.errors import OutcomeUnknownError, TemporaryError
from entourage.ports.hypervisor import RunState
from entourage.ports.journal import Decision
from entourage.twin.parts import Copy, HostGuard
from entourage.twin.streams import Streams
from entourage.twin.world import JOURNAL, Client, World

_SEES_DEATH_S = 0.1  # how soon a guard notices that whoever armed it is gone


class Guards:
    """The guard processes of all hosts: what they do by themselves."""

    def __init__(self, world: World, streams: Streams) -> None:
        self._world = world
        self._streams = streams
        world.on_paused = self.on_paused

    def on_paused(self, copy: Copy) -> None:
        """A member stands still: its guard begins to count."""
        guard = self._world.guards[copy.host]
        if copy.member in guard.armed:
            self._count(guard, copy)

    def armed(self, guard: HostGuard) -> None:
        """The guard was armed: who stands still already is counted from now on."""
        for member in guard.armed:
            copy = self._world.copies.get((member, guard.host))
            if copy is not None and copy.state is RunState.PAUSED:
                self._count(guard, copy)

    def died(self, client: Client) -> None:
        """Whoever armed guards is gone."""
        for guard in self._world.guards.values():
            self.line_lost(guard, client)

    def line_lost(self, guard: HostGuard, client: Client) -> None:
        """The guard hears no more of who armed it."""
        members = [member for member, (by, _) in guard.armed.items() if by is client]
        for member in members:
            guard.armed[member] = (client, 0.0)
        if members and not self._world.is_over:
            self._world.loop.call_later(_SEES_DEATH_S, self.armed, guard)

    def restart(self, guard: HostGuard) -> None:
        """A new process in place of a dead one: it knows nothing of what the one before was told or did."""
        guard.is_alive, guard.armed, guard.known, guard.run_again = True, {}, set(), set()

    def _count(self, guard: HostGuard, copy: Copy) -> None:
        arming = guard.armed[copy.member]
        self._world.loop.call_later(arming[1] / guard.rate, self._act, guard, copy, copy.paused_at, arming)

    def _act(self, guard: HostGuard, copy: Copy, paused_at: float | None, arming: tuple[Client, float]) -> None:
        world = self._world
        is_known = world.copies.get((copy.member, copy.host)) is copy and copy.paused_at == paused_at
        if not guard.is_alive or guard.armed.get(copy.member) is not arming or not is_known or world.is_over:
            return
        if copy.state is not RunState.PAUSED:
            return
        world.note("guard", f"{guard.host}: runs {copy.member} again")
        guard.run_again.add(copy.member)
        if copy.stream is not None:
            self._streams.break_off(copy.stream, by="guard")
        if copy.state is RunState.PAUSED:
            world.run(copy, by="guard")


class TwinGuard:
    """`entourage.ports.guard.Guard`: a line to each host's guard, all asked at once.

    A request that nobody waits for any more ends its line, and the guard takes who armed it for gone.
    """

    def __init__(self, world: World, guards: Guards, client: Client) -> None:
        self._world = world
        self._guards = guards
        self._client = client
        self._armed: set[MemberId] = set()  # what this process has ever armed

    async def arm(self, service: Service, sources: Mapping[MemberId, HostId], *, deadline_s: float) -> None:
        """TemporaryError where the guard does not run."""

        def effect(guard: HostGuard, members: frozenset[MemberId]) -> None:
            for member in members:
                guard.armed[member] = (self._client, deadline_s)
            guard.known |= members
            guard.run_again -= members
            self._world.disarmed -= members
            self._guards.armed(guard)

        self._armed |= set(sources)
        self._world.unguardable |= set(sources)  # unless it is answered
        await self._all("arm", sources, effect)
        self._world.unguardable -= set(sources)

    async def disarm(self, service: Service, sources: Mapping[MemberId, HostId]) -> frozenset[MemberId]:
        """OutcomeUnknownError if a guard was started anew since it was armed: what the one before did nobody knows."""
        run_again: set[MemberId] = set()

        def effect(guard: HostGuard, members: frozenset[MemberId]) -> None:
            for member in members:
                guard.armed.pop(member, None)
            self._world.disarmed |= members
            if members & self._armed - guard.known:
                raise OutcomeUnknownError(f"the guard of {guard.host} has forgotten that it was armed")
            run_again.update(guard.run_again & members)

        await self._all("disarm", sources, effect)
        return frozenset(run_again)

    async def _all(
        self,
        method: str,
        sources: Mapping[MemberId, HostId],
        act: Callable[[HostGuard, frozenset[MemberId]], None],
    ) -> None:
        async def ask(host: HostId) -> None:
            guard = self._world.guards[host]
            members = frozenset(member for member, at in sources.items() if at == host)

            def effect() -> None:
                if not guard.is_alive:
                    raise TemporaryError(f"the guard of {host} does not run", delay=0.5)
                act(guard, members)

            try:
                await self._client.ask(method, host, endpoint=f"{host} guard", effect=effect)
            except asyncio.CancelledError:
                self._guards.line_lost(guard, self._client)
                raise

        outcomes = await asyncio.gather(*(ask(host) for host in sorted(set(sources.values()))), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome


class TwinJournal:
    """`entourage.ports.journal.Journal` on storage that outlives every orchestrator."""

    def __init__(self, world: World, client: Client) -> None:
        self._world = world
        self._client = client

    async def write(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append the entry."""
        await self._client.ask("write", kind, endpoint=JOURNAL, effect=lambda: self._world.entries.append(kind))

    async def check(self) -> None:
        """As a decision would be written."""
        await self._client.ask("check", "storage", endpoint=JOURNAL, effect=lambda: None)

    async def decide(self, decision: Decision) -> Decision:
        """The first decision stands."""
        return await self._client.ask(
            "decide",
            decision.value,
            endpoint=JOURNAL,
            effect=lambda: self._world.decide(decision, by=self._client.name),
        )

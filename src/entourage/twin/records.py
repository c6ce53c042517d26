"""Guards and the journal of the simulated world, as one process sees them."""

from collections.abc import Mapping
from typing import Any

from entourage.model.ids import HostId, MemberId
from entourage.model.world import Service
from entourage.ports.errors import PermanentError
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
            if any(by is client for by, _ in guard.armed.values()):
                self._world.loop.call_later(_SEES_DEATH_S, self.armed, guard)

    def _count(self, guard: HostGuard, copy: Copy) -> None:
        by, deadline_s = guard.armed[copy.member]
        after_s = deadline_s / guard.rate if by.is_alive else 0.0
        self._world.loop.call_later(after_s, self._act, guard, copy, copy.paused_at)

    def _act(self, guard: HostGuard, copy: Copy, paused_at: float | None) -> None:
        world = self._world
        is_known = world.copies.get((copy.member, copy.host)) is copy and copy.paused_at == paused_at
        if not guard.is_alive or copy.member not in guard.armed or not is_known or world.is_over:
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
    """`entourage.ports.guard.Guard`: each host's guard is asked by itself."""

    def __init__(self, world: World, guards: Guards, client: Client) -> None:
        self._world = world
        self._guards = guards
        self._client = client

    async def arm(self, service: Service, sources: Mapping[MemberId, HostId], *, deadline_s: float) -> None:
        """One host after another. PermanentError where the guard is dead."""
        for host in sorted(set(sources.values())):

            def effect(host: HostId = host) -> None:
                guard = self._guard(host)
                if not guard.is_alive:
                    raise PermanentError(f"{host}: its guard is not there")
                guard.armed = {m: (self._client, deadline_s) for m, at in sources.items() if at == host}
                guard.run_again = set()
                self._world.disarmed.difference_update(guard.armed)
                self._guards.armed(guard)

            await self._client.ask("arm", host, endpoint=f"{host} guard", effect=effect)

    async def disarm(self, service: Service, sources: Mapping[MemberId, HostId]) -> frozenset[MemberId]:
        """One host after another; a dead guard does not act, and what it did is on its host's storage."""
        run_again: set[MemberId] = set()
        for host in sorted(set(sources.values())):

            def effect(host: HostId = host) -> frozenset[MemberId]:
                guard = self._guard(host)
                guard.armed = {}
                self._world.disarmed.update(m for m, at in sources.items() if at == host)
                return frozenset(guard.run_again)

            run_again |= await self._client.ask("disarm", host, endpoint=f"{host} guard", effect=effect)
        return frozenset(run_again & set(sources))

    def _guard(self, host: HostId) -> HostGuard:
        self._world.require_host(host)
        return self._world.guards[host]


class TwinJournal:
    """`entourage.ports.journal.Journal` on storage that outlives every orchestrator."""

    def __init__(self, world: World, client: Client) -> None:
        self._world = world
        self._client = client

    async def write(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append the entry."""
        await self._client.ask("write", kind, endpoint=JOURNAL, effect=lambda: self._world.entries.append(kind))

    async def decide(self, decision: Decision) -> Decision:
        """The first decision stands."""
        return await self._client.ask(
            "decide",
            decision.value,
            endpoint=JOURNAL,
            effect=lambda: self._world.decide(decision, by=self._client.name),
        )

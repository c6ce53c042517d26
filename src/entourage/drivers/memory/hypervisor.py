"""A hypervisor in memory: as strict as a real one about what can be done in which state, and stricter."""

import math
from pathlib import Path

from entourage.drivers.memory.world import STEP_S, MemoryCopy, MemoryStream, MemoryWorld
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Member
from entourage.ports.errors import PermanentError, UnsupportedError
from entourage.ports.hypervisor import (
    Capability,
    CopyProgress,
    CopyRound,
    Migrated,
    ProgressCallback,
    PromisedThread,
    RunState,
)

_PAGE = 4096


class MemoryHypervisor:
    """`entourage.ports.hypervisor.Hypervisor` for all hosts of a MemoryWorld, with the world's capabilities.

    What needs which: `copy` and `refresh` HOLD, `stop` ALIGNED_STOP, `drain` COMPLETE_PAUSED, `migrate` MIGRATE, and
    `resume` of a source that was drained ABORT_AFTER_DRAIN.
    """

    name = "memory"

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world

    def capabilities(self) -> frozenset[Capability]:
        """As the world has it."""
        return self._world.capabilities

    async def look(self, member: MemberId, host: HostId) -> RunState:
        """What the world has there."""
        async with self._world.call("hypervisor.look", member, host):
            self._world.require_host(host)
            copy = self._world.copies.get((member, host))
            return RunState.ABSENT if copy is None else copy.state

    async def in_use(self, member: Member, host: HostId) -> int | None:
        """All of it, if there is a copy."""
        async with self._world.call("hypervisor.in_use", member.id, host):
            return member.memory if (member.id, host) in self._world.copies else None

    async def create(self, member: Member, host: HostId, *, disk: Path | None = None) -> None:
        """Run it; PermanentError if a copy is there that does not run, UnsupportedError with a disk's content."""
        if disk is not None:
            raise UnsupportedError(f"{self.name} cannot start {member.id} with a disk: it has none")
        async with self._world.call("hypervisor.create", member.id, host):
            self._world.require_host(host)
            known = self._world.copies.get((member.id, host))
            if known is None:
                self._put(member, host, RunState.PAUSED)
                self._world.run(member.id, host)
            elif known.state is not RunState.RUNNING:
                raise PermanentError(f"{member.id} on {host}: a copy is there already, and it is {known.state.value}")

    async def prepare(self, member: Member, host: HostId, *, autostart: bool = False) -> None:
        """A copy that waits for state."""
        async with self._world.call("hypervisor.prepare", member.id, host):
            self._world.require_host(host)
            known = self._world.copies.get((member.id, host))
            if known is None:
                self._put(member, host, RunState.INCOMING).autostart = autostart
            elif known.state is not RunState.INCOMING:
                raise PermanentError(f"{member.id} on {host}: a copy is there already, and it is {known.state.value}")

    async def promises(self, host: HostId) -> dict[MemberId, list[PromisedThread]]:
        """None: it has no REALTIME."""
        return {}

    async def copy(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> CopyRound:
        """All memory once, then what was dirtied meanwhile is left."""
        async with self._world.call("hypervisor.copy", member.id, source, target):
            self._require(Capability.HOLD, "copy and hold")
            stream = self._begin(member, source=source, target=target)
            return await self._pass(member.id, stream, progress)

    async def refresh(self, member: Member, *, source: HostId, pace: float) -> CopyRound:
        """What was dirtied since the last pass, in steps of what `pace` allows."""
        async with self._world.call("hypervisor.refresh", member.id, source):
            self._require(Capability.HOLD, "copy and hold")
            if pace <= 0:
                raise PermanentError(f"{member.id} on {source}: at {pace:g} bytes/s a pass never ends")
            stream = self._stream(member.id, source)
            copy = self._world.copy_on(member.id, source)
            if copy.paused_at is not None:
                return CopyRound(left=0, stopped_at=copy.paused_at)
            return await self._pass(member.id, stream, None, pace=pace)

    async def repace(self, member: Member, *, source: HostId, pace: float) -> None:
        """Another pace for the steps that are still to come."""
        async with self._world.call("hypervisor.repace", member.id, source):
            self._require(Capability.HOLD, "copy and hold")
            self._stream(member.id, source).pace = pace

    async def stopped(self, member: Member, *, source: HostId) -> float:
        """When it is paused; PermanentError if its copy is broken off before."""
        async with self._world.call("hypervisor.stopped", member.id, source):
            stream = self._stream(member.id, source)
            copy = self._world.copy_on(member.id, source)
            while copy.paused_at is None and copy.stream is stream:
                stream.changed.clear()
                await stream.changed.wait()
            if copy.paused_at is None:
                raise PermanentError(f"{member.id} on {source}: its copy was broken off, it was not stopped")
            return copy.paused_at

    async def stop(self, member: Member, *, source: HostId) -> float:
        """Pause it; a paused one is paused since it was."""
        async with self._world.call("hypervisor.stop", member.id, source):
            self._require(Capability.ALIGNED_STOP, "stop at a chosen moment")
            copy = self._world.copy_on(member.id, source)
            if copy.state is RunState.RUNNING:
                self._world.pause(copy)
            if copy.state is not RunState.PAUSED or copy.paused_at is None:
                raise PermanentError(f"{member.id} on {source}: it is {copy.state.value}, it cannot be stopped")
            return copy.paused_at

    async def drain(self, member: Member, *, source: HostId, target: HostId) -> int:
        """The rest; the target is whole, and paused."""
        async with self._world.call("hypervisor.drain", member.id, source, target):
            self._require(Capability.COMPLETE_PAUSED, "complete a copy without running it")
            stream = self._stream(member.id, source)
            if stream.target != target:
                raise PermanentError(f"{member.id} is being copied to {stream.target}, not to {target}")
            if self._world.copy_on(member.id, source).state is not RunState.PAUSED:
                raise PermanentError(f"{member.id} on {source}: it still runs; stop it before its rest is sent")
            if not stream.is_whole:
                stream.pace = math.inf
                await self._send(member.id, stream, None)
                self._complete(member.id, stream)
            return stream.copied

    async def resume(self, member: Member, host: HostId) -> float:
        """Run it, if all its state is there; one that runs already runs since it did."""
        async with self._world.call("hypervisor.resume", member.id, host):
            copy = self._world.copy_on(member.id, host)
            if copy.state is RunState.PAUSED:
                if copy.handed_over:
                    self._require(Capability.ABORT_AFTER_DRAIN, "run a source again that was handed over")
                    copy.handed_over = False
                self._world.run(member.id, host)
            if copy.state is not RunState.RUNNING or copy.resumed_at is None:
                raise PermanentError(f"{member.id} on {host}: it is {copy.state.value}, it cannot run")
            return copy.resumed_at

    async def abandon(self, member: Member, *, source: HostId) -> None:
        """Forget the copy under way; a target that has not got everything is of no use any more."""
        async with self._world.call("hypervisor.abandon", member.id, source):
            copy = self._world.copies.get((member.id, source))
            if copy is not None and copy.stream is not None and copy.stream.source == source:
                self._world.break_stream(member.id, copy.stream)

    async def remove(self, member: MemberId, host: HostId) -> None:
        """Take it away, and break the stream that it is an end of."""
        async with self._world.call("hypervisor.remove", member, host):
            self._world.require_host(host)
            copy = self._world.copies.pop((member, host), None)
            if copy is not None and copy.stream is not None:
                self._world.break_stream(member, copy.stream)

    async def migrate(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> Migrated:
        """One pass, and the rest with the member paused; then the target runs by itself."""
        async with self._world.call("hypervisor.migrate", member.id, source, target):
            self._require(Capability.MIGRATE, "migrate by itself")
            if not self._world.copy_on(member.id, target).autostart:
                raise PermanentError(f"{member.id} on {target}: prepared without autostart, it would never run")
            stream = self._begin(member, source=source, target=target)
            await self._pass(member.id, stream, progress)
            copy = self._world.copy_on(member.id, source)
            if copy.paused_at is None:
                self._world.pause(copy)
            await self._send(member.id, stream, progress)
            self._complete(member.id, stream)
            self._world.run(member.id, target)
            paused_at, resumed_at = copy.paused_at, self._world.copy_on(member.id, target).resumed_at
            assert paused_at is not None
            assert resumed_at is not None
            return Migrated(paused_at=paused_at, resumed_at=resumed_at, bytes=stream.copied)

    def _require(self, capability: Capability, what: str) -> None:
        if capability not in self._world.capabilities:
            raise UnsupportedError(f"{self.name} cannot {what}: it has no {capability.name}")

    def _put(self, member: Member, host: HostId, state: RunState) -> MemoryCopy:
        copy = MemoryCopy(state=state, memory=member.memory, dirty_rate=member.dirty_rate)
        self._world.copies[(member.id, host)] = copy
        return copy

    def _begin(self, member: Member, *, source: HostId, target: HostId) -> MemoryStream:
        sender, receiver = self._world.copy_on(member.id, source), self._world.copy_on(member.id, target)
        if sender.stream is not None:
            raise PermanentError(f"{member.id} on {source}: a copy is under way already")
        if sender.state is not RunState.RUNNING:
            raise PermanentError(f"{member.id} on {source}: it is {sender.state.value}, a copy needs it running")
        if receiver.state is not RunState.INCOMING or receiver.stream is not None:
            raise PermanentError(f"{member.id} on {target}: it is {receiver.state.value}, it does not wait for state")
        stream = MemoryStream(source, target, left=sender.memory, pass_began=self._world.now)
        sender.stream = receiver.stream = stream
        return stream

    def _stream(self, member: MemberId, source: HostId) -> MemoryStream:
        stream = self._world.copy_on(member, source).stream
        if stream is None or stream.source != source:
            raise PermanentError(f"{member} on {source}: no copy is under way")
        return stream

    async def _pass(
        self, member: MemberId, stream: MemoryStream, progress: ProgressCallback | None, *, pace: float = math.inf
    ) -> CopyRound:
        stream.held, stream.pace = False, pace
        began, stream.pass_began = stream.pass_began, self._world.now
        if stream.passes:
            stream.left += self._dirtied(member, stream, since=began)
        await self._send(member, stream, progress)
        stream.passes += 1
        stream.left = self._dirtied(member, stream, since=stream.pass_began)
        stream.held = True
        copy = self._world.copy_on(member, stream.source)
        if stream.left == 0 and copy.state is RunState.RUNNING:
            # As a hypervisor does whose pass finds nothing left: the end of the migration has come.
            self._world.pause(copy)
        self._report(member, stream, progress)
        return CopyRound(left=stream.left, stopped_at=copy.paused_at)

    def _dirtied(self, member: MemberId, stream: MemoryStream, *, since: float) -> int:
        copy = self._world.copy_on(member, stream.source)
        if member in self._world.still or copy.state is not RunState.RUNNING:
            return 0
        rate = self._world.dirty_rates.get(member, copy.dirty_rate)
        return min(copy.memory, _PAGE + int(rate * (self._world.now - since)))

    async def _send(self, member: MemberId, stream: MemoryStream, progress: ProgressCallback | None) -> None:
        """All that is left. PermanentError if the stream breaks meanwhile."""
        while stream.left:
            await self._world.step()
            if self._world.copy_on(member, stream.source).stream is not stream:
                raise PermanentError(f"{member}: its copy from {stream.source} to {stream.target} was broken off")
            at_once = max(1, int(min(self._world.bytes_per_step, stream.pace * STEP_S)))
            sent = min(stream.left, at_once)
            stream.left, stream.copied = stream.left - sent, stream.copied + sent
            self._report(member, stream, progress)

    def _report(self, member: MemberId, stream: MemoryStream, progress: ProgressCallback | None) -> None:
        if progress is not None:
            progress(
                CopyProgress(
                    member=member,
                    copied=stream.copied,
                    left=stream.left,
                    rate=0.0 if stream.held else self._world.bytes_per_step * 8 / STEP_S,
                    passes=stream.passes,
                    held=stream.held,
                )
            )

    def _complete(self, member: MemberId, stream: MemoryStream) -> None:
        stream.is_whole = True
        self._world.copy_on(member, stream.source).handed_over = True
        self._world.pause(self._world.copy_on(member, stream.target))

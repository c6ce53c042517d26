"""The hypervisors of all hosts of the simulated world, as one process sees them."""

import asyncio
from pathlib import Path

from entourage.model.ids import HostId, MemberId
from entourage.model.world import Member
from entourage.ports.errors import PermanentError, UnsupportedError
from entourage.ports.hypervisor import Capability, CopyRound, Migrated, ProgressCallback, PromisedThread, RunState
from entourage.twin.parts import Copy, Stream
from entourage.twin.streams import Streams
from entourage.twin.world import Client, World

_LACKS = {Capability.MIGRATE, Capability.MIRROR_DISK, Capability.ENCRYPTED, Capability.REALTIME}
_CAPABILITIES = frozenset(Capability) - _LACKS


class TwinHypervisor:
    """`entourage.ports.hypervisor.Hypervisor`. A process's streams end with it, as QEMU's do whose gate it holds."""

    name = "twin"

    def __init__(self, world: World, streams: Streams, client: Client) -> None:
        self._world = world
        self._streams = streams
        self._client = client

    def capabilities(self) -> frozenset[Capability]:
        """All that the group switch needs."""
        return _CAPABILITIES

    async def look(self, member: MemberId, host: HostId) -> RunState:
        """What the world has there."""

        def effect() -> RunState:
            self._world.require_host(host)
            copy = self._world.copies.get((member, host))
            return RunState.ABSENT if copy is None else copy.state

        return await self._client.ask("look", f"{member} {host}", endpoint=_monitor(member, host), effect=effect)

    async def in_use(self, member: Member, host: HostId) -> int | None:
        """Nobody asks in a simulated world: plans are not made there."""
        return None

    async def create(self, member: Member, host: HostId, *, disk: Path | None = None) -> None:
        """Run it; PermanentError if a copy is there that does not run, UnsupportedError with a disk's content."""
        if disk is not None:
            raise UnsupportedError(f"this hypervisor cannot start {member.id} with a disk: it has none")

        def effect() -> None:
            known = self._known(member.id, host)
            if known is None:
                copy = self._put(member, host, RunState.PAUSED)
                self._world.run(copy, by=self._client.name)
            elif known.state is not RunState.RUNNING:
                raise PermanentError(f"{member.id} on {host}: a copy is there already, and it is {known.state.value}")

        await self._client.ask("create", f"{member.id} {host}", endpoint=_monitor(member.id, host), effect=effect)

    async def prepare(self, member: Member, host: HostId, *, autostart: bool = False) -> None:
        """First the process, then it listens: whoever dies between leaves one that does not."""
        if autostart:
            raise UnsupportedError("this hypervisor does not migrate by itself")

        def start() -> None:
            known = self._known(member.id, host)
            if known is None:
                self._put(member, host, RunState.INCOMING)
            elif known.state is not RunState.INCOMING:
                raise PermanentError(f"{member.id} on {host}: a copy is there already, and it is {known.state.value}")

        def listen() -> None:
            self._world.copy_on(member.id, host).is_listening = True

        at = _monitor(member.id, host)
        await self._client.ask("prepare", f"{member.id} {host}", endpoint=at, effect=start)
        await self._client.ask("listen", f"{member.id} {host}", endpoint=at, effect=listen)

    async def promises(self, host: HostId) -> dict[MemberId, list[PromisedThread]]:
        """None: it has no REALTIME."""
        return {}

    async def copy(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> CopyRound:
        """All memory once, then what was dirtied meanwhile is left."""

        def effect() -> Stream:
            sender, receiver = self._world.copy_on(member.id, source), self._world.copy_on(member.id, target)
            stream = self._streams.begin(self._client, sender, receiver)
            stream.progress = progress
            return stream

        at = _monitor(member.id, source)
        stream = await self._client.ask("copy", f"{member.id} {source}", endpoint=at, effect=effect)
        return await self._passed(stream)

    async def refresh(self, member: Member, *, source: HostId, pace: float) -> CopyRound:
        """What was dirtied since the last pass, at this pace."""
        if pace <= 0:
            raise PermanentError(f"{member.id} on {source}: at {pace:g} bytes/s a pass never ends")

        def effect() -> Stream:
            stream = self._stream(member.id, source)
            if stream.source.state is RunState.RUNNING:
                self._streams.next_pass(stream, pace=pace)
            return stream

        at = _monitor(member.id, source)
        stream = await self._client.ask("refresh", f"{member.id} {source}", endpoint=at, effect=effect)
        return await self._passed(stream)

    async def repace(self, member: Member, *, source: HostId, pace: float) -> None:
        """Another pace for the pass under way."""

        def effect() -> None:
            self._streams.repace(self._stream(member.id, source), pace)

        await self._client.ask("repace", f"{member.id} {source}", endpoint=_monitor(member.id, source), effect=effect)

    async def stopped(self, member: Member, *, source: HostId) -> float:
        """When it stands still; PermanentError if its copy is broken off before."""

        def effect() -> Stream:
            return self._stream(member.id, source)

        at = _monitor(member.id, source)
        stream = await self._client.ask("stopped", f"{member.id} {source}", endpoint=at, effect=effect)
        while stream.source.paused_at is None and not stream.is_broken:
            await self._wait(stream.stop_waiters)
        if stream.source.paused_at is None:
            raise PermanentError(f"{member.id} on {source}: its copy was broken off, it was not stopped")
        return stream.source.paused_at

    async def stop(self, member: Member, *, source: HostId) -> float:
        """Let it stand still; one that does stands still since it did."""

        def effect() -> float:
            copy = self._world.copy_on(member.id, source)
            if copy.state is RunState.RUNNING:
                self._world.pause(copy, by=self._client.name)
                self._streams.stopped(copy)
            if copy.state is not RunState.PAUSED or copy.paused_at is None:
                raise PermanentError(f"{member.id} on {source}: it is {copy.state.value}, it cannot be stopped")
            if copy.stream is not None:
                copy.stream.stopped_by_itself = False  # told to: it never runs again by itself
            return copy.paused_at

        at = _monitor(member.id, source)
        return await self._client.ask("stop", f"{member.id} {source}", endpoint=at, effect=effect)

    async def drain(self, member: Member, *, source: HostId, target: HostId) -> int:
        """The rest; the target is whole, and stands still."""

        def effect() -> Stream:
            stream = self._stream(member.id, source)
            if stream.target.host != target:
                raise PermanentError(f"{member.id} is being copied to {stream.target.host}, not to {target}")
            if stream.source.state is not RunState.PAUSED:
                raise PermanentError(f"{member.id} on {source}: it still runs; stop it before its rest is sent")
            self._streams.drain(stream)
            return stream

        at = _monitor(member.id, source)
        stream = await self._client.ask("drain", f"{member.id} {source}", endpoint=at, effect=effect)
        while not stream.is_whole and not stream.is_broken:
            await self._wait(stream.waiters)
        if not stream.is_whole:
            raise PermanentError(f"{member.id}: its copy from {source} to {target} was broken off")
        return int(stream.copied)

    async def resume(self, member: Member, host: HostId) -> float:
        """Run it, if all its state is there; one that runs already runs since it did."""

        def effect() -> float:
            copy = self._world.copy_on(member.id, host)
            if copy.state is RunState.PAUSED:
                self._world.run(copy, by=self._client.name)
            if copy.state is not RunState.RUNNING or copy.resumed_at is None:
                raise PermanentError(f"{member.id} on {host}: it is {copy.state.value}, it cannot run")
            return copy.resumed_at

        at = _monitor(member.id, host)
        return await self._client.ask("resume", f"{member.id} {host}", endpoint=at, effect=effect)

    async def abandon(self, member: Member, *, source: HostId) -> None:
        """Forget the copy under way; a target that has not got everything is of no use any more."""

        def effect() -> None:
            copy = self._world.copies.get((member.id, source))
            if copy is not None and copy.stream is not None and copy.stream.source is copy:
                self._streams.break_off(copy.stream, by=self._client.name)

        at = _monitor(member.id, source)
        await self._client.ask("abandon", f"{member.id} {source}", endpoint=at, effect=effect)

    async def remove(self, member: MemberId, host: HostId) -> None:
        """First the process, then its devices: whoever dies between leaves them."""

        def end() -> None:
            copy = self._known(member, host)
            if copy is not None:
                self._world.take(copy, by=self._client.name)
                if copy.stream is not None:
                    self._streams.break_off(copy.stream, by=self._client.name)

        def unplug() -> None:
            if (member, host) not in self._world.copies:
                self._world.devices.discard((member, host))

        at = _monitor(member, host)
        await self._client.ask("remove", f"{member} {host}", endpoint=at, effect=end)
        await self._client.ask("unplug", f"{member} {host}", endpoint=at, effect=unplug)

    async def migrate(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> Migrated:
        """Not here: what it does is not the switch's doing."""
        raise UnsupportedError("this hypervisor does not migrate by itself")

    def _known(self, member: MemberId, host: HostId) -> Copy | None:
        self._world.require_host(host)
        return self._world.copies.get((member, host))

    def _put(self, member: Member, host: HostId, state: RunState) -> Copy:
        copy = Copy(member=member.id, host=host, state=state, memory=member.memory, dirty_rate=member.dirty_rate)
        self._world.put(copy)
        return copy

    def _stream(self, member: MemberId, source: HostId) -> Stream:
        copy = self._world.copy_on(member, source)
        stream = copy.stream
        if stream is None or stream.source is not copy:
            raise PermanentError(f"{member} on {source}: no copy is under way")
        return stream

    async def _passed(self, stream: Stream) -> CopyRound:
        while stream.is_moving and not stream.is_broken:
            await self._wait(stream.waiters)
        if stream.is_broken:
            raise PermanentError(f"{stream.source.member}: its copy from {stream.source.host} was broken off")
        return CopyRound(left=int(stream.left), stopped_at=stream.source.paused_at)

    async def _wait(self, waiters: "list[asyncio.Future[None]]") -> None:
        if self._world.is_over:
            raise asyncio.CancelledError
        waiter: asyncio.Future[None] = self._world.loop.create_future()
        waiters.append(waiter)
        await waiter


def _monitor(member: MemberId, host: HostId) -> str:
    return f"{host} {member}"

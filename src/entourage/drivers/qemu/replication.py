"""Copies of members' disks on hosts of another site: `entourage.ports.replication.Replication` with dirty bitmaps.

A round, from the source's disk to a replica's next generation:

1. In the guest's QEMU, in one transaction: a new bitmap begins to note writes, and a job copies what the bitmap of the
   replica's generation has noted (or everything) to a file beside the disk. That is the disk at one moment, and all
   that the guest ever waits for: the file is local.
2. A process with QEMU's block layer sends the file to one on the target's host, over NBD, into a new image over the
   replica. It may take as long as it likes, hang or die: no guest's QEMU has to do with it.
3. The image is whole, is made durable, and a record makes it the replica's last generation; it is merged.
4. The bitmap of the generation before goes.

Both bitmaps are kept until then, and each has its generation's id in its name: so after a crash anywhere the record at
the target says which one goes on. Source: QEMU 10.0 manual, "Dirty Bitmaps and Incremental Backup".
"""

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from entourage.drivers.qemu import process as qemu
from entourage.drivers.qemu import tls
from entourage.drivers.qemu.blocks import STALLED_AFTER_S, BlockProcess, finish_job, give_up_job, open_image
from entourage.drivers.qemu.disk import NODE, STAGE, make_durable
from entourage.drivers.qemu.monitor import Monitor
from entourage.drivers.qemu.replica import ReplicaFiles, to_its_end
from entourage.model.ids import HostId, MemberId
from entourage.model.replication import Generation
from entourage.model.units import format_bytes
from entourage.model.world import Member
from entourage.ports.errors import DriverError, OutcomeUnknownError, PermanentError, TemporaryError
from entourage.ports.hypervisor import Hypervisor, RunState

FIRST_PORT, PORTS = 7300, 100  # where replicas are written
_BITMAP, _STAGED = "replica-", "replication-staged"
_SENDING, _MERGING, _REMOTE, _DISK, _ROUND = "send", "merge", "remote", "disk", "round"
_GREETING_S, _ANSWER_S = 2.0, 5.0
_SPARE_SPACE = 64 << 20  # bytes that a round leaves free on both file systems: members' disks are sparse
_CHUNK = 1 << 20  # bytes that a backup job reads and writes at once, at the most; it tells of no smaller steps
_AGAIN_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """The two ends of a round."""

    member: Member
    source: qemu.HostAccess
    target: qemu.HostAccess
    pace: float

    @property
    def delta(self) -> Path:
        """What is to be sent, beside the disk."""
        return qemu.instance_paths(self.source, self.member.id).sending / "delta"


class QemuReplication:
    """All hosts that run QEMU, as `machines` describes them. It needs no connection kept open, and none is."""

    def __init__(self, machines: qemu.Machines, hypervisor: Hypervisor, *, hosts: tuple[HostId, ...]) -> None:
        """`hypervisor` boots the members that are started from a replica."""
        self._machines = machines
        self._hypervisor = hypervisor
        self._hosts = hosts

    async def source(self, member: MemberId) -> HostId | None:
        """The only host whose QEMU says that the member runs."""
        running = []
        for host in self._hosts:
            if qemu.running_pid(self._paths(member, host)) is None:
                continue
            with suppress(DriverError, TimeoutError):
                async with asyncio.timeout(_ANSWER_S), self._monitor(member, host) as monitor:
                    if (await monitor.execute("query-status"))["status"] == "running":
                        running.append(host)
        return running[0] if len(running) == 1 else None

    def generation(self, member: MemberId, host: HostId) -> Generation | None:
        """What the record says."""
        return self._files(member, host).standing().generation

    async def round(self, member: Member, *, source: HostId, target: HostId, pace: float) -> Generation:
        """One round, as above."""
        began_at = time.time()
        sending, receiving = self._machines.access(source), self._machines.access(target)
        if (sending.identity is None) != (receiving.identity is None):
            raise PermanentError(f"{source} and {target}: one has a certificate and the other has none")
        link = _Link(member=member, source=sending, target=receiving, pace=pace)
        files = self._files(member.id, target)
        files.make_folder()
        async with files.locked():
            await BlockProcess(receiving, files.folder).end()  # of a round whose replicator is gone
            await self._settle(files, receiving)
            files.prepare(size=member.disk)
        before = files.standing().generation
        async with self._monitor(member.id, source) as monitor, self._sender(link) as sender:
            bitmaps = _Bitmaps(monitor)
            since = await bitmaps.begin(before)
            try:
                async with BlockProcess(receiving, files.folder) as receiver:
                    await self._connect(link, sender, receiver, files)
                    after = await self._take(link, sender, bitmaps, before=before, since=since)
                    sent = await self._send(link, sender, receiver)
                    generation = replace(after, began_at=began_at, valid_at=time.time(), bytes=sent)
                    async with files.locked():
                        try:
                            await to_its_end(partial(files.accept, generation))
                            await self._merge(files, receiver)
                        finally:
                            await receiver.end()  # before anybody else has the lock
            finally:
                # Which of both bitmaps goes on is what the record says now. A source that is gone has none.
                kept = files.standing().generation
                with suppress(DriverError, TimeoutError):
                    async with asyncio.timeout(_ANSWER_S):
                        await bitmaps.keep(None if kept is None else kept.id)
        return generation

    async def copy(self, member: MemberId, host: HostId, *, to: Path) -> Generation:
        """By reflink, where the file system can; without the holes else."""
        files = self._files(member, host)
        async with files.locked():
            await self._settle(files, self._machines.access(host))
            generation = files.standing().generation
            if generation is None:
                raise PermanentError(f"{member} on {host}: the replica has no valid generation yet")
            failure = await _copy_file(files.disk, to)
        if failure is not None:
            raise PermanentError(f"{member} on {host}: the replica cannot be copied: {failure}")
        return generation

    async def start(self, member: Member, host: HostId) -> Generation:
        """A copy of the replica becomes the member's disk."""
        state = await self._hypervisor.look(member.id, host)
        if state is not RunState.ABSENT:  # it has a disk already, and what is on that is not to be told from here
            raise PermanentError(f"{member.id} on {host}: a copy is there already, and it is {state.value}")
        to = self._paths(member.id, host).replica / "start"
        generation = await self.copy(member.id, host, to=to)
        try:
            await self._hypervisor.create(member, host, disk=to)
        finally:
            to.unlink(missing_ok=True)
        return generation

    async def forget(self, member: MemberId, source: HostId) -> None:
        """Nothing of it is left in the member's QEMU nor beside its disk."""
        paths = self._paths(member, source)
        await BlockProcess(self._machines.access(source), paths.sending).end()
        if qemu.running_pid(paths) is not None:
            async with self._monitor(member, source) as monitor:
                await _Bitmaps(monitor).keep(None)
        shutil.rmtree(paths.sending, ignore_errors=True)

    async def remove(self, member: MemberId, host: HostId) -> None:
        """Whoever writes there is ended first."""
        files = self._files(member, host)
        await BlockProcess(self._machines.access(host), files.folder).end()
        files.remove()

    async def _connect(self, link: _Link, sender: BlockProcess, receiver: BlockProcess, files: ReplicaFiles) -> None:
        """The way from the source into a new round at the target; before the disk is looked at, for it takes time."""
        await receiver.open_raw(_DISK, files.disk)
        await receiver.make(_ROUND, files.round, size=link.member.disk)
        await receiver.open_image(_ROUND, files.round, over=_DISK)
        server = await _export(receiver.monitor, link)
        options: dict[str, Any] = {"driver": "nbd", "node_name": _REMOTE, "export": _ROUND, "server": server}
        if link.source.identity is not None and link.target.identity is not None:
            directory = link.source.inside(link.source.identity.directory)
            options |= await tls.as_client(sender.monitor, directory, link.target.identity)
        await sender.monitor.execute("blockdev-add", **options)

    async def _take(
        self, link: _Link, sender: BlockProcess, bitmaps: "_Bitmaps", *, before: Generation | None, since: str | None
    ) -> Generation:
        """The disk as it is at one moment, or what has changed in it `since`, in `link.delta`."""
        source, target = (qemu.instance_paths(access, link.member.id) for access in (link.source, link.target))
        needed = await bitmaps.dirty(since)
        if needed is None:
            needed = source.disk.stat().st_blocks * 512
        _require_space(source.sending, needed)
        _require_space(target.replica, 2 * needed)  # as a round, and merged into the disk
        await sender.make(_STAGED, link.delta, size=link.member.disk)
        number = 1 if before is None else before.number + 1
        after = f"{number}-{secrets.token_hex(4)}"
        taken_at = await bitmaps.stage(link.source.inside(link.delta), since=since, after=after)
        return Generation(
            id=after,
            number=number,
            member=link.member.id,
            source=link.source.id,
            began_at=taken_at,
            taken_at=taken_at,
            valid_at=taken_at,
            bytes=0,
        )

    async def _send(self, link: _Link, sender: BlockProcess, receiver: BlockProcess) -> int:
        """From file to file; how many bytes. Returns when the round is closed at the target."""
        await sender.open_image(_STAGED, link.delta)
        # `top`: what is in the file, and not what it leaves out.
        wanted: dict[str, Any] = {"device": _STAGED, "target": _REMOTE, "sync": "top", "speed": int(link.pace)}
        await sender.monitor.execute("blockdev-backup", job_id=_SENDING, auto_dismiss=False, **wanted)
        sent = await finish_job(sender.monitor, _SENDING, stalled_after_s=STALLED_AFTER_S + 2 * _CHUNK / link.pace)
        await sender.close(_REMOTE)  # flushes
        await receiver.monitor.execute("nbd-server-stop")
        await receiver.close(_ROUND)
        await receiver.close(_DISK)
        return sent

    async def _settle(self, files: ReplicaFiles, access: qemu.HostAccess) -> None:
        """Merge what whoever made it valid has not merged. Holding the lock."""
        if files.standing().is_to_be_merged:
            async with BlockProcess(access, files.folder) as process:
                await self._merge(files, process)

    async def _merge(self, files: ReplicaFiles, process: BlockProcess) -> None:
        """What is in the round becomes a part of the disk. Holding the lock."""
        await process.open_raw(_DISK, files.disk)
        await process.open_image(_ROUND, files.round, over=_DISK)
        await process.monitor.execute("block-commit", job_id=_MERGING, device=_ROUND, auto_dismiss=False)
        await finish_job(process.monitor, _MERGING)
        await process.close(_ROUND)
        await process.close(_DISK)
        await to_its_end(files.merged)

    @asynccontextmanager
    async def _sender(self, link: _Link) -> AsyncIterator[BlockProcess]:
        """The process at the source, and its folder as long as it is needed."""
        folder = link.delta.parent
        folder.mkdir(exist_ok=True)
        try:
            async with BlockProcess(link.source, folder) as process:
                yield process
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @asynccontextmanager
    async def _monitor(self, member: MemberId, host: HostId) -> AsyncIterator[Monitor]:
        """The member's monitor that is replication's own."""
        monitor = Monitor(name=f"{member}@{host}", socket=self._paths(member, host).replication_monitor)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(monitor.close)
            try:
                async with asyncio.timeout(_GREETING_S):
                    await monitor.connect()
            except (ConnectionError, TimeoutError) as error:
                raise OutcomeUnknownError(f"{member} on {host}: its QEMU does not answer: {error}") from error
            yield monitor

    def _paths(self, member: MemberId, host: HostId) -> qemu.InstancePaths:
        return qemu.instance_paths(self._machines.access(host), member)

    def _files(self, member: MemberId, host: HostId) -> ReplicaFiles:
        return ReplicaFiles(self._paths(member, host).replica)


class _Bitmaps:
    """What a member's QEMU notes of the writes to its disk, for which generations."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    async def begin(self, before: Generation | None) -> str | None:
        """End what another round has left; the id of the generation from which this one can go on, if it can."""
        known = None if before is None else before.id
        await self.keep(known)
        return known if known in await self._found() else None

    async def dirty(self, since: str | None) -> int | None:
        """How many bytes were written since; None for the whole disk."""
        return None if since is None else (await self._found())[since]

    async def stage(self, inside: str, *, since: str | None, after: str) -> float:
        """Copy the disk, or what was written `since`, to the image there, and note what is written `after`."""
        await open_image(self._monitor, _STAGED, inside)
        what = {"sync": "full"}
        if since is not None:  # `never`: whether the bitmap has done its work is not known before the round is over
            what = {"sync": "bitmap", "bitmap-mode": "never", "bitmap": _BITMAP + since}
        taken_at = time.time()  # not later than the moment itself
        backup = {"job-id": STAGE, "device": NODE, "target": _STAGED, "auto-dismiss": False, **what}
        actions = [
            {"type": "block-dirty-bitmap-add", "data": {"node": NODE, "name": _BITMAP + after}},
            {"type": "blockdev-backup", "data": backup},
        ]
        await self._monitor.execute("transaction", actions=actions)
        await finish_job(self._monitor, STAGE)
        await self._monitor.execute("blockdev-del", node_name=_STAGED)
        return taken_at

    async def keep(self, generation: str | None) -> None:
        """End what is under way, and note writes for that generation only."""
        await give_up_job(self._monitor, STAGE)
        with suppress(PermanentError):  # there is none
            await self._monitor.execute("blockdev-del", node_name=_STAGED)
        for other in (await self._found()).keys() - {generation}:
            await self._monitor.execute("block-dirty-bitmap-remove", node=NODE, name=_BITMAP + other)

    async def _found(self) -> Mapping[str, int]:
        """The ids of the generations since which writes are noted, and how many bytes have been written."""
        nodes: list[Mapping[str, Any]] = await self._monitor.execute("query-named-block-nodes", flat=True)
        noted = [each for node in nodes if node["node-name"] == NODE for each in node.get("dirty-bitmaps", ())]
        return {
            each["name"].removeprefix(_BITMAP): int(each["count"])
            for each in noted
            if each.get("name", "").startswith(_BITMAP)
        }


async def _copy_file(source: Path, to: Path) -> str | None:
    """Durably; what went wrong, and then nothing is at `to`."""
    command = ("cp", "--reflink=auto", "--sparse=always", "--", str(source), str(to))
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        _, said = await process.communicate()
        if process.returncode == 0:
            await asyncio.to_thread(make_durable, to)
            return None
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await asyncio.to_thread(to.unlink, missing_ok=True)
        raise
    await asyncio.to_thread(to.unlink, missing_ok=True)
    return said.decode(errors="replace").strip()


def _require_space(folder: Path, needed: int) -> None:
    """TemporaryError without room for so many bytes; a guest's writes fail if the copy that they wait for has none."""
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_SPACE:
        room = f"{format_bytes(needed + _SPARE_SPACE)} needed, {format_bytes(free)} free"
        raise TemporaryError(f"no room in {folder} for a round: {room}", delay=_AGAIN_AFTER_S)


async def _export(monitor: Monitor, link: _Link) -> dict[str, Any]:
    """At the target: let the round be written by the source's host; where."""
    encryption: Mapping[str, str] = {}
    if link.target.identity is not None and link.source.identity is not None:
        await tls.serve(monitor, link.target.inside(link.target.identity.directory), link.source.identity)
        encryption = tls.OF_EXPORT
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        at = {"host": link.target.address, "port": str(port)}
        try:
            await monitor.execute("nbd-server-start", addr={"type": "inet", "data": at}, **encryption)
        except PermanentError:
            continue
        wanted: dict[str, Any] = {"id": _ROUND, "node_name": _ROUND, "name": _ROUND, "writable": True}
        await monitor.execute("block-export-add", type="nbd", **wanted)
        return {"type": "inet", **at}
    raise PermanentError(f"{link.target.id}: no free port between {FIRST_PORT} and {FIRST_PORT + PORTS - 1}")

"""The QEMU driver: `entourage.ports.hypervisor.Hypervisor` over QMP.

The stream of a held copy passes a gate (see `gate`); everything else is QEMU's own. Source: QEMU 7.2 manual,
"QMP reference", and migration/migration.c and migration/ram.c of that version for when passes begin and end.
"""

import asyncio
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from entourage.drivers.qemu import disk, promises, sampling, tls
from entourage.drivers.qemu import process as qemu
from entourage.drivers.qemu.cancelling import break_streams, wait_ended
from entourage.drivers.qemu.connecting import connect_from, introduce
from entourage.drivers.qemu.copying import Copying
from entourage.drivers.qemu.gate import StreamGate
from entourage.drivers.qemu.monitor import GONE, Monitor, MonitorEvent, cut_off
from entourage.drivers.qemu.proxy import ExportProxy
from entourage.model.ids import HostId, MemberId
from entourage.model.realtime import Promise
from entourage.model.world import Member
from entourage.ports.errors import DriverError, OutcomeUnknownError, PermanentError
from entourage.ports.hypervisor import Capability, CopyRound, Migrated, ProgressCallback, PromisedThread, RunState

FIRST_PORT, PORTS = 7100, 100  # where migration streams arrive
_UNLIMITED = 1 << 40  # bytes/s: the link is the limit, not QEMU
# A pass whose rest would take QEMU less than this ends the migration. Held copies: as little as can be said.
_HELD_DOWNTIME_MS = 1
_STOPPED_DOWNTIME_MS = 2_000_000  # the most that QEMU takes
_OWN_DOWNTIME_MS = 300  # QEMU's default
_XBZRLE_CACHE = 64 << 20
# bytes/s at the most while copying, 1 Gbit/s: what flows in the moment in which the gate closes must be less than what
# the member has dirtied in a pass, or the copy is not held but comes to its end.
_COPY_PACE = 125e6
_DISK_PACE = 12_500_000  # bytes/s, 100 Mbit/s: half of a small link, the members go on serving meanwhile
_MONITOR_DEADLINE_S = 20.0
_CANCEL_S = 0.5  # QEMU answers within some ms, unless it hangs in a stream that nobody reads
_EVENT_DEADLINE_S = 5.0
_GREETING_S = 2.0

_RUN_STATES = {
    "running": RunState.RUNNING,
    "paused": RunState.PAUSED,
    "postmigrate": RunState.PAUSED,
    "finish-migrate": RunState.PAUSED,
    "prelaunch": RunState.PAUSED,
    "inmigrate": RunState.INCOMING,
}


@dataclass(slots=True)
class _Instance:
    """A copy of a member on one host that we are connected to."""

    monitor: Monitor
    port: int | None = None
    disk_port: int | None = None
    copying: Copying | None = None
    resumed_at: float | None = None
    stopped_at: float | None = None
    is_gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    child: subprocess.Popen[bytes] | None = field(default=None)


class QemuHypervisor:
    """All hosts that run QEMU, as `machines` describes them."""

    name = "qemu"

    def __init__(self, machines: qemu.Machines, *, accel: str, only_look: bool = False) -> None:
        """`accel` is "kvm" or "tcg": what a probe guest was seen to boot under.

        A monitor has one client at a time: with `only_look` the spare ones are used, beside a process that acts.
        """
        self._machines = machines
        self._accel = accel
        self._only_look = only_look
        self._instances: dict[tuple[MemberId, HostId], _Instance] = {}
        self._promising: dict[HostId, asyncio.Lock] = {}

    def capabilities(self) -> frozenset[Capability]:
        """All that the port knows of."""
        return frozenset(Capability) - (set() if self._machines.is_encrypted else {Capability.ENCRYPTED})

    async def close(self) -> None:
        """Let go of all monitors; the virtual machines go on."""
        for instance in self._instances.values():
            if instance.copying is not None:
                await instance.copying.release()
            await instance.monitor.close()
        self._instances.clear()

    async def look(self, member: MemberId, host: HostId) -> RunState:
        """What QEMU's process and its monitor say."""
        paths = qemu.instance_paths(self._machines.access(host), member)
        if qemu.running_pid(paths) is None:
            return RunState.ABSENT
        try:
            instance = await self._instance(member, host)
            status = (await instance.monitor.execute("query-status"))["status"]
        except DriverError:
            return RunState.ABSENT if qemu.running_pid(paths) is None else RunState.FAILED
        return _RUN_STATES.get(status, RunState.FAILED)

    async def in_use(self, member: Member, host: HostId) -> int | None:
        """From a sample of its pages."""
        return await asyncio.to_thread(sampling.in_use, self._machines.access(host), member)

    async def create(self, member: Member, host: HostId, *, disk: Path | None = None) -> None:
        """Boot a new instance. The file `disk` has to be on the file system that the host's files are on."""
        state = await self.look(member.id, host)
        if state is RunState.RUNNING:
            return
        if state is not RunState.ABSENT:
            raise PermanentError(f"{member.id} on {host}: a copy is there already, and it is {state.value}")
        await self._start(member, host, incoming=None, content=disk)

    async def prepare(self, member: Member, host: HostId, *, autostart: bool = False) -> None:
        """Start a QEMU that waits for the member's state. With `autostart` it runs as soon as it is complete."""
        state = await self.look(member.id, host)
        if state is RunState.INCOMING:
            return
        if state is not RunState.ABSENT:
            raise PermanentError(f"{member.id} on {host}: a copy is there already, and it is {state.value}")
        instance = await self._start(member, host, incoming="defer" if autostart else "defer-paused", content=None)
        await self._enable(instance.monitor)
        access = self._machines.access(host)
        address = access.address
        if access.identity is not None:
            await tls.expect(instance.monitor, access.inside(access.identity.directory))
        if member.disk:
            encryption = {} if access.identity is None else tls.OF_EXPORT
            instance.disk_port = await disk.export(instance.monitor, address=address, encryption=encryption)
        uri = f"tcp:{address}:{FIRST_PORT},to={FIRST_PORT + PORTS - 1}"
        await instance.monitor.execute("migrate-incoming", uri=uri)
        instance.port = int((await instance.monitor.execute("query-migrate"))["socket-address"][0]["port"])

    async def promises(self, host: HostId) -> dict[MemberId, list[PromisedThread]]:
        """What the files of the copies there and the kernel say."""
        looked = await asyncio.to_thread(promises.look, self._machines.access(host))
        return {member: [thread.told() for thread in threads] for member, threads in looked.items()}

    async def copy(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> CopyRound:
        """Start pre-copy through a gate and hold it when the first pass is over."""
        copying = await self._begin(member, source=source, target=target, downtime_ms=_HELD_DOWNTIME_MS)
        monitor = (await self._instance(member.id, source)).monitor
        port = (await self._instance(member.id, target)).port
        assert port is not None
        # Before the stream is connected: with TLS the target's QEMU answers nobody from then on until it flows.
        await self._mirror(copying)
        connection = await connect_from(self._machines.access(source), (self._machines.access(target).address, port))
        gate = await asyncio.to_thread(StreamGate, connection, name=member.id)
        copying.gate = gate
        await monitor.send_fd(gate.qemu_end.fileno(), name=f"gate-{member.id}")
        gate.qemu_has_it()
        shown = asyncio.create_task(copying.show_progress(monitor, progress))
        try:
            gate.open(pace=_COPY_PACE)
            await monitor.execute("migrate", uri=f"fd:gate-{member.id}")
            held = await copying.next_pass(monitor, pace=_COPY_PACE)
        finally:
            shown.cancel()
        ram = (await monitor.execute("query-migrate")).get("ram", {})
        progress(copying.progress(ram, rate=0.0))
        return held

    async def refresh(self, member: Member, *, source: HostId, pace: float) -> CopyRound:
        """One more pass, paced by the gate."""
        instance = await self._instance(member.id, source)
        copying = self._copying(instance, member.id)
        # Not before: held for as long as somebody likes, it would starve the guest.
        self._favour_once(member.id, copying)
        return await copying.next_pass(instance.monitor, pace=pace)

    async def repace(self, member: Member, *, source: HostId, pace: float) -> None:
        """Another pace for the gate, if it is open."""
        instance = await self._instance(member.id, source)
        self._copying(instance, member.id).repace(pace)

    async def stopped(self, member: Member, *, source: HostId) -> float:
        """The time of the source's STOP event, when it comes."""
        return await self._copying(await self._instance(member.id, source), member.id).wait_stopped()

    async def stop(self, member: Member, *, source: HostId) -> float:
        """QMP `stop`; its STOP event carries the time."""
        instance = await self._instance(member.id, source)
        if instance.stopped_at is None:
            if instance.copying is not None:
                instance.copying.is_told_to_stop = True
                self._favour_once(member.id, instance.copying)
            # Now that it stands still its next pass may be the last, whatever is left; asked for in the same breath.
            last = instance.monitor.execute("migrate-set-parameters", downtime_limit=_STOPPED_DOWNTIME_MS)
            await asyncio.gather(instance.monitor.execute("stop"), last)
        return await self._event_time(instance, "stopped_at")

    async def drain(self, member: Member, *, source: HostId, target: HostId) -> int:
        """Open the gate for the rest, and wait for both ends to say `completed`."""
        instance = await self._instance(member.id, source)
        copying = self._copying(instance, member.id)
        assert copying.gate is not None
        copying.gate.open()
        await self._switch_disk(copying)
        await asyncio.gather(copying.wait_received(), self._make_durable(copying))
        return copying.gate.bytes_sent

    async def resume(self, member: Member, host: HostId) -> float:
        """QMP `cont`, then `announce-self`, so that switches learn where the member is."""
        instance = await self._instance(member.id, host)
        # `cont` to a target that still receives would let it run as soon as it is whole: nobody would be asked again.
        is_whole = instance.copying is not None and instance.copying.is_received
        state = RunState.PAUSED if is_whole else await self.look(member.id, host)
        if state is RunState.INCOMING:
            raise PermanentError(f"{member.id} on {host}: its state has not arrived whole, it cannot run")
        if state is RunState.RUNNING and instance.resumed_at is None:
            instance.resumed_at = time.time()  # it ran before we were connected: nobody told us since when
        access = self._machines.access(host)
        with suppress(PermanentError):  # users first
            promises.wake(access, member.id)
        with promises.hurried(access, member.id):
            await instance.monitor.execute("cont")
        resumed_at = await self._event_time(instance, "resumed_at")
        if instance.copying is not None:
            # Not longer than needed: its main thread also carries the guest's packets, and would starve the guest.
            self._favour(member.id, instance.copying.source, instance.copying.target, yes=False)
        await instance.monitor.execute("announce-self", initial=20, max=200, rounds=4, step=60)
        return resumed_at

    async def abandon(self, member: Member, *, source: HostId) -> None:
        """`migrate_cancel`, and break the stream."""
        try:
            instance = await self._instance(member.id, source)
        except PermanentError:
            return  # there is no copy of it
        copying = instance.copying
        if copying is None:
            await self._abandon_unknown(instance, member.id, source)
            return
        if copying.gate is not None and copying.stopped_at is not None:
            copying.gate.open()  # behind a closed one QEMU may not answer, see `Copying.on_source_event`
        cancelling = asyncio.create_task(instance.monitor.execute("migrate_cancel"))
        await asyncio.wait({cancelling}, timeout=_CANCEL_S)
        await copying.release()  # whether it has answered or not: now it will
        with suppress(DriverError, TimeoutError):
            # Its answer also says that a stop has been carried out that was sent before it: none comes through later.
            await asyncio.wait_for(cancelling, _MONITOR_DEADLINE_S)
        if copying.mirror is not None:
            await disk.give_up_any(instance.monitor)
        with suppress(DriverError, TimeoutError):
            await asyncio.wait_for(wait_ended(instance.monitor.execute), _MONITOR_DEADLINE_S)
        self._favour(member.id, copying.source, copying.target, yes=False)
        instance.copying = None

    async def _abandon_unknown(self, instance: _Instance, member: MemberId, source: HostId) -> None:
        """End a migration that we know nothing of: whoever began it is gone, or stands still."""
        self._favour(member, source, yes=False)
        await break_streams(instance.monitor.execute_out_of_band)
        await instance.monitor.execute("migrate_cancel")
        await disk.give_up_any(instance.monitor)
        await asyncio.wait_for(wait_ended(instance.monitor.execute), _MONITOR_DEADLINE_S)

    async def remove(self, member: MemberId, host: HostId) -> None:
        """Kill the process, then remove its devices and files."""
        instance = self._instances.pop((member, host), None)
        if instance is not None:
            if instance.copying is not None:
                self._favour(member, instance.copying.source, instance.copying.target, yes=False)
                await instance.copying.release()
            await instance.monitor.close()
        paths = qemu.instance_paths(self._machines.access(host), member)
        pid = qemu.running_pid(paths)
        if pid is not None:
            await qemu.end(pid)
        if instance is not None and instance.child is not None:
            await asyncio.to_thread(instance.child.wait)
        await self._machines.unplug(member, host)
        paths.remove()

    async def migrate(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> Migrated:
        """QEMU's own migration over TCP, with its default downtime limit."""
        copying = await self._begin(member, source=source, target=target, downtime_ms=_OWN_DOWNTIME_MS)
        monitor = (await self._instance(member.id, source)).monitor
        port = (await self._instance(member.id, target)).port
        await self._mirror(copying)
        promises.wake(self._machines.access(target), member.id)
        shown = asyncio.create_task(copying.show_progress(monitor, progress))
        try:
            await monitor.execute("migrate", uri=f"tcp:{self._machines.access(target).address}:{port}")
            await self._switch_disk(copying)
            (paused_at, resumed_at), _ = await asyncio.gather(copying.wait_migrated(), self._make_durable(copying))
        finally:
            shown.cancel()
        ram = (await monitor.execute("query-migrate")).get("ram", {})
        return Migrated(paused_at=paused_at, resumed_at=resumed_at, bytes=int(ram.get("transferred", 0)))

    async def _begin(self, member: Member, *, source: HostId, target: HostId, downtime_ms: int) -> Copying:
        """Tie both ends' events to a new copy, and set the source's parameters."""
        copying = Copying(member, source=source, target=target)
        at_source = await self._instance(member.id, source)
        at_target = await self._instance(member.id, target)
        if at_source.copying is not None and not at_source.copying.is_over():
            raise PermanentError(f"{member.id} on {source}: a copy is under way already")
        sending, receiving = self._machines.access(source), self._machines.access(target)
        await introduce(at_source.monitor, sending, at_target.monitor, receiving)
        at_source.copying = at_target.copying = copying
        copying.hastening = promises.hasten(sending, member.id)
        await self._enable(at_source.monitor, keeps_disk=bool(member.disk))
        await at_source.monitor.execute(
            "migrate-set-parameters",
            max_bandwidth=_UNLIMITED,
            downtime_limit=downtime_ms,
            xbzrle_cache_size=_XBZRLE_CACHE,
        )
        return copying

    def _favour_once(self, member: MemberId, copying: Copying) -> None:
        if not copying.is_favoured:  # to look for the processes takes time that the stop of all has not
            copying.is_favoured = True
            promises.wake(self._machines.access(copying.target), member)
            self._favour(member, copying.source, copying.target, yes=True)

    def _favour(self, member: MemberId, *hosts: HostId, yes: bool) -> None:
        """Favour the main threads of the member's QEMUs on these hosts; or no longer."""
        for host in hosts:
            qemu.favour(qemu.instance_paths(self._machines.access(host), member), yes=yes)

    async def _mirror(self, copying: Copying) -> None:
        """Bring the target's disk to what the source's is, and keep it so; nothing for a member without a disk."""
        target = await self._instance(copying.member.id, copying.target)
        if target.disk_port is None:
            return
        sending, receiving = self._machines.access(copying.source), self._machines.access(copying.target)
        try:
            encryption = None if sending.identity is None else tls.context(sending.identity)
        except OSError as error:
            raise PermanentError(f"{copying.source} has no usable certificate: {error}") from error
        connection = await connect_from(sending, (receiving.address, target.disk_port))
        server = copying.target if receiving.identity is None else receiving.identity.name
        proxy = await ExportProxy.connect(connection, export=disk.NODE, encryption=encryption, server=server)
        copying.proxy = proxy
        path = qemu.instance_paths(sending, copying.member.id).mirror
        await proxy.listen(path)
        copying.mirror = disk.Mirror((await self._instance(copying.member.id, copying.source)).monitor)
        try:
            await copying.mirror.begin(sending.inside(path), pace=_DISK_PACE)
        except PermanentError as error:
            if proxy.failure is None:
                raise
            raise PermanentError(f"{error}; {proxy.failure}") from error

    async def _switch_disk(self, copying: Copying) -> None:
        """The member stands still: first all of its disk, then nobody else writes there, then the memory's rest."""
        if copying.mirror is None:
            return
        assert copying.proxy is not None
        source = (await self._instance(copying.member.id, copying.source)).monitor
        target = (await self._instance(copying.member.id, copying.target)).monitor
        steps = (
            copying.wait_stopped,  # from then on it writes nothing; meanwhile the memory's last pass flows
            copying.mirror.finish,
            copying.proxy.has_arrived,
            partial(disk.close_export, target),
            copying.wait_switchover,
            partial(source.execute, "migrate-continue", state="pre-switchover"),
        )
        for step in steps[copying.disk_steps :]:  # asked for twice, it goes on where it was
            await step()
            copying.disk_steps += 1

    async def _make_durable(self, copying: Copying) -> None:
        if copying.mirror is not None:
            path = qemu.instance_paths(self._machines.access(copying.target), copying.member.id).disk
            await asyncio.to_thread(disk.make_durable, path)

    async def _enable(self, monitor: Monitor, *, keeps_disk: bool = False) -> None:
        wanted = [{"capability": name, "state": True} for name in ("events", "xbzrle")]
        # The disk has to be whole at the target before the source lets go of it.
        wanted.append({"capability": "pause-before-switchover", "state": keeps_disk})
        await monitor.execute("migrate-set-capabilities", capabilities=wanted)

    async def _start(self, member: Member, host: HostId, *, incoming: str | None, content: Path | None) -> _Instance:
        access = self._machines.access(host)
        paths = qemu.instance_paths(access, member.id)
        taps = await self._machines.plug(member, host)
        arguments = qemu.command_line(
            member,
            access=access,
            boot=self._machines.boot(member),
            taps=taps,
            accel=self._accel,
            incoming="defer" if incoming else None,
        )
        if incoming == "defer-paused":
            arguments.append("-S")
        child = await asyncio.to_thread(qemu.start, arguments, access=access, paths=paths, disk=content or member.disk)
        deadline = asyncio.get_running_loop().time() + _MONITOR_DEADLINE_S
        while True:
            try:
                instance = await self._instance(member.id, host)
            except DriverError as error:
                if child.poll() is not None or asyncio.get_running_loop().time() > deadline:
                    words = qemu.last_words(paths)
                    await self.remove(member.id, host)
                    raise PermanentError(f"{member.id} on {host}: QEMU did not start: {words}") from error
                await asyncio.sleep(0.02)
            else:
                instance.child = child
                break
        if member.realtime is not None:
            await self._promise(member.id, member.realtime, host)
        return instance

    async def _promise(self, member: MemberId, promise: Promise, host: HostId) -> None:
        """See that it can be applied, one after another on each host; without, there is no copy of the member."""
        try:
            async with self._promising.setdefault(host, asyncio.Lock()):
                await asyncio.to_thread(promises.promise, self._machines.access(host), member, promise)
                promises.rest(self._machines.access(host), member)
        except PermanentError:
            await self.remove(member, host)
            raise

    async def _instance(self, member: MemberId, host: HostId) -> _Instance:
        """The connection to the copy on the host, made now if there is none that lives."""
        known = self._instances.get((member, host))
        if known is not None and not known.is_gone:
            return known
        paths = qemu.instance_paths(self._machines.access(host), member)
        try:
            monitor = await self._open_monitor(member, host, paths)
        except ConnectionError as error:
            if qemu.running_pid(paths) is None:
                raise PermanentError(f"{member} on {host}: there is no copy of it") from error
            raise OutcomeUnknownError(f"{member} on {host}: its QEMU runs and does not answer: {error}") from error
        instance = _Instance(monitor=monitor)
        self._instances[(member, host)] = instance
        return instance

    async def _open_monitor(self, member: MemberId, host: HostId, paths: qemu.InstancePaths) -> Monitor:
        """A monitor has one client at a time, and one process may act: another that has it still is cut off."""
        wanted = paths.spare_monitor if self._only_look else paths.monitor
        for last in (False, True):
            monitor = Monitor(
                name=f"{member}@{host}", socket=wanted, on_event=lambda event: self._on_event(member, host, event)
            )
            try:
                async with asyncio.timeout(_GREETING_S):
                    await monitor.connect()
            except TimeoutError:
                await monitor.close()
                if last or self._only_look:
                    break
                await cut_off(qemu.ACTING_MONITOR, by=paths.spare_monitor)
            else:
                return monitor
        raise ConnectionError(f"{member}@{host}: no greeting at {wanted} within {_GREETING_S:g} s")

    def _on_event(self, member: MemberId, host: HostId, event: MonitorEvent) -> None:
        instance = self._instances.get((member, host))
        if instance is None:
            return
        if event.name == "STOP":
            instance.stopped_at, instance.resumed_at = event.at, None
        elif event.name == "RESUME":
            instance.resumed_at, instance.stopped_at = event.at, None
        elif event.name == GONE:
            instance.is_gone = True
        instance.changed.set()
        if instance.copying is not None:
            if host == instance.copying.source:
                instance.copying.on_source_event(event)
            else:
                instance.copying.on_target_event(event)

    async def _event_time(self, instance: _Instance, name: Literal["stopped_at", "resumed_at"]) -> float:
        """The time of the STOP or RESUME event that QEMU sent with its answer."""
        try:
            async with asyncio.timeout(_EVENT_DEADLINE_S):
                while (at := getattr(instance, name)) is None:
                    instance.changed.clear()
                    await instance.changed.wait()
        except TimeoutError as error:
            raise OutcomeUnknownError(f"{instance.monitor.name}: QEMU answered, but its event did not come") from error
        return float(at)

    def _copying(self, instance: _Instance, member: MemberId) -> Copying:
        if instance.copying is None:
            raise PermanentError(f"{member}: no copy is under way")
        return instance.copying

"""What fences a site, with what the site has itself: QEMU's monitors, process ids, and its edge's bgpd.

A member that runs is paused by its monitor, or frozen (SIGSTOP) if that does not answer at once. What was paused and
announced is kept in a file, so that just that runs and is announced again when the site has its right again: others
that stand still do so for a move, which looks after them. Every effect can be asked for again and again, and is: a
guard or an orchestrator that does not know may run a member while the site is fenced.
"""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from entourage.drivers.netns import Kernel, Namespace
from entourage.drivers.qemu.kept import put_aside
from entourage.drivers.qemu.monitor import Monitor, MonitorEvent
from entourage.drivers.qemu.process import InstancePaths, end, running_pid
from entourage.drivers.quorum.config import HostFiles, SiteFiles
from entourage.drivers.vty import Vty
from entourage.model.ids import ServiceId
from entourage.ports.errors import DriverError

_ANSWER_WITHIN_S = 0.25  # of what `Terms.to_fence` leaves
_ANNOUNCED = re.compile(r"\s*network (\S+)(?: route-map \S+)?\s*")


class SiteFence:
    """One site's fence. `memory` is the file of what it has paused and withdrawn.

    A monitor that has not answered after `patience` seconds is not waited for.
    """

    def __init__(self, site: SiteFiles, *, memory: Path, patience: float = _ANSWER_WITHIN_S) -> None:
        self._site = site
        self._memory = memory
        self._patience = patience
        self._vty = None if site.vty is None else Vty(site.vty)
        self._monitors: dict[Path, Monitor] = {}
        self._paused, self._frozen, self._withdrawn = self._recall()
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Let go of all monitors; whatever stands still goes on standing still."""
        for task in self._tasks:
            task.cancel()
        monitors, self._monitors = self._monitors, {}
        await asyncio.gather(*(monitor.close() for monitor in monitors.values()))
        if self._vty is not None:
            await self._vty.close()

    async def fence(self) -> None:
        """Nothing runs here and nothing is announced, when this returns."""
        await asyncio.gather(*(self._pause(base, pid) for base, pid in self._running()))
        self._remember()
        await self._withdraw()

    async def release(self) -> None:
        """What was paused and withdrawn here runs and is announced again. DriverError or OSError if not."""
        for base in sorted(self._frozen):
            pid = running_pid(InstancePaths(base))
            if pid is not None:
                os.kill(pid, signal.SIGCONT)
        await asyncio.gather(*(self._go_on(base) for base in self._paused))
        await self._announce()
        self._paused, self._frozen, self._withdrawn = set(), set(), set()
        self._remember()
        await self.close()

    async def remove(self, services: Collection[ServiceId], *, epoch: int) -> None:
        """Every copy of these services' members is gone, with its devices and files; they are not announced again.

        Only its disk is not: it is put aside (`kept`), for it may have what no replica has. `epoch` is the takeover's.
        All else is as it was. May be asked for again, whatever came in between. DriverError or OSError if something
        cannot be removed; ValueError or KeyError if a service's file is damaged.
        """
        await self.close()
        owned = [owned for service in services if (owned := _owned(self._site.services, service)) is not None]
        bases = set()
        for host in self._site.hosts:
            for member in (member for each in owned for member in each.members):
                bases.add(host.directory / member)
                await _remove_copy(InstancePaths(host.directory / member), epoch=epoch)
            await _unplug(host, {device for each in owned for devices in each.members.values() for device in devices})
        prefixes = {each.prefix for each in owned}
        self._paused -= bases
        self._frozen -= bases
        self._withdrawn = {line for line in self._withdrawn if line.split()[1] not in prefixes}
        self._remember()

    def held(self) -> dict[str, list[str]]:
        """What it has paused, frozen and withdrawn."""
        kinds = {"paused": map(str, self._paused), "frozen": map(str, self._frozen), "withdrawn": self._withdrawn}
        return {kind: sorted(things) for kind, things in kinds.items()}

    def _running(self) -> Iterator[tuple[Path, int]]:
        for host in self._site.hosts:
            for file in sorted(host.directory.glob("*.pid")):
                base = file.with_suffix("")
                pid = running_pid(InstancePaths(base))
                if pid is not None and base not in self._frozen:
                    yield base, pid

    async def _pause(self, base: Path, pid: int) -> None:
        try:
            async with asyncio.timeout(self._patience):
                monitor = await self._monitor(base)
                if (await monitor.execute("query-status"))["running"]:
                    self._paused.add(base)
                    await monitor.execute("stop")
        except (TimeoutError, DriverError, OSError):
            lost = self._monitors.pop(base, None)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self._frozen.add(base)
            if lost is not None:
                self._in_background(lost.close())

    async def _go_on(self, base: Path) -> None:
        """Run it again, if it still stands still because of us."""
        if running_pid(InstancePaths(base)) is None:
            return
        monitor = await self._monitor(base)
        if (await monitor.execute("query-status"))["status"] == "paused":
            del self._monitors[base]  # it is let run: its RESUME is no reason to stop it
            try:
                await monitor.execute("cont")
            finally:
                await monitor.close()

    async def _monitor(self, base: Path) -> Monitor:
        monitor = self._monitors.get(base)
        if monitor is None:

            def on_event(event: MonitorEvent) -> None:
                if event.name == "RESUME" and self._monitors.get(base) is monitor:
                    self._in_background(self._stop_again(base))

            monitor = Monitor(name=base.name, socket=InstancePaths(base).fence_monitor, on_event=on_event)
            await monitor.connect()
            self._monitors[base] = monitor
        return monitor

    async def _stop_again(self, base: Path) -> None:
        monitor = self._monitors.get(base)
        if monitor is not None:
            with suppress(DriverError):  # the next round of fencing sees it
                self._paused.add(base)
                await monitor.execute("stop")

    async def _withdraw(self) -> None:
        if self._vty is None:
            return
        with suppress(DriverError):  # a bgpd that is dead announces nothing; one that hangs is asked again
            config = await self._vty.show("show running-config")
            found = [match for line in config.splitlines() if (match := _ANNOUNCED.fullmatch(line))]
            if found:
                self._withdrawn |= {match[0].strip() for match in found}
                self._remember()
                await self._configure([f"no network {match[1]}" for match in found])

    async def _announce(self) -> None:
        if self._withdrawn:
            await self._configure(sorted(self._withdrawn))

    async def _configure(self, statements: list[str]) -> None:
        assert self._vty is not None
        router = f"router bgp {self._site.autonomous_system}"
        await self._vty.configure([router, "address-family ipv4 unicast", *statements])

    def _in_background(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _recall(self) -> tuple[set[Path], set[Path], set[str]]:
        try:
            held = json.loads(self._memory.read_text())
        except (FileNotFoundError, ValueError):
            return set(), set(), set()
        return set(map(Path, held["paused"])), set(map(Path, held["frozen"])), set(held["withdrawn"])

    def _remember(self) -> None:
        aside = self._memory.with_suffix(".new")
        aside.write_text(json.dumps(self.held()))
        aside.replace(self._memory)


@dataclass(frozen=True, slots=True)
class _Owned:
    """What a service has at each of its hosts, by member its devices; and what is announced for it."""

    members: Mapping[str, Sequence[str]]
    prefix: str


def _owned(folder: Path, service: ServiceId) -> _Owned | None:
    """As the service's file says it; None without one: it was taken away, with all that it had."""
    try:
        data = json.loads((folder / f"{service}.json").read_text())
    except FileNotFoundError:
        return None
    return _Owned(data["members"], data["prefix"])


async def _remove_copy(paths: InstancePaths, *, epoch: int) -> None:
    pid = running_pid(paths)
    if pid is not None:
        await end(pid)
    put_aside(paths, epoch=epoch, at=time.time())
    paths.remove()


async def _unplug(host: HostFiles, devices: AbstractSet[str]) -> None:
    """Remove these devices of a host, if they are there."""
    if host.netns is None:
        return

    def work(kernel: Kernel) -> None:
        for device in devices & set(kernel.devices()):
            kernel.remove_device(device)

    namespace = Namespace(host.netns)
    try:
        await namespace.do(work)
    finally:
        namespace.close()

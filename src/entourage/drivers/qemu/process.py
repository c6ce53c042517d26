"""QEMU processes: where they run, their command line, and how they are started and found again."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import NAMESPACE_OID, uuid5

from entourage.drivers.qemu.tls import Identity
from entourage.model.ids import HostId, MemberId
from entourage.model.realtime import RealtimeCpus
from entourage.model.world import Member
from entourage.ports.errors import PermanentError

GUARD_SOCKET = "guard.sock"  # no file of a member is named so
_KIB = 1024
# QEMU before 9.0 corrupts guests under software emulation when pre-copy takes more than one pass: the fast path of the
# dirty-bitmap sync, taken when memory is a multiple of 64 pages, does not make the emulator notice later writes.
# 8 KiB more takes the other path, which is slow. tests/lab/test_qemu_conformance.py would notice. Mended by its commit
# 03bfc2188f, "physmem: Fix migration dirty bitmap coherency with TCG memory access", March 2024.
_FAST_PATH_MENDED = (9, 0)
_GRANULE = 8 * _KIB
_FAST_PATH_MULTIPLE = 64 * 4 * _KIB
# SCHED_RR priority of QEMU's main thread: above ordinary work, below the lab's relay. Not of its vCPUs: they would keep
# the migration thread from ending what it does with QEMU's big lock held, and the main thread waits for that lock.
_FAVOURED = 2
_EXECUTED_WITHIN_S = 1.0  # from when its old program is gone until its new one is there, on a machine that has no time


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAccess:
    """How to run and reach QEMU on one host. `address` is where migration streams arrive.

    `root` is the directory that QEMU is confined to (chroot) and in which its files are; `run_dir` is inside it.
    `identity` None: the streams from and to this host are not encrypted. `realtime` None: it promises nothing.
    `version` is QEMU's.
    """

    id: HostId
    netns: Path | None
    root: Path
    run_dir: Path
    address: str
    version: tuple[int, int]
    identity: Identity | None = None
    realtime: RealtimeCpus | None = None

    def inside(self, path: Path) -> str:
        """`path` as a process confined to `root` sees it."""
        return "/" + str(path.relative_to(self.root))


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFiles:
    """What a member boots: kernel and initrd inside the host's root, and the kernel's command line."""

    kernel: Path
    initrd: Path
    command_line: str


class Machines(Protocol):
    """What the QEMU driver needs to know of the place it works in."""

    @property
    def is_encrypted(self) -> bool:
        """Whether every host has an identity, so that streams between them are encrypted."""
        ...

    def access(self, host: HostId) -> HostAccess:
        """How to run QEMU there."""
        ...

    def boot(self, member: Member) -> BootFiles:
        """What the member boots."""
        ...

    async def plug(self, member: Member, host: HostId) -> Sequence[str]:
        """Make the member's TAP devices on the host, on their segments: names in the order of its interfaces."""
        ...

    async def unplug(self, member: MemberId, host: HostId) -> None:
        """Take the member's TAP devices on the host away."""
        ...


PROMISE = ".promise"
ACTING_MONITOR = "compat_monitor0"  # what QEMU calls the first of `InstancePaths.monitors`


@dataclass(frozen=True, slots=True)
class InstancePaths:
    """The files of one member's copy on one host."""

    base: Path

    @property
    def monitor(self) -> Path:
        """The QMP socket of the one that acts."""
        return self.base.with_suffix(".qmp")

    @property
    def spare_monitor(self) -> Path:
        """A second QMP socket, for those that only look."""
        return self.base.with_suffix(".look.qmp")

    @property
    def guard_monitor(self) -> Path:
        """A third QMP socket, for the host's guard: it must get through when the one that acts hangs."""
        return self.base.with_suffix(".guard.qmp")

    @property
    def fence_monitor(self) -> Path:
        """A fourth QMP socket, for whoever fences the site, whatever the others are at."""
        return self.base.with_suffix(".fence.qmp")

    @property
    def monitors(self) -> tuple[Path, ...]:
        """All QMP sockets; each has one client at a time."""
        return (self.monitor, self.spare_monitor, self.guard_monitor, self.fence_monitor, self.replication_monitor)

    @property
    def replication_monitor(self) -> Path:
        """A fourth QMP socket, for whoever keeps copies of the disk at another site."""
        return self.base.with_suffix(".replication.qmp")

    @property
    def console(self) -> Path:
        """What the guest writes to its serial console."""
        return self.base.with_suffix(".console")

    @property
    def log(self) -> Path:
        """What QEMU itself writes."""
        return self.base.with_suffix(".log")

    @property
    def pid(self) -> Path:
        """The process id."""
        return self.base.with_suffix(".pid")

    @property
    def disk(self) -> Path:
        """The member's disk, if it has one."""
        return self.base.with_suffix(".disk")

    @property
    def mirror(self) -> Path:
        """Where its QEMU finds the way of its disk to another host, at the moment in which it connects."""
        return self.base.with_suffix(".mirror")

    @property
    def replica(self) -> Path:
        """The folder of the replica of the member's disk that this host keeps, if it does; see `replica`."""
        return self.base.with_suffix(".replica")

    @property
    def sending(self) -> Path:
        """The folder of what is on its way from the member's disk to a replica on another host."""
        return self.base.with_suffix(".sending")

    @property
    def promise(self) -> Path:
        """The real-time CPU that the member is promised, if it is; see `promises`."""
        return self.base.with_suffix(PROMISE)

    def all(self) -> tuple[Path, ...]:
        """Every file of this copy. A replica is none of them: it is there so that it outlives the member."""
        return (*self.monitors, self.console, self.log, self.pid, self.disk, self.mirror, self.promise)

    def remove(self) -> None:
        """Take all of them away, and what was on its way from its disk."""
        for path in self.all():
            path.unlink(missing_ok=True)
        shutil.rmtree(self.sending, ignore_errors=True)


def instance_paths(access: HostAccess, member: MemberId) -> InstancePaths:
    """Where the files of `member`'s copy on the host are."""
    return InstancePaths(access.run_dir / member)


def guard_socket(access: HostAccess) -> Path:
    """Where the host's guard listens."""
    return access.run_dir / GUARD_SOCKET


def memory_argument(memory: int, *, accel: str, version: tuple[int, int]) -> str:
    """The `-m` argument for `memory` bytes, enlarged a little where emulation by that QEMU needs it (see above)."""
    memory = -(-memory // _GRANULE) * _GRANULE  # as QEMU would round it
    if accel != "kvm" and version < _FAST_PATH_MENDED and memory % _FAST_PATH_MULTIPLE == 0:
        memory += _GRANULE
    return f"{memory // _KIB}K"


def identity_arguments(member: Member) -> list[str]:
    """The UUID and the serial number that the guest sees: a member's own, and the same in all its copies.

    Licences are bound to them. They come from its name and MACs, so that nothing has to be kept (RFC 9562, version 5).
    """
    macs = " ".join(interface.mac for interface in member.interfaces)
    own = uuid5(NAMESPACE_OID, f"{member.id} {macs}")
    return ["-uuid", str(own), "-smbios", f"type=1,serial={own.hex[:16]}"]


def command_line(
    member: Member, *, access: HostAccess, boot: BootFiles, taps: Sequence[str], accel: str, incoming: str | None
) -> list[str]:
    """QEMU's arguments for one copy of `member`. `incoming` is the migration URI it waits at, None to boot."""
    paths = instance_paths(access, member.id)
    accel_argument = "kvm" if accel == "kvm" else "tcg,thread=multi,tb-size=64"
    arguments = ["/usr/bin/qemu-system-x86_64", "-name", f"{member.id},debug-threads=on"]
    # The description of the device state is for debuggers; it would be most of what is sent while nobody runs.
    arguments += ["-machine", "pc,suppress-vmdesc=on"]
    arguments += ["-accel", accel_argument, "-cpu", "host" if accel == "kvm" else "max"]
    arguments += ["-m", memory_argument(member.memory, accel=accel, version=access.version), "-smp", "1"]
    if member.realtime is not None and member.realtime.locks_memory:
        arguments += ["-overcommit", "mem-lock=on"]
    arguments += identity_arguments(member)
    arguments += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    arguments += ["-kernel", access.inside(boot.kernel), "-initrd", access.inside(boot.initrd)]
    arguments += ["-append", boot.command_line]
    arguments += ["-serial", f"file:{access.inside(paths.console)}"]
    for socket in paths.monitors:
        arguments += ["-qmp", f"unix:{access.inside(socket)},server=on,wait=off"]
    for number, (interface, tap) in enumerate(zip(member.interfaces, taps, strict=True)):
        arguments += ["-netdev", f"tap,id=n{number},ifname={tap},script=no,downscript=no"]
        arguments += ["-device", f"{_network_card(accel)},netdev=n{number},mac={interface.mac}"]
    if member.disk:
        arguments += ["-blockdev", f"driver=file,node-name=disk-file,filename={access.inside(paths.disk)}"]
        arguments += ["-blockdev", "driver=raw,node-name=disk,file=disk-file"]
        arguments += ["-device", "virtio-blk-pci,drive=disk,disable-modern=on"]
    if incoming is not None:
        arguments += ["-incoming", incoming]
    return arguments


def _network_card(accel: str) -> str:
    """A network card's model and properties, without what each packet would pay for under software emulation.

    There a vCPU's notification does not leave the guest anyway, so an eventfd (`ioeventfd`) is only one wake-up more;
    and receive buffers that can be merged into large packets cost the guest more than the small ones it gets here.
    """
    card = "virtio-net-pci,romfile=,disable-modern=on"
    if accel == "kvm":
        return card
    return f"{card},ioeventfd=off,mrg_rxbuf=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"


def start(
    arguments: Sequence[str], *, access: HostAccess, paths: InstancePaths, disk: int | Path = 0
) -> subprocess.Popen[bytes]:
    """Start QEMU on the host, in a session of its own: it lives on when we end.

    With an empty disk of `disk` bytes, or with the file `disk` of the same file system, which becomes the member's.
    """
    paths.base.parent.mkdir(exist_ok=True)  # and no more: a lab that is just being taken down is not to come back
    paths.remove()
    if isinstance(disk, Path):
        disk.rename(paths.disk)
    elif disk:
        with paths.disk.open("wb") as empty:
            empty.truncate(disk)
    enter = ["nsenter", f"--root={access.root}", "--wd=/"]
    if access.netns is not None:
        enter.insert(1, f"--net={access.netns}")
    # It writes its pid itself: if we die right here, it is found again.
    enter = ["sh", "-c", 'echo $$ >"$1" && shift && exec "$@"', "sh", str(paths.pid), *enter]
    with paths.log.open("wb") as log:
        process = subprocess.Popen(
            [*enter, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    while process.poll() is None and not (paths.pid.exists() and paths.pid.stat().st_size):
        time.sleep(0.001)
    return process


def last_words(paths: InstancePaths) -> str:
    """What QEMU said last, for error messages."""
    with suppress(OSError):
        lines = paths.log.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
    return "QEMU said nothing"


def running_pid(paths: InstancePaths) -> int | None:
    """The pid of the copy's QEMU if it is alive, checked against the process's own command line."""
    with suppress(OSError, ValueError):
        pid = int(paths.pid.read_text())
        words = _command_line_of(pid)
        if paths.monitor.name.encode() in words and b"qemu" in words:
            return pid
    return None


def _command_line_of(pid: int) -> bytes:
    """OSError if the process has ended.

    While a process executes a program the kernel shows no command line, though the old one has let go of its files
    already: whoever asks just then waits, or a copy that is being started would not be there for whoever fences.
    """
    give_up = time.monotonic() + _EXECUTED_WITHIN_S
    while not (words := Path(f"/proc/{pid}/cmdline").read_bytes()) and time.monotonic() < give_up:
        Path(f"/proc/{pid}/exe").readlink()  # OSError if it has ended, or is the kernel's own
        time.sleep(0.001)
    return words


def favour(paths: InstancePaths, *, yes: bool) -> None:
    """Let the main thread of a copy's QEMU come before ordinary work; or no longer.

    It answers QMP and loads state: a busy host would otherwise let members stop and resume tens of ms apart.
    Threads made from now on do not inherit it. Without the right to, nothing changes, and nothing for a member that is
    promised real-time CPU: it keeps that.
    """
    pid = running_pid(paths)
    if pid is None or paths.promise.exists():
        return
    policy, priority = (os.SCHED_RR | os.SCHED_RESET_ON_FORK, _FAVOURED) if yes else (os.SCHED_OTHER, 0)
    with suppress(PermissionError, ProcessLookupError):
        os.sched_setscheduler(pid, policy, os.sched_param(priority))


async def end(pid: int, *, deadline: float = 10.0) -> None:
    """Kill the process and wait until it is gone. PermanentError if it is still there after `deadline` seconds."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(handle, gone.set)
        try:
            await asyncio.wait_for(gone.wait(), deadline)
        finally:
            loop.remove_reader(handle)
    except ProcessLookupError:
        return
    except TimeoutError as error:
        raise PermanentError(f"process {pid} does not end") from error
    finally:
        os.close(handle)

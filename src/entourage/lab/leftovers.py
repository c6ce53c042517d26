"""What of a lab is there, found by looking: namespaces by name, processes by their namespace, files by folder.

No state is kept anywhere, so this works after any crash and from any half-made lab.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from entourage.drivers.netns import RUN_DIR, remove_name
from entourage.lab import names
from entourage.lab.errors import BusyError, LabError

_DIE_WITHIN = 10.0  # seconds; a killed process ends at once unless the kernel itself is stuck


def leftovers(lab: str, *, root: Path) -> list[str]:
    """Every namespace, process and file of the lab, one line each; empty if nothing of it is there."""
    spaces = namespaces(lab)
    processes = [f"process {pid}: {command_of(pid)}" for pid in processes_in(spaces)]
    folder = names.run_dir(root, lab)
    files = [f"file {path}" for path in sorted(folder.rglob("*")) if not path.is_dir()]
    return [*(f"namespace {path.name}" for path in spaces), *processes, *files]


def namespaces(lab: str) -> list[Path]:
    """The lab's namespaces that exist, sorted by name."""
    return sorted(RUN_DIR.glob(f"{names.namespace_prefix(lab)}*"))


def processes_in(spaces: list[Path]) -> list[int]:
    """The ids of the processes whose network namespace is one of these, without the one that asks."""
    return sorted(_members(_identities(spaces)))


def end_processes(spaces: list[Path]) -> int:
    """End every process in these namespaces, all at once: how many there were. LabError if one does not die."""
    return _kill(_identities(spaces))


def remove(lab: str, *, root: Path) -> None:
    """End every process of the lab and remove every namespace and file. LabError if a process does not die."""
    remove_spaces(namespaces(lab))
    shutil.rmtree(names.run_dir(root, lab), ignore_errors=True)


def remove_spaces(spaces: list[Path]) -> None:
    """End every process in these namespaces, and remove their names. LabError if a process does not die."""
    identities = _identities(spaces)
    _kill(identities)
    for path in spaces:
        remove_name(path)
    _kill(identities)  # what was on its way in by name when the first round looked


@contextmanager
def exclusive(lab: str) -> Iterator[None]:
    """Hold the lab against every other process that brings it up or down; BusyError if one does now."""
    taken = f"lab {lab} is being brought up or down by another process; wait until it is done"
    with _held(f"entourage-lab-{lab}", taken=taken):
        yield


@contextmanager
def exclusive_move(lab: str) -> Iterator[None]:
    """Hold the lab's members against every other process that moves or makes them; BusyError if one does now."""
    taken = (
        f"a move is under way in lab {lab}, or a service is made or taken away; "
        "wait until it is done, or end it: Ctrl-C there puts everything back"
    )
    with _held(_move_lock(lab), taken=taken):
        yield


@contextmanager
def exclusive_rules(lab: str) -> Iterator[None]:
    """Hold the lab's rules against every other process that acts by them; BusyError if one does now."""
    with _held(
        f"entourage-rules-{lab}", taken=f"the rules of lab {lab} are acted on already, by another entourage run"
    ):
        yield


def is_being_moved(lab: str) -> bool:
    """Whether some process holds the lab's members now. Only a look: who asks never stands in a move's way."""
    return _is_held(_move_lock(lab))


def _move_lock(lab: str) -> str:
    return f"entourage-move-{lab}"


@contextmanager
def exclusive_replication(lab: str, service: str) -> Iterator[None]:
    """Hold the lab's replicas against every other process that brings them up to date; BusyError if one does now."""
    taken = f"the disks of {service} in lab {lab} are being replicated by another process already"
    with _held(_replication_lock(lab, service), taken=taken):
        yield


def is_being_replicated(lab: str, service: str) -> bool:
    """Whether some process brings the service's replicas up to date."""
    return _is_held(_replication_lock(lab, service))


def _is_held(name: str) -> bool:
    return f"@{name}" in Path("/proc/net/unix").read_text().split()


def _replication_lock(lab: str, service: str) -> str:
    return f"entourage-replication-{lab}-{service}"


@contextmanager
def _held(name: str, *, taken: str) -> Iterator[None]:
    # An abstract socket's name needs no file, and ends with the process however that ends.
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(f"\0{name}")
    except OSError as error:
        holder.close()
        raise BusyError(taken) from error
    with holder:
        yield


def _identities(spaces: list[Path]) -> set[tuple[int, int]]:
    found = set()
    for path in spaces:
        with contextlib.suppress(FileNotFoundError):
            found.add(_identity(path))
    return found


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _members(identities: set[tuple[int, int]]) -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _is_in(int(entry.name), identities):
            yield int(entry.name)


def _is_in(pid: int, identities: set[tuple[int, int]]) -> bool:
    try:
        return _identity(Path(f"/proc/{pid}/ns/net")) in identities
    except OSError:  # it has just ended
        return False


def _kill(identities: set[tuple[int, int]]) -> int:
    """Kill until nobody is left: a process may have started another meanwhile. How many were killed."""
    killed: set[int] = set()
    deadline = time.monotonic() + _DIE_WITHIN
    while victims := list(_members(identities)):
        if time.monotonic() > deadline:
            raise LabError(f"these processes of the lab do not die: {', '.join(map(str, victims))}")
        with contextlib.ExitStack() as stack:
            handles = [stack.enter_context(_signalled(pid, identities)) for pid in victims]
            for handle in handles:
                if handle is not None:
                    select.select([handle], [], [], _DIE_WITHIN)
        killed.update(victims)
    return len(killed)


@contextmanager
def _signalled(pid: int, identities: set[tuple[int, int]]) -> Iterator[int | None]:
    """A handle of the process, which is told to die; None if it has ended, or its id belongs to another now."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        is_told = False
        with contextlib.suppress(ProcessLookupError):
            if _is_in(pid, identities):  # asked again with the handle open: the id may have been given to another
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                is_told = True
        yield handle if is_told else None
    finally:
        os.close(handle)


def command_of(pid: int) -> str:
    """The process's command line; "(ended)" if it has."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(ended)"

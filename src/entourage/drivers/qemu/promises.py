"""The real-time CPU that was promised to members, applied to the threads of their QEMUs on one host.

What a member was promised stands in a file beside its others, from before anything is applied until it is removed: so
everybody who has to do with the host knows of it, whoever has put it there. Applied is what the kernel says when asked.
A copy that waits at a target rests: its CPU is counted, and its threads are ordinary ones, or the stream that they
take in would hold up the members that run there.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from entourage.drivers.qemu import scheduling
from entourage.drivers.qemu.process import PROMISE, HostAccess, InstancePaths, instance_paths, running_pid
from entourage.drivers.qemu.scheduling import RefusedError, Scheduling
from entourage.model.ids import MemberId
from entourage.model.realtime import Policy, Promise, RealtimeCpus, Reservation
from entourage.ports.errors import PermanentError
from entourage.ports.hypervisor import PromisedThread
from entourage.realtime import Shortage, keep, priorities

_VIRTUAL_CPU = "CPU "  # how QEMU's debug-threads=on begins their names
_SENDING = ("mig/src/main", "live_migration")  # how it calls the thread that sends memory; before 9.0 the second
_LISTENING = "IO mon_iothread"  # the one that reads commands
_HURRIED = 42  # above all that can be promised, below the one who orders it and the kernel's threads for interrupts
_HASTENED = 1  # below QEMU's main threads that are favoured, and all that was promised
_SENDING_WITHIN_S, _LOOK_AGAIN_S = 20.0, 0.005  # it begins when hands have been shaken


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """One thread of a member's QEMU: how it is to be scheduled, and how it is, None if it has ended."""

    tid: int
    name: str
    promise: Reservation
    wanted: Scheduling
    found: Scheduling | None
    instead: str | None  # why the host's policy is not the one that it has first
    rests: bool

    @property
    def is_kept(self) -> bool:
        """Whether the kernel has what was promised, or does not have to yet."""
        return self.found is not None and (self.rests or _is_alike(self.wanted, self.found))

    def told(self) -> PromisedThread:
        """As the port has it."""
        ran_us, waited_us = scheduling.times(self.tid)
        return PromisedThread(
            name=self.name,
            promise=self.promise,
            wanted=f"{self.wanted}, when it is to run" if self.rests else str(self.wanted),
            found=None if self.found is None else str(self.found),
            is_kept=self.is_kept,
            ran_us=ran_us,
            waited_us=waited_us,
            instead=self.instead,
        )


def promise(access: HostAccess, member: MemberId, what: Promise) -> None:
    """Apply a promise to a member whose QEMU is there. PermanentError if the host or its kernel cannot keep it.

    Others on the host may change their CPUs. After an error nothing of this promise is left.
    """
    path = instance_paths(access, member).promise
    if not promised(access):
        _mark(access).unlink(missing_ok=True)  # the kernel may take now what it has refused before
    path.write_text(json.dumps(_to_json(what)))
    try:
        apply(access)
    except BaseException:
        withdraw(access, member)
        with suppress(PermanentError):
            apply(access)
        raise


def rest(access: HostAccess, member: MemberId) -> None:
    """Its threads are ordinary ones until it is to run. It was promised just now, so the kernel does take it."""
    path = instance_paths(access, member).promise
    path.write_text(json.dumps({**json.loads(path.read_text()), "rests": True}))
    _make_ordinary(access, member)


def wake(access: HostAccess, member: MemberId) -> None:
    """It is to run: apply its promise. PermanentError as of `promise`; nothing happens if it does not rest."""
    path = instance_paths(access, member).promise
    if path.exists() and (document := json.loads(path.read_text())).pop("rests", False):
        apply(access, waking=member)
        path.write_text(json.dumps(document))  # last: who dies before it is noted leaves it to be done again


@contextmanager
def hurried(access: HostAccess, member: MemberId) -> Iterator[None]:
    """What lets a promised member run comes before all that is promised, for the moment in which it does.

    Those that run again first take whole CPUs, and one of a longer period would be told to when they have had enough.
    Whoever dies here leaves it so; `look` and `apply` find that, as they find any other change of a promised thread.
    """
    paths = instance_paths(access, member)
    pid = running_pid(paths) if paths.promise.exists() else None
    named = {} if pid is None else scheduling.threads(pid)
    before = {tid: _scheduling(tid) for tid, name in named.items() if tid == pid or name == _LISTENING}
    hurry = {tid: now for tid, now in before.items() if now is not None and now.policy != "SCHED_DEADLINE"}
    for tid, now in hurry.items():
        with suppress(ProcessLookupError):
            scheduling.write(tid, Scheduling(policy="SCHED_FIFO", priority=_HURRIED, cpus=now.cpus))
    try:
        yield
    finally:
        for tid, now in hurry.items():
            with suppress(ProcessLookupError):
                scheduling.write(tid, now)


def _scheduling(tid: int) -> Scheduling | None:
    with suppress(ProcessLookupError):
        return scheduling.read(tid)
    return None


def withdraw(access: HostAccess, member: MemberId) -> None:
    """A member that is there is promised nothing any more; nothing happens if it was not."""
    instance_paths(access, member).promise.unlink(missing_ok=True)
    _make_ordinary(access, member)


def hasten(access: HostAccess, member: MemberId) -> "Hastening":
    """Begin to."""
    hastening = Hastening(access, member)
    hastening.start()
    return hastening


class Hastening(threading.Thread):
    """Lets the thread that sends a promised member's memory come before ordinary work, as soon as it is there.

    It has QEMU's big lock at times. Were it then to wait for a CPU, behind whatever else runs on the host, so would the
    member for the lock. It begins with that, so whoever looks for it must not wait for a CPU either.
    """

    def __init__(self, access: HostAccess, member: MemberId) -> None:
        super().__init__(name=f"hastening-{member}", daemon=True)
        self._paths = instance_paths(access, member)
        self._is_over = threading.Event()

    def cancel(self) -> None:
        """Look no further."""
        self._is_over.set()

    def run(self) -> None:
        """Look for it, until it was found or has not come for so long that it will not."""
        pid = running_pid(self._paths) if self._paths.promise.exists() else None
        if pid is None:
            return
        with suppress(RefusedError):
            scheduling.write(threading.get_native_id(), Scheduling(policy="SCHED_RR", priority=_HASTENED))
        until = time.monotonic() + _SENDING_WITHIN_S
        while time.monotonic() < until and not self._is_over.wait(_LOOK_AGAIN_S):
            for tid, name in scheduling.threads(pid).items():
                if name in _SENDING:
                    with suppress(ProcessLookupError, RefusedError):
                        scheduling.write(tid, Scheduling(policy="SCHED_RR", priority=_HASTENED))
                    return


def _make_ordinary(access: HostAccess, member: MemberId) -> None:
    for tid, _ in _promisable(instance_paths(access, member)):
        with suppress(ProcessLookupError):
            scheduling.write(tid, scheduling.ordinary())


def apply(access: HostAccess, *, waking: MemberId | None = None) -> None:
    """Let all threads on the host have what was promised, and see that they have. PermanentError if they have not.

    Not those of members that rest, other than the one that is `waking`.
    What its kernel refuses is done by the host's other policy, if it has one, for all of them: no test covers both.
    """
    try:
        _apply(access, waking)
    except RefusedError as error:
        if access.realtime is None or access.realtime.fallback is None or _mark(access).exists():
            raise
        _mark(access).write_text(str(error))
        _apply(access, waking)


def _apply(access: HostAccess, waking: MemberId | None) -> None:
    for member, threads in look(access, waking=waking).items():
        for thread in threads:
            if not thread.is_kept:
                with suppress(ProcessLookupError):
                    scheduling.write(thread.tid, thread.wanted)
                    found = scheduling.read(thread.tid)
                    if not _is_alike(thread.wanted, found):
                        words = f"was to have {thread.wanted} and has {found}"
                        raise PermanentError(f"{member} on {access.id}: thread {thread.name!r} {words}")


def look(access: HostAccess, *, waking: MemberId | None = None) -> dict[MemberId, list[Thread]]:
    """What was promised on the host and what the kernel has. PermanentError if not everything can be kept at once."""
    promises = promised(access)
    if not promises:
        return {}
    if access.realtime is None:
        raise PermanentError(f"{access.id} has no real-time CPU to promise to {', '.join(promises)}")
    instead = _mark(access).read_text() if _mark(access).exists() else None
    offered = access.realtime
    if instead is not None and offered.fallback is not None:
        offered = replace(offered, policy=offered.fallback)
    kept = keep(offered, promises)
    if isinstance(kept, Shortage):
        raise PermanentError(kept.words(access.id))
    found = {}
    for member, what in promises.items():
        cpu, io = (
            (thread, _wanted(offered, thread, cpu, rank))
            for thread, cpu, rank in zip(what.threads, kept.cpus[member], priorities(what), strict=True)
        )
        found[member] = _threads(
            instance_paths(access, member),
            cpu=cpu,
            io=io,
            instead=instead,
            rests=member != waking and _rests(access, member),
        )
    return found


def promised(access: HostAccess) -> dict[MemberId, Promise]:
    """What was promised to members whose QEMUs are on the host."""
    found = {}
    for path in sorted(access.run_dir.glob(f"*{PROMISE}")):
        if running_pid(InstancePaths(path.with_suffix(""))) is not None:
            with suppress(FileNotFoundError):
                found[MemberId(path.stem)] = _from_json(json.loads(path.read_text()))
    return found


def _rests(access: HostAccess, member: MemberId) -> bool:
    with suppress(FileNotFoundError):
        return bool(json.loads(instance_paths(access, member).promise.read_text()).get("rests"))
    return False


def _mark(access: HostAccess) -> Path:
    """There, with the reason in it, while the host's other policy is in force."""
    return access.run_dir / "realtime.instead"


def _threads(
    paths: InstancePaths,
    *,
    cpu: tuple[Reservation, Scheduling],
    io: tuple[Reservation, Scheduling],
    instead: str | None,
    rests: bool,
) -> list[Thread]:
    """Of the threads of a QEMU those that are promised something: its virtual CPUs, and the main thread."""
    found = []
    for tid, name in _promisable(paths):
        promise, wanted = cpu if name.startswith(_VIRTUAL_CPU) else io
        now = _scheduling(tid)
        found.append(
            Thread(tid=tid, name=name, promise=promise, wanted=wanted, found=now, instead=instead, rests=rests)
        )
    return found


def _promisable(paths: InstancePaths) -> list[tuple[int, str]]:
    pid = running_pid(paths)
    named = {} if pid is None else scheduling.threads(pid)
    return [(tid, name) for tid, name in named.items() if tid == pid or name.startswith(_VIRTUAL_CPU)]


def _wanted(host: RealtimeCpus, what: Reservation, cpu: int | None, rank: int) -> Scheduling:
    if host.policy is Policy.DEADLINE:
        return Scheduling(policy="SCHED_DEADLINE", budget_us=what.budget_us, period_us=what.period_us)
    assert cpu is not None
    return Scheduling(policy="SCHED_FIFO", priority=rank, cpus=(cpu,))


def _is_alike(wanted: Scheduling, found: Scheduling) -> bool:
    """Where nothing was said of CPUs any will do."""
    plain = (found.policy, found.priority, found.budget_us, found.period_us)
    same = plain == (wanted.policy, wanted.priority, wanted.budget_us, wanted.period_us)
    return same and wanted.cpus in ((), found.cpus)


def _to_json(what: Promise) -> dict[str, Any]:
    cpu, io = ([each.budget_us, each.period_us] for each in what.threads)
    return {
        "cpu": cpu,
        "io": io,
        "name": what.name,
        "pins": list(what.pins),
        "apart": what.apart,
        "locks_memory": what.locks_memory,
    }


def _from_json(document: Mapping[str, Any]) -> Promise:
    cpu, io = (Reservation(budget_us=each[0], period_us=each[1]) for each in (document["cpu"], document["io"]))
    virtual, other = document["pins"]
    return Promise(
        cpu=cpu,
        io=io,
        name=document["name"],
        pins=(virtual, other),
        apart=document["apart"],
        locks_memory=document["locks_memory"],
    )

"""The kernel's scheduling of one thread: set, read back, and what it refuses in words.

Source: sched(7), sched_setattr(2), and Documentation/scheduler/sched-deadline.rst of the Linux kernel.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from entourage.model.realtime import PERIOD_MAX_US
from entourage.ports.errors import PermanentError

_SET, _GET = {"x86_64": (314, 315), "aarch64": (274, 275)}.get(platform.machine(), (0, 0))
_RESET_ON_FORK = 0x01  # threads that it makes are ordinary ones
# A thread with a deadline may use what others have been promised and leave, beyond its own budget; they lose nothing.
# Source: Documentation/scheduler/sched-deadline.rst, "Bandwidth reclaiming" (GRUB).
_RECLAIM = 0x02
# struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period in ns.
_ATTR = struct.Struct("=IIQiIQQQ")
_DEADLINE = 6
_BUDGET_MIN_US = 2  # the kernel takes no less than 1.024 µs
_libc = ctypes.CDLL(None, use_errno=True)


class RefusedError(PermanentError):
    """The kernel does not schedule a thread so; the message has its reason in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """How a thread is scheduled. `policy` as sched(7) names it; the others where the policy has them, else 0.

    `cpus`: those that it may run on. Times in µs.
    """

    policy: str
    priority: int = 0
    budget_us: int = 0
    period_us: int = 0
    cpus: tuple[int, ...] = ()

    def __str__(self) -> str:
        """In words, for messages."""
        what = self.policy
        if self.priority:
            what += f" {self.priority}"
        if self.period_us:
            what += f" {self.budget_us} µs in {self.period_us} µs"
        return f"{what} on CPU {', '.join(map(str, self.cpus))}" if self.cpus else what


_POLICIES = {0: "SCHED_OTHER", 1: "SCHED_FIFO", 2: "SCHED_RR", 3: "SCHED_BATCH", 5: "SCHED_IDLE", 6: "SCHED_DEADLINE"}


def ordinary() -> Scheduling:
    """As threads are that nobody has given anything: on any CPU."""
    return Scheduling(policy="SCHED_OTHER", cpus=tuple(range(os.cpu_count() or 1)))


def read(tid: int) -> Scheduling:
    """How the thread is scheduled now. ProcessLookupError if it has ended."""
    buffer = ctypes.create_string_buffer(_ATTR.size)
    _call(_GET, tid, buffer, _ATTR.size, 0)
    _, policy, _, _, priority, runtime, _, period = _ATTR.unpack(buffer.raw)
    return Scheduling(
        policy=_POLICIES.get(policy, f"policy {policy}"),
        priority=priority,
        budget_us=runtime // 1000 if policy == _DEADLINE else 0,
        period_us=period // 1000 if policy == _DEADLINE else 0,
        cpus=tuple(sorted(os.sched_getaffinity(tid))),
    )


def write(tid: int, wanted: Scheduling) -> None:
    """Schedule the thread so. RefusedError if the kernel does not; ProcessLookupError if it has ended."""
    number = next(number for number, name in _POLICIES.items() if name == wanted.policy)
    try:
        if number == _DEADLINE:  # the kernel refuses it to a thread that may not run on every CPU
            _pin(tid, range(os.cpu_count() or 1))
        else:
            _end_deadline(tid)
            _pin(tid, wanted.cpus)
        _set(tid, number, priority=wanted.priority, budget_us=wanted.budget_us, period_us=wanted.period_us)
    except ProcessLookupError:
        raise
    except OSError as error:
        raise RefusedError(f"the kernel refuses {wanted}: {_why(error, number)}") from error


def _end_deadline(tid: int) -> None:
    """Let the thread be an ordinary one if it has a deadline: as long as it has it cannot be pinned.

    Linux 6.18 never takes back the bandwidth of a thread that sleeps while it loses its deadline (so measured: after
    some moves it refused everybody). It is that which the thread had last, so it is made next to nothing before.
    """
    if os.sched_getscheduler(tid) & ~os.SCHED_RESET_ON_FORK == _DEADLINE:
        _set(tid, _DEADLINE, budget_us=_BUDGET_MIN_US, period_us=PERIOD_MAX_US)
        _set(tid, 0)


def _pin(tid: int, cpus: Sequence[int]) -> None:
    if cpus and set(cpus) != os.sched_getaffinity(tid):
        os.sched_setaffinity(tid, cpus)


def _set(tid: int, policy: int, *, priority: int = 0, budget_us: int = 0, period_us: int = 0) -> None:
    budget, period = budget_us * 1000, period_us * 1000
    flags = _RESET_ON_FORK | (_RECLAIM if policy == _DEADLINE else 0)
    attributes = _ATTR.pack(_ATTR.size, policy, flags, 0, priority, budget, period, period)
    _call(_SET, tid, ctypes.create_string_buffer(attributes, _ATTR.size), 0)


def _why(error: OSError, policy: int) -> str:
    if error.errno == errno.EBUSY:
        return "what it may promise (sched_rt_runtime_us of each CPU) is promised already, to somebody"
    if error.errno == errno.EPERM and policy == _DEADLINE:
        return "not permitted, or its CPUs are restricted, by pinning or a cpuset: SCHED_DEADLINE needs all of them"
    if error.errno == errno.EPERM:
        return f"not permitted: {_group_words()}"
    if error.errno == errno.EINVAL:
        return "no such CPU here, or outside what sched_deadline_period_min_us and _max_us allow"
    return error.strerror or str(error)


def _group_words() -> str:
    if Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists():
        return "the process's cgroup has no cpu.rt_runtime_us"
    return "it needs CAP_SYS_NICE, or a limit RLIMIT_RTPRIO"


def _call(number: int, tid: int, *arguments: object) -> None:
    if not number:
        raise OSError(errno.ENOSYS, f"sched_setattr's number is not known on {platform.machine()}")
    if _libc.syscall(number, tid, *arguments) != 0:
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed))


def times(tid: int) -> tuple[int, int]:
    """How long the thread was on a CPU and how long it waited for one, in µs; nothing if it has ended.

    Source: Documentation/scheduler/sched-stats.rst of the Linux kernel, /proc/PID/schedstat.
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        ran, waited, _ = Path(f"/proc/{tid}/schedstat").read_text().split()
        return int(ran) // 1000, int(waited) // 1000
    return 0, 0


def threads(pid: int) -> dict[int, str]:
    """The names of a process's threads by their ids, the process's own the first; none if it has ended."""
    found: dict[int, str] = {}
    with suppress(FileNotFoundError, ProcessLookupError):
        for tid in sorted(map(int, os.listdir(f"/proc/{pid}/task"))):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                found[tid] = Path(f"/proc/{pid}/task/{tid}/comm").read_text().strip()
    return found

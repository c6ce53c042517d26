"""What the probe asks of the Linux kernel that Python 3.11 has no call for."""

import ctypes
import os
import resource
import signal

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


class KernelError(OSError):
    """The kernel refused; the message says what was asked and why it was refused."""


def enter_network_namespace(path: str) -> None:
    """Move this thread into the network namespace at `path` ("/run/netns/x"): sockets opened from now on are there.

    Raises KernelError if there is no such namespace, or entering is not permitted (setns(2): CAP_SYS_ADMIN).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(f"cannot open the network namespace {path}: {error.strerror}") from None
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise KernelError(f"cannot enter the network namespace {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the process `parent`, which started it, is gone (prctl(2))."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise KernelError(f"cannot be tied to the parent's life: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it was gone before we asked
        raise KernelError(f"the parent process {parent} is gone")


def become_realtime() -> bool:
    """Run this process under SCHED_RR at the lowest priority; False if that is not permitted."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    except PermissionError:
        return False
    return True


def allow_descriptors(count: int) -> None:
    """Raise the limit of open files to `count`. Raises KernelError if the hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    if hard < count:
        raise KernelError(f"needs {count} open files, and the limit is {hard}: raise it with `ulimit -Hn {count}`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))

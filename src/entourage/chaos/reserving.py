"""The ways to schedule the members of a running service that are compared."""

import os
from contextlib import suppress
from dataclasses import replace

from entourage.drivers.qemu import promises, scheduling
from entourage.drivers.qemu.process import HostAccess, instance_paths, running_pid
from entourage.model.ids import MemberId, SiteId
from entourage.model.realtime import Policy, RealtimeCpus
from entourage.wiring import Wired

POLICIES = ("other", "nice", "fifo", "deadline")
_NICE = -20


def reserve(wired: Wired, policy: str, site: SiteId) -> None:
    """Schedule all members that run at the site so, and nothing of what was before."""
    place = wired.place
    accesses = [place.access(host.id) for host in place.infrastructure.site(site).hosts]
    for access in accesses:
        there = [m for m in place.service.members if running_pid(instance_paths(access, m.id)) is not None]
        for member in there:
            promises.withdraw(access, member.id)
            _nice(access, member.id, _NICE if policy == "nice" else 0)
        if policy in ("fifo", "deadline"):
            chosen = access if policy == "fifo" else replace(access, realtime=_anywhere())
            for member in there:
                if member.realtime is not None:
                    promises.promise(chosen, member.id, member.realtime)


def _anywhere() -> RealtimeCpus:
    return RealtimeCpus(cpus=tuple(range(os.cpu_count() or 1)), policy=Policy.DEADLINE)


def _nice(access: HostAccess, member: MemberId, value: int) -> None:
    pid = running_pid(instance_paths(access, member))
    for tid in scheduling.threads(pid) if pid is not None else ():
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, tid, value)

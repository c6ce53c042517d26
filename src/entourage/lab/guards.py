"""The lab's guards, one on each host; see `entourage.drivers.qemu.guard`.

What they start when an orchestrator has died is `entourage recover`, where we are now: not in their own host's network
namespace, from which neither the lab nor other orchestrators can be seen.
"""

import asyncio
import os
from collections.abc import Iterable

from entourage.drivers.qemu.process import guard_socket
from entourage.lab import daemons
from entourage.lab.place import Lab
from entourage.model.ids import HostId


async def start_guards(place: Lab, hosts: Iterable[HostId]) -> None:
    """Start these hosts' guards; returns when all of them listen. LabError if one does not start."""
    starting = [asyncio.create_task(asyncio.to_thread(_start, place, host)) for host in hosts]
    if not starting:
        return
    try:
        await asyncio.gather(*starting)
    finally:
        await asyncio.wait(starting)  # the threads must have ended before anything is taken away


def _start(place: Lab, host: HostId) -> None:
    access = place.access(host)
    directory = guard_socket(access).parent
    directory.mkdir(parents=True, exist_ok=True)
    assert access.netns is not None
    recovery = daemons.own_command("recover", "--lab", place.name)
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        daemons.start(
            "entourage.drivers.qemu.guard",
            [str(directory), "nsenter", f"--net=/proc/self/fd/{here}", *recovery],
            namespace=access.netns,
            log=directory / "guard.stderr",
            keep=(here,),
        )
    finally:
        os.close(here)

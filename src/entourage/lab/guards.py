"""The lab's guards, one on each host; see `entourage.drivers.qemu.guard`."""

import asyncio

from entourage.drivers.qemu.process import guard_socket
from entourage.lab import daemons
from entourage.lab.place import Place
from entourage.model.ids import HostId


async def start_guards(place: Place) -> None:
    """Start every host's guard; returns when all of them listen. LabError if one does not start."""
    hosts = [host.id for site in place.infrastructure.sites for host in site.hosts]
    starting = [asyncio.create_task(asyncio.to_thread(_start, place, host)) for host in hosts]
    try:
        await asyncio.gather(*starting)
    finally:
        await asyncio.wait(starting)  # the threads must have ended before anything is taken away


def _start(place: Place, host: HostId) -> None:
    access = place.access(host)
    directory = guard_socket(access).parent
    directory.mkdir(parents=True, exist_ok=True)
    assert access.netns is not None
    daemons.start(
        "entourage.drivers.qemu.guard", [str(directory)], namespace=access.netns, log=directory / "guard.stderr"
    )

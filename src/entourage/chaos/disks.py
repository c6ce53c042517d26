"""Whether disks are whole and go on: each server writes a numbered record a second into its own, durably."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress

from entourage.drivers.qemu.process import instance_paths
from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId

_RECORD = re.compile(rb"record (\d+) *\n")
_MORE = 3
_MORE_WITHIN_S = 60.0  # on a busy machine a guest under software emulation may take some seconds for one
_LOOK_AGAIN_S = 0.1


async def disk_problems(place: Place, placement: Mapping[MemberId, HostId]) -> list[str]:
    """Of each member that runs and has a disk: whether it still writes to it, and which records it should have."""
    hosts = {m.id: placement[m.id] for m in place.service.members if m.disk and m.id in placement}
    idle = {member: max(records(place, member, host), default=-1) for member, host in hosts.items()}
    with suppress(TimeoutError):
        async with asyncio.timeout(_MORE_WITHIN_S):
            while idle:
                await asyncio.sleep(_LOOK_AGAIN_S)
                idle = {m: last for m, last in idle.items() if last + _MORE not in records(place, m, hosts[m])}
    found = [f"{m} on {hosts[m]} wrote no {_MORE} records in {_MORE_WITHIN_S:g} s to its disk" for m in idle]
    for member, host in hosts.items():
        numbers = records(place, member, host)
        missing = sorted(set(range(max(numbers, default=0) + 1)) - numbers)
        if missing:
            shown = ", ".join(map(str, missing[:5]))
            found.append(f"{member}'s disk on {host} lacks {len(missing)} of its records: {shown}")
    return found


def records(place: Place, member: MemberId, host: HostId) -> set[int]:
    """The numbers of those that the member's disk on the host has; none if there is no disk of it."""
    disk = instance_paths(place.access(host), member).disk
    return {int(number) for number in _RECORD.findall(disk.read_bytes())} if disk.exists() else set()

"""Whether disks are whole: each server writes a numbered record a second into its own, durably, from its start."""

import re

from entourage.drivers.qemu.process import instance_paths
from entourage.lab.place import Place
from entourage.operations.observe import Observation

_RECORD = re.compile(rb"record (\d+) *\n")


def disk_problems(place: Place, seen: Observation) -> list[str]:
    """Of each member that runs and has a disk, which records it should have there and has not."""
    found = []
    for member in place.service.members:
        host = seen.snapshot.placement.get(member.id)
        if not member.disk or host is None:
            continue
        content = instance_paths(place.access(host), member.id).disk.read_bytes()
        numbers = {int(number) for number in _RECORD.findall(content)}
        missing = sorted(set(range(max(numbers, default=0) + 1)) - numbers)
        if missing:
            shown = ", ".join(map(str, missing[:5]))
            found.append(f"{member.id}'s disk on {host} lacks {len(missing)} of its records: {shown}")
    return found

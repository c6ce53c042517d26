"""What members carry, read from the counters of their hosts' devices."""

from contextlib import suppress
from pathlib import Path

from entourage.drivers.qemu.process import instance_paths, running_pid
from entourage.lab import names
from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId


def carried(place: Place, member: MemberId, host: HostId) -> int | None:
    """Bytes that went in and out of the member's first interface since it was made there; None if it is not there."""
    pid = running_pid(instance_paths(place.access(host), member))
    if pid is None:
        return None
    wanted = f"{names.tap(member, 0)}:"
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines():
            name, *counters = line.split()
            if name == wanted:
                return int(counters[0]) + int(counters[8])
    return None

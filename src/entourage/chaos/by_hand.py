"""What somebody else does to a lab: a member migrated by its hypervisor alone, as administrators do.

Entourage's engine, planner and records have no part in it.
"""

import asyncio
import json
import sys
import time

from entourage.lab.errors import LabError
from entourage.lab.place import Place, open_place
from entourage.model.ids import HostId, MemberId, site_of
from entourage.ports.hypervisor import RunState
from entourage.wiring import Wired, wire

_WITHIN_S = 240.0


async def move_by_hand(lab: str, member: MemberId, target: HostId) -> float:
    """Migrate one member, by a process of its own: the QEMU at the target is that one's child, not ours.

    Since when (seconds since the epoch) its copy at the target is the only one. LabError if that process fails.
    """
    words = [sys.executable, "-m", "entourage.chaos.by_hand", lab, member, target]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe)
    said, errors = await asyncio.wait_for(process.communicate(), _WITHIN_S)
    if process.returncode:
        raise LabError(f"{member} was not moved by hand: {errors.decode(errors='replace').strip()[-500:]}")
    return float(json.loads(said)["alone_at"])


async def _migrate(place: Place, member: MemberId, target: HostId) -> float:
    """Migrate one member with QEMU's own migration over QMP, and end its QEMU at the source.

    Its segments are stretched before, as they are wherever hypervisors migrate between sites on their own.
    """
    wired = wire(place)
    try:
        source = await _where(wired, member)
        moved = place.service.member(member)
        for interface in moved.interfaces:
            await wired.segments.stretch(
                place.service, interface.segment, frozenset((site_of(source), site_of(target)))
            )
        await wired.hypervisor.prepare(moved, target, autostart=True)
        await wired.hypervisor.migrate(moved, source=source, target=target, progress=lambda _: None)
        await wired.hypervisor.remove(member, source)
        return time.time()
    finally:
        await wired.close()


async def _where(wired: Wired, member: MemberId) -> HostId:
    for site in wired.place.infrastructure.sites:
        for host in site.hosts:
            if await wired.hypervisor.look(member, host.id) is RunState.RUNNING:
                return host.id
    raise LookupError(f"{member} runs nowhere")


if __name__ == "__main__":
    _lab, _member, _target = sys.argv[1:]
    _alone_at = asyncio.run(_migrate(open_place(_lab), MemberId(_member), HostId(_target)))
    print(json.dumps({"alone_at": _alone_at}))  # noqa: T201

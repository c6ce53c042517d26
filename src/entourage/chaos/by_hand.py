"""What somebody else does to a lab: a member migrated by its hypervisor alone, as administrators do.

Entourage's engine, planner and records have no part in it.
"""

import time
from dataclasses import dataclass

from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId, site_of
from entourage.ports.hypervisor import Migrated, RunState
from entourage.wiring import Wired, wire


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedByHand:
    """A member that was moved. `alone_at` in seconds since the epoch: when its copy at the target was the only one."""

    member: MemberId
    source: HostId
    target: HostId
    migrated: Migrated
    alone_at: float


async def migrate_by_hand(place: Place, member: MemberId, target: HostId) -> MovedByHand:
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
        migrated = await wired.hypervisor.migrate(moved, source=source, target=target, progress=lambda _: None)
        await wired.hypervisor.remove(member, source)
        return MovedByHand(member=member, source=source, target=target, migrated=migrated, alone_at=time.time())
    finally:
        await wired.close()


async def _where(wired: Wired, member: MemberId) -> HostId:
    for site in wired.place.infrastructure.sites:
        for host in site.hosts:
            if await wired.hypervisor.look(member, host.id) is RunState.RUNNING:
                return host.id
    raise LookupError(f"{member} runs nowhere")

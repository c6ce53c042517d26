"""The one place that names concrete drivers: what a lab's parts are driven by."""

from dataclasses import dataclass

from entourage.drivers.frr import FrrIngress
from entourage.drivers.qemu.driver import QemuHypervisor
from entourage.drivers.qemu.guarding import QemuGuard
from entourage.drivers.qemu.replication import QemuReplication
from entourage.drivers.vxlan import VxlanSegments
from entourage.engine.mover import Drivers
from entourage.lab import names
from entourage.lab.edgewatch import EdgeWatch
from entourage.lab.place import Place
from entourage.lab.verify import LabVerifier
from entourage.ports.replication import Replication


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """A lab with drivers for all of its parts. Close it when done; everything it drives goes on."""

    place: Place
    hypervisor: QemuHypervisor
    ingress: FrrIngress
    segments: VxlanSegments
    watch: EdgeWatch
    guard: QemuGuard
    drivers: Drivers

    async def close(self) -> None:
        """Let go of everything."""
        await self.watch.stop()
        await self.hypervisor.close()  # before the guards, which need not break streams that are let go of
        await self.guard.close()
        await self.ingress.close()
        await self.segments.close()
        await self.place.fabric.close()


def replication_of(place: Place) -> Replication:
    """What keeps replicas of the lab's disks. It keeps nothing open, so that there is nothing to close."""
    return QemuReplication(place, QemuHypervisor(place, accel=place.accel), hosts=tuple(place.hosts()))


def wire(place: Place, *, only_look: bool = False) -> Wired:
    """Drivers for the lab. With `only_look` the hypervisor is asked over its spare monitors, beside one who acts."""
    fabric = place.fabric
    hosts = place.hosts()
    hypervisor = QemuHypervisor(place, accel=place.accel, only_look=only_look)
    ingress = FrrIngress(fabric.edge_routers(), near=fabric.regions_near())
    segments = VxlanSegments(fabric.segment_endpoints(), devices=fabric.segment_devices())
    watch = EdgeWatch(place.edge_points())
    guard = QemuGuard(place)
    verifier = LabVerifier(
        users={r.id: fabric.netns_path(names.users(r.id)) for r in place.infrastructure.regions},
        consoles={(m.id, host): place.console(m.id, host) for m in place.service.members for host in hosts},
    )
    drivers = Drivers(
        hypervisor=hypervisor, ingress=ingress, segments=segments, watch=watch, verifier=verifier, guard=guard
    )
    return Wired(
        place=place,
        hypervisor=hypervisor,
        ingress=ingress,
        segments=segments,
        watch=watch,
        guard=guard,
        drivers=drivers,
    )

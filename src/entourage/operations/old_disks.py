"""The disks that sites have put aside when they came back and another site had taken a service over."""

from collections.abc import Mapping
from dataclasses import dataclass

from entourage.drivers.qemu.kept import KeptDisk, kept_disks
from entourage.lab.errors import LabError
from entourage.lab.place import Place
from entourage.model.ids import HostId
from entourage.spec.problems import quote, suggest

ALL = "all"  # no disk's name: those have a host


@dataclass(frozen=True, slots=True, kw_only=True)
class OldDisk:
    """One of them, and the host that has it."""

    host: HostId
    disk: KeptDisk

    @property
    def name(self) -> str:
        """What it is called in its lab."""
        return f"{self.host}/{self.disk.name}"

    def to_json(self, now: float) -> Mapping[str, object]:
        """The disk as `entourage replicas --json` has it; `now` in seconds since 1970."""
        return {
            "name": self.name,
            "member": self.disk.member,
            "host": self.host,
            "epoch": self.disk.epoch,
            "kept_at": self.disk.kept_at,
            "age_s": now - self.disk.kept_at,
            "bytes": self.disk.bytes,
            "path": str(self.disk.path),
        }


def old_disks(place: Place) -> list[OldDisk]:
    """All of the service's members, by host and name."""
    members = {member.id for member in place.service.members}
    return [
        OldDisk(host=host, disk=disk)
        for host in place.hosts()
        for disk in kept_disks(place.access(host).run_dir)
        if disk.member in members
    ]


def discard(place: Place, name: str) -> list[OldDisk]:
    """Remove the one of that name, or `ALL` that the service has; which those were. LabError if none is called so."""
    known = old_disks(place)
    chosen = [each for each in known if name in (ALL, each.name)]
    if not chosen and name != ALL:
        hint = suggest(name, [*(each.name for each in known), ALL])
        raise LabError(f"no old disk of {place.service.id} is called {quote(name)}: {hint}")
    for each in chosen:
        each.disk.path.unlink(missing_ok=True)
    return chosen

"""A member's memory image: the layers that it shares with others, and its own files."""

import shutil
from pathlib import Path

from entourage.lab import layers
from entourage.lab.guests import guest_files
from entourage.lab.setup import lab_root
from entourage.model.world import Member, Service


def write_initrd(service: Service, member: Member, destination: Path) -> None:
    """Write the file that QEMU's `-initrd` takes to boot `member`; raises SetupMissingError without a lab root."""
    boot = lab_root() / "boot"
    with destination.open("wb") as image:
        for layer in (layers.BASE, member.role.value, *((layers.DISK,) if member.disk else ())):
            with (boot / f"{layer}.cpio").open("rb") as part:
                shutil.copyfileobj(part, image)
        files = guest_files(service, member)
        image.write(layers.pack(layers.file_entry(p, f.text.encode(), mode=f.mode) for p, f in files.items()))


def kernel() -> Path:
    """The guests' kernel, for QEMU's `-kernel`; raises SetupMissingError without a lab root."""
    return lab_root() / "boot/kernel"


def kernel_release() -> str:
    """The release of the guests' kernel: "6.1.0-56-amd64"; raises SetupMissingError without a lab root."""
    return (lab_root() / "boot/kernel-release").read_text(encoding="ascii").strip()

"""What a figure was measured on."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from entourage import __version__
from entourage.lab.image import kernel_release
from entourage.lab.setup import lab_root


def machine_json(*, accel: str) -> dict[str, Any]:
    """The machine, and the versions of all that counts. `accel`: what the guests run under ("kvm" or "tcg")."""
    return {
        "entourage": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "qemu": _first_line("/usr/bin/qemu-system-x86_64", "--version"),
        "frr": _first_line("/usr/lib/frr/bgpd", "--version"),
        "guest_kernel": kernel_release(),
        "accel": accel,
        "accel_note": "software emulation: no guest boots under KVM here" if accel != "kvm" else "KVM",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(*command: str) -> str:
    run = subprocess.run(["chroot", str(lab_root()), *command], capture_output=True, text=True, check=False)
    return run.stdout.splitlines()[0] if run.stdout else "unknown"

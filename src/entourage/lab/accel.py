"""Which accelerator guests can really use: /dev/kvm may exist, and even make a machine, yet boot no guest."""

import contextlib
import subprocess
import time
from pathlib import Path

from entourage.lab.image import kernel
from entourage.lab.setup import inside, lab_root

KVM, EMULATION = "kvm", "tcg"
_BOOT_DEADLINE_S = 4.0
_LOOK_AGAIN_S = 0.05


def usable_accel() -> str:
    """ "kvm" if a probe guest's kernel was seen to speak under it, else "tcg". Remembered until the machine reboots.

    Blocks for up to some seconds the first time.
    """
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = lab_root() / "run" / f"accel-{boot_id}"
    with contextlib.suppress(OSError):
        return known.read_text().strip()
    accel = KVM if Path("/dev/kvm").exists() and _boots_under_kvm() else EMULATION
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(accel)
    return accel


def _boots_under_kvm() -> bool:
    root = lab_root()
    console = root / "run" / f"probe-{time.time_ns()}.console"
    arguments = ["chroot", str(root), "/usr/bin/qemu-system-x86_64", "-machine", "pc", "-accel", "kvm", "-cpu", "host"]
    arguments += ["-m", "128M", "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{inside(console)}"]
    arguments += ["-kernel", inside(kernel()), "-append", "console=ttyS0 panic=-1"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(arguments, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        deadline = time.monotonic() + _BOOT_DEADLINE_S
        while time.monotonic() < deadline and process.poll() is None:
            if console.exists() and b"Linux version" in console.read_bytes():
                return True
            time.sleep(_LOOK_AGAIN_S)
        return False
    finally:
        process.kill()
        process.wait()
        console.unlink(missing_ok=True)

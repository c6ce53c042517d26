"""What tests in a real lab need."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fabric_parts import require_lab
from qemu_parts import INIT, LonelyMachines

from entourage.lab import layers
from entourage.lab.accel import usable_accel
from entourage.lab.setup import SetupMissingError, lab_root


@pytest.fixture(scope="session")
def lab_requirements() -> Path:
    """The lab root. Where a lab cannot run: a skip that names what is missing, under CI a failure."""
    return require_lab()


@pytest.fixture(scope="module")
def machines() -> Iterator[LonelyMachines]:
    """Skips where QEMU cannot run, and fails there under CI."""
    missing = "needs root for chroot" if os.geteuid() != 0 else None
    with suppress(SetupMissingError):
        root = lab_root()
        if missing is None:
            with tempfile.TemporaryDirectory(dir=root / "run", prefix="kit-") as made:
                initrd = (root / "boot" / f"{layers.BASE}.cpio").read_bytes()
                (Path(made) / "initrd").write_bytes(
                    initrd + layers.pack([layers.file_entry("/init", INIT, mode=0o755)])
                )
                yield LonelyMachines(directory=Path(made))
            return
    missing = missing or "needs the lab root; run: make setup"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def accel(machines: LonelyMachines) -> str:
    assert machines.directory.is_dir()
    return usable_accel()

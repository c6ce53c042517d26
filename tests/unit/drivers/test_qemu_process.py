"""The processes that are copies of members: found from their first moment to their last."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entourage.drivers.qemu.process import InstancePaths, running_pid
from entourage.ports.conformance.kit import wait_until

_STARTER_THAT_DIES = """
import os, subprocess, sys
from pathlib import Path
from entourage.drivers.qemu import process
from entourage.drivers.qemu.process import HostAccess, InstancePaths

class Dies(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os._exit(0)

process.subprocess.Popen = Dies
folder = Path(sys.argv[1])
access = HostAccess(id="east/h1", netns=None, root=Path("/"), run_dir=folder, address="", version=(10, 0))
paths = InstancePaths(folder / "web")
process.start(["sh", "-c", "sleep 60; :", "qemu", str(paths.monitor)], access=access, paths=paths)
"""


@pytest.fixture
def one_processor() -> Iterator[None]:
    """We and our children have a single processor: who starts a process looks before that one gets far."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(ours)})
    yield
    os.sched_setaffinity(0, ours)


@pytest.mark.usefixtures("one_processor")
def test_a_copy_is_there_from_the_moment_its_process_is_until_it_ends(tmp_path: Path) -> None:
    paths = InstancePaths(tmp_path / "web")
    for _ in range(100):
        with subprocess.Popen(["/bin/cat", "-", "qemu", str(paths.monitor)], stdin=subprocess.PIPE) as process:
            paths.pid.write_text(str(process.pid))
            assert running_pid(paths) == process.pid
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
            assert running_pid(paths) is None


def test_a_process_that_is_no_copy_is_none(tmp_path: Path) -> None:
    paths = InstancePaths(tmp_path / "web")
    assert running_pid(paths) is None
    for pid in ("", "no number", str(os.getpid()), "2"):
        paths.pid.write_text(pid)
        assert running_pid(paths) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="a host's root is entered: needs root")
def test_a_copy_whose_starter_dies_the_moment_it_has_started_it_is_found(tmp_path: Path) -> None:
    paths = InstancePaths(tmp_path / "web")
    subprocess.run([sys.executable, "-c", _STARTER_THAT_DIES, str(tmp_path)], check=True)

    async def found() -> bool:
        return running_pid(paths) is not None

    asyncio.run(wait_until(found, words="the copy is found", deadline_s=60))
    pid = running_pid(paths)
    assert pid is not None
    os.killpg(pid, 9)

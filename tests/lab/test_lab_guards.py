"""A lab has a guard on each host: started, found, missed when it is dead, and gone with the lab."""

import asyncio
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fabric_parts import DEADLINE_S, INFRASTRUCTURE, SERVICE, lab_name, require_lab

from entourage.drivers.qemu.guarding import QemuGuard
from entourage.lab.accel import EMULATION
from entourage.lab.errors import LabError
from entourage.lab.guards import start_guards
from entourage.lab.hosted import Hosted
from entourage.lab.place import Lab, Place
from entourage.model.ids import HostId
from entourage.operations.driving import start_missing_guards
from entourage.operations.switching import Shown
from entourage.ports.conformance.kit import wait_until

pytestmark = pytest.mark.lab

HOSTS = [host.id for site in INFRASTRUCTURE.sites for host in site.hosts]
VICTIM = HOSTS[1]


def pid_of(place: Place, host: HostId) -> int:
    """The guard of that host, as whoever looks for leftovers finds it."""
    words = f"-m entourage.drivers.qemu.guard {place.access(host).run_dir} "
    (line,) = (line for line in place.fabric.leftovers() if words in line)
    return int(line.removeprefix("process ").partition(":")[0])


async def answering(guard: QemuGuard) -> set[HostId]:
    return {host for host in HOSTS if await guard.is_there(host)}


async def story(place: Place) -> None:
    guard = QemuGuard(place)
    try:
        await place.fabric.up()
        assert await answering(guard) == set()
        await start_guards(place, HOSTS)
        assert await answering(guard) == set(HOSTS)
        with pytest.raises(LabError, match="another guard looks after it"):
            await start_guards(place, HOSTS)
        assert await answering(guard) == set(HOSTS)
        os.kill(pid_of(place, VICTIM), signal.SIGKILL)

        async def is_missed() -> bool:
            return await answering(guard) == set(HOSTS) - {VICTIM}

        await wait_until(is_missed, words="the dead guard is missed", deadline_s=DEADLINE_S)
        phases: list[str] = []
        wired: Any = SimpleNamespace(place=place, guard=guard)
        for _ in range(2):  # the second time there is nothing to do
            await start_missing_guards(wired, Shown(progress=lambda _: None, phase=phases.append))
            assert await answering(guard) == set(HOSTS)
        assert phases == [f"starting the guard on {VICTIM}, which was dead"]
        await place.fabric.down()
        assert await answering(guard) == set()
        assert place.fabric.leftovers() == []
    finally:
        await guard.close()
        await place.fabric.down()


def test_a_lab_has_a_guard_on_each_host_and_a_dead_one_is_missed() -> None:
    assert isinstance(require_lab(), Path)
    lab = Lab(lab_name("g"), infrastructure=INFRASTRUCTURE, accel=EMULATION)
    place = Place(lab, Hosted(service=SERVICE, number=0))
    asyncio.run(story(place))

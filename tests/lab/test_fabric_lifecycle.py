"""The lab's network comes whole or not at all, and goes without a trace."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fabric_parts import INFRASTRUCTURE, SERVICE, lab_name, require_lab

from entourage.drivers.netns import RUN_DIR
from entourage.lab import names
from entourage.lab.errors import BusyError, LabError
from entourage.lab.fabric import Fabric
from entourage.model.ids import HostId

pytestmark = pytest.mark.lab

_UP_UNTIL_ROUTERS = """
import asyncio, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from fabric_parts import INFRASTRUCTURE, SERVICE
from entourage.lab.fabric import Fabric

def progress(what, done, total):
    if what == sys.argv[4]:
        print("here", flush=True)
        sys.stdin.read()

asyncio.run(Fabric(sys.argv[1], INFRASTRUCTURE, SERVICE, root=Path(sys.argv[2])).up(progress))
"""


@pytest.fixture
def root() -> Path:
    return require_lab()


@pytest.fixture
def fabric(root: Path) -> Iterator[Fabric]:
    fabric = Fabric(lab_name("l"), INFRASTRUCTURE, SERVICE, root=root)
    yield fabric
    asyncio.run(fabric.down())


def test_down_leaves_nothing_and_ends_what_was_started_inside(fabric: Fabric) -> None:
    asyncio.run(fabric.up())
    host = fabric.netns_path(names.host(HostId("east/h1")))
    with subprocess.Popen(["nsenter", f"--net={host}", "sleep", "infinity"]) as guest:
        found = fabric.leftovers()
        assert any("bgpd" in line for line in found)
        asyncio.run(fabric.down())
        assert guest.wait() == -signal.SIGKILL
    assert fabric.leftovers() == []
    assert not fabric.run_dir().exists()
    asyncio.run(fabric.down())


def test_ups_and_downs_leave_no_mount_behind(fabric: Fabric) -> None:
    asyncio.run(fabric.up())
    asyncio.run(fabric.down())
    assert binds_of_run_dir() == 1
    asyncio.run(fabric.up())
    asyncio.run(fabric.down())
    assert binds_of_run_dir() == 1


def binds_of_run_dir() -> int:
    """How often /run/netns is bound to itself: once, as `ip netns` does; each bind more would double the next."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines].count(str(RUN_DIR))


def test_up_twice_is_refused_and_the_lab_stays_as_it_is(fabric: Fabric) -> None:
    asyncio.run(fabric.up())
    before = fabric.leftovers()
    with pytest.raises(LabError, match="take it down first"):
        asyncio.run(fabric.up())
    assert fabric.leftovers() == before
    assert asyncio.run(fabric.status()).is_up


@pytest.mark.parametrize("moment", ["relay", "sites", "routers", "routes"])
def test_a_lab_whose_maker_was_killed_is_refused_by_up_and_removed_by_down(
    fabric: Fabric, root: Path, moment: str
) -> None:
    command = [sys.executable, "-c", _UP_UNTIL_ROUTERS]
    lab = fabric.run_dir().name
    arguments = [lab, str(root), str(Path(__file__).parent), moment]
    with subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"here\n"
        with pytest.raises(LabError, match="by another process"):
            asyncio.run(fabric.up())
        with pytest.raises(LabError, match="by another process"):
            asyncio.run(fabric.down())
        os.kill(maker.pid, signal.SIGKILL)
    assert fabric.leftovers() != []
    with pytest.raises(LabError, match="take it down first"):
        asyncio.run(fabric.up())
    asyncio.run(fabric.down())
    assert fabric.leftovers() == []


def test_two_labs_whose_names_begin_alike_do_not_touch_each_other(root: Path) -> None:
    one, other = (Fabric(lab_name(end), INFRASTRUCTURE, SERVICE, root=root) for end in ("t", "t-2"))

    async def both() -> None:
        await asyncio.gather(one.up(), other.up())
        try:
            await one.down()
            assert one.leftovers() == []
            assert (await other.status()).is_up
        finally:
            await asyncio.gather(one.down(), other.down())

    asyncio.run(both())
    assert other.leftovers() == []


def test_of_two_ups_at_once_one_is_refused(fabric: Fabric) -> None:
    async def both() -> list[BaseException | None]:
        return list(await asyncio.gather(fabric.up(), fabric.up(), return_exceptions=True))

    refused = [outcome for outcome in asyncio.run(both()) if outcome is not None]
    assert [type(outcome) for outcome in refused] == [BusyError]
    assert asyncio.run(fabric.status()).is_up


def test_an_up_that_fails_half_way_takes_everything_down_again(tmp_path: Path) -> None:
    require_lab()
    fabric = Fabric(lab_name("f"), INFRASTRUCTURE, SERVICE, root=tmp_path)
    with pytest.raises(LabError, match="zebra did not start"):
        asyncio.run(fabric.up())
    assert fabric.leftovers() == []
    assert list((tmp_path / "run").iterdir()) == []


def test_an_up_that_is_cancelled_takes_everything_down_again(fabric: Fabric) -> None:
    async def story() -> None:
        at_routers = asyncio.Event()

        def progress(what: str, _done: int, _total: int) -> None:
            if what == "routers":
                at_routers.set()

        rising = asyncio.create_task(fabric.up(progress))
        await at_routers.wait()
        rising.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rising

    asyncio.run(story())
    assert fabric.leftovers() == []

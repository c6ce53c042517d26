"""The lab's network with real namespaces, routers and relay: what it does while it is up."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any

import pytest
from fabric_parts import (
    DEADLINE_S,
    INFRASTRUCTURE,
    SERVICE,
    FakeMember,
    User,
    ingress_of,
    lab_name,
    members,
    require_lab,
    segments_of,
)

from entourage.drivers.frr import FrrIngress
from entourage.drivers.netns import Kernel, Namespace, NetworkError
from entourage.lab import names
from entourage.lab.errors import LabError
from entourage.lab.fabric import Fabric
from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, SiteId
from entourage.ports.conformance import IngressConformance, SegmentsConformance, run_check
from entourage.ports.errors import TemporaryError
from entourage.ports.ingress import Announcement, IngressState

pytestmark = pytest.mark.lab

EAST, WEST = SiteId("east"), SiteId("west")
NEAR_EAST, NEAR_WEST = RegionId("users-east"), RegionId("users-west")
BOTH = frozenset({EAST, WEST})
INSIDE, TRANSIT = SegmentId("inside"), SegmentId("transit")
INTER_SITE = names.inter_site(EAST, WEST)


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    fabric = Fabric(lab_name("n"), INFRASTRUCTURE, SERVICE, root=require_lab())

    async def up() -> None:
        await fabric.up()
        await fabric.join()

    asyncio.run(up())
    yield fabric
    asyncio.run(fabric.down())


def in_loop(test: Callable[[Fabric], Coroutine[Any, Any, None]]) -> Callable[[Fabric], None]:
    """A test that is a coroutine."""

    @wraps(test)
    def run(fabric: Fabric) -> None:
        asyncio.run(test(fabric))

    return run


@pytest.mark.parametrize("name", IngressConformance.checks())
def test_frr_ingress_conforms(fabric: Fabric, name: str) -> None:
    async def run() -> bool:
        async with ingress_of(fabric) as driver:
            return await run_check(IngressConformance(driver, service=SERVICE, source=EAST, target=WEST), name)

    assert asyncio.run(run())


@pytest.mark.parametrize("name", SegmentsConformance.checks())
def test_vxlan_segments_conform(fabric: Fabric, name: str) -> None:
    async def run() -> bool:
        async with segments_of(fabric) as driver:
            return await run_check(SegmentsConformance(driver, service=SERVICE, sites=BOTH), name)

    assert asyncio.run(run())


def routers(fabric: Fabric) -> tuple[FakeMember, FakeMember]:
    """A router at each site, as it is in the moment of a switch; the second hosts, so that packets pass VXLAN."""
    east, west = (FakeMember(fabric, HostId(f"{s}/h2"), MemberId("rt"), segment=TRANSIT) for s in (EAST, WEST))
    return east, west


async def only_active_at(ingress: FrrIngress, site: SiteId) -> None:
    for other in BOTH - {site}:
        await ingress.withdraw(SERVICE, other)
    for at in BOTH:
        await ingress.untunnel(SERVICE, source=at)
    await ingress.activate(SERVICE, site)


@in_loop
async def test_everything_is_there_and_every_bgp_session_stands(fabric: Fabric) -> None:
    status = await fabric.status()
    assert status.missing == ()
    assert set(status.sessions) == {"edge-east", "edge-west", "pop-east", "pop-west"}
    assert status.is_up


@in_loop
async def test_a_flip_moves_the_users_of_both_regions_to_the_other_site(fabric: Fabric) -> None:
    east, west = routers(fabric)
    users = [User(fabric, NEAR_EAST), User(fabric, NEAR_WEST)]
    async with members(east, west), ingress_of(fabric) as ingress:
        await only_active_at(ingress, EAST)
        await ingress.stage(SERVICE, WEST)
        for user in users:
            await user.wait_answer(east.label)
        assert await ingress.best_site(SERVICE) == {NEAR_EAST: EAST, NEAR_WEST: EAST}
        await ingress.flip(SERVICE, WEST)
        assert (await ingress.observe(SERVICE)) == {
            EAST: IngressState(announcement=Announcement.ACTIVE),
            WEST: IngressState(announcement=Announcement.PREFERRED),
        }
        for user in users:
            await user.wait_answer(west.label)
        await ingress.withdraw(SERVICE, EAST)
        await ingress.activate(SERVICE, WEST)
        assert await ingress.best_site(SERVICE) == {NEAR_EAST: WEST, NEAR_WEST: WEST}
        assert [await user.answer() for user in users] == [west.label] * 2
    for user in users:
        user.close()


@in_loop
async def test_late_packets_reach_the_other_site_by_the_tunnel_from_its_return_on(fabric: Fabric) -> None:
    east, west = routers(fabric)
    user = User(fabric, NEAR_EAST)
    async with members(east, west), ingress_of(fabric) as ingress:
        await only_active_at(ingress, EAST)
        await user.wait_answer(east.label)
        before = await fabric.relay_counters()
        await ingress.tunnel(SERVICE, source=EAST, target=WEST)
        assert await user.answer() == west.label
        after = await fabric.relay_counters()
        await ingress.untunnel(SERVICE, source=EAST)
        assert await user.answer() == east.label
    user.close()
    late = [counters[INTER_SITE]["a_to_b"]["classes"]["late"] for counters in (before, after)]
    assert late[1] > late[0]


@in_loop
async def test_a_stretched_segment_joins_hosts_of_two_sites_and_unstretched_separates_them(fabric: Fabric) -> None:
    one = FakeMember(fabric, HostId("east/h1"), MemberId("web1"), segment=INSIDE)
    other = FakeMember(fabric, HostId("west/h2"), MemberId("web2"), segment=INSIDE)
    async with members(one, other), segments_of(fabric) as segments:
        assert not await one.reaches(other)
        for _ in range(2):
            await segments.stretch(SERVICE, INSIDE, BOTH)
        assert await segments.observe(SERVICE) == {INSIDE: BOTH}
        assert await one.reaches(other)
        for _ in range(2):
            await segments.unstretch(SERVICE, INSIDE)
        assert await segments.observe(SERVICE) == {}
        assert await learned_elsewhere(fabric) == []
        await one.unplug()
        await one.plug()
        assert not await one.reaches(other)


async def learned_elsewhere(fabric: Fabric) -> list[str]:
    """What east's first host still knows of hosts at other sites."""
    device = fabric.segment_devices()[INSIDE]
    space = Namespace(fabric.netns_path(names.host(HostId("east/h1"))))
    entries = await space.do(lambda kernel: kernel.forwarding(device))
    space.close()
    return [e.mac for e in entries if e.peer != fabric.underlay_address(HostId("east/h2"))]


@in_loop
async def test_hosts_of_one_site_share_a_segment_without_stretching(fabric: Fabric) -> None:
    one = FakeMember(fabric, HostId("east/h1"), MemberId("web1"), segment=INSIDE)
    other = FakeMember(fabric, HostId("east/h2"), MemberId("web2"), segment=INSIDE)
    async with members(one, other):
        assert await one.reaches(other)


@in_loop
async def test_a_tap_is_plugged_into_its_segment_once_and_removed(fabric: Fabric) -> None:
    host, member = HostId("west/h1"), SERVICE.member(MemberId("web1"))
    space = Namespace(fabric.netns_path(names.host(host)))
    await fabric.add_tap(host, member, member.interfaces[0], ifname="t0-web1")
    assert "t0-web1" in await space.do(Kernel.devices)
    with pytest.raises(NetworkError, match="a device 't0-web1' already"):
        await fabric.add_tap(host, member, member.interfaces[0], ifname="t0-web1")
    for _ in range(2):
        await fabric.remove_tap(host, ifname="t0-web1")
    assert "t0-web1" not in await space.do(Kernel.devices)
    await fabric.close()
    space.close()


@in_loop
async def test_a_link_of_a_lab_that_is_up_can_be_shaped_anew(fabric: Fabric) -> None:
    link = INFRASTRUCTURE.links[0]
    await fabric.shape(INTER_SITE, rtt=link.rtt, rate=link.rate, loss=1.0)
    one, other = routers(fabric)
    user = User(fabric, NEAR_EAST)
    async with members(one, other), ingress_of(fabric) as ingress:
        await only_active_at(ingress, EAST)
        await user.wait_answer(one.label)
        await ingress.tunnel(SERVICE, source=EAST, target=WEST)
        asking = asyncio.create_task(user.answer())
        async with asyncio.timeout(DEADLINE_S):
            while (await fabric.relay_counters())[INTER_SITE]["a_to_b"]["dropped_loss"] == 0:
                pass
        asking.cancel()
        await fabric.shape(INTER_SITE, rtt=link.rtt, rate=link.rate, loss=link.loss)
        assert await user.answer() == other.label
        await ingress.untunnel(SERVICE, source=EAST)
    user.close()
    with pytest.raises(LabError, match="nowhere"):
        await fabric.shape("nowhere", rtt=1, rate=1e6, loss=0)


@in_loop
async def test_a_router_that_is_not_there_is_a_temporary_error(fabric: Fabric) -> None:
    absent = Fabric(lab_name("x"), INFRASTRUCTURE, SERVICE, root=require_lab())
    async with ingress_of(absent) as ingress:
        with pytest.raises(TemporaryError, match="edge-east: its daemon does not run"):
            await ingress.stage(SERVICE, EAST)
    with pytest.raises(LabError, match="is the lab up"):
        await absent.relay_counters()
    assert not (await absent.status()).is_up
    assert (await fabric.status()).is_up

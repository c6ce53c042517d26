"""A lab's agents: what they tell and do when links are cut and a site dies. No guests: members are bare emulators."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fabric_parts import DEADLINE_S, INFRASTRUCTURE, SERVICE, ingress_of, lab_name, require_lab

from entourage.chaos.sites import cut_link, heal_link, kill_site, revive_site
from entourage.drivers.qemu.kept import kept_disks
from entourage.drivers.qemu.monitor import Monitor
from entourage.drivers.qemu.process import InstancePaths, instance_paths, running_pid, start
from entourage.drivers.quorum.client import connect
from entourage.drivers.vty import Vty
from entourage.lab import names
from entourage.lab.accel import EMULATION
from entourage.lab.agents import agents, client, directory_of, start_agent, start_agents
from entourage.lab.errors import LabError
from entourage.lab.hosted import Hosted
from entourage.lab.kept import ServiceText
from entourage.lab.place import Lab, Place
from entourage.lab.topology import ENTERPRISE_AS
from entourage.model.ids import HostId, MemberId, ServiceId, SiteId
from entourage.operations.quorum import look_at_quorum
from entourage.ports.conformance.kit import wait_until
from entourage.ports.ingress import Announcement
from entourage.quorum import WITNESS, AgentId, Terms
from entourage.quorum.types import agent_of

pytestmark = pytest.mark.lab

EAST, WEST = SiteId("east"), SiteId("west")
LINK, BACKBONE = "inter-site:east-west", "backbone:east-west"
SERVICES = (SERVICE.id,)


def in_lab(story: Callable[[Place], Awaitable[None]]) -> Callable[[], None]:
    """The test with a network and agents, taken down afterwards."""

    def test() -> None:
        assert isinstance(require_lab(), Path)
        asyncio.run(_in_lab(story))

    test.__name__ = story.__name__
    test.__doc__ = story.__doc__
    return test


async def _in_lab(story: Callable[[Place], Awaitable[None]]) -> None:
    lab = Lab(lab_name("q"), infrastructure=INFRASTRUCTURE, accel=EMULATION)
    place = lab.new_place(Hosted(service=SERVICE, number=0), ServiceText(file="", text=""))
    try:
        await place.fabric.up()
        await place.fabric.join()
        place.keep(is_whole=True)
        await start_agents(place)
        for site in (EAST, WEST):
            await until(place, site, lambda told: told["right"], words=f"{site} has its right")
        await story(place)
    finally:
        await place.fabric.down()
    assert place.fabric.leftovers() == []


async def status(place: Place, agent: AgentId) -> dict[str, Any]:
    return await client(place, agent).status()


async def until(place: Place, site: SiteId | AgentId, holds: Callable[[dict[str, Any]], bool], *, words: str) -> None:
    async def condition() -> bool:
        return holds(await status(place, AgentId(site)))

    await wait_until(condition, words=words, deadline_s=DEADLINE_S)


def notes(place: Place, agent: AgentId, *, of: str = "agent") -> list[dict[str, Any]]:
    """What an agent, or its warden, has noted."""
    text = (directory_of(place, agent) / f"{of}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def noted_at(place: Place, agent: AgentId, what: str, *, of: str = "agent", about: str | None = None) -> float:
    """When it noted that last, by its clock, which all clocks of this machine share."""
    return float([n for n in notes(place, agent, of=of) if n["what"] == what and n.get("of") == about][-1]["at"])


async def takeover_of_east(place: Place, services: Sequence[ServiceId] = SERVICES) -> dict[str, Any]:
    """West's takeover of east, asked for until it is won."""
    answer: dict[str, Any] = {}

    async def won() -> bool:
        nonlocal answer
        answer = await client(place, agent_of(WEST)).take_over(EAST, services)
        return "won" in answer

    await wait_until(won, words="west may act for east", deadline_s=DEADLINE_S)
    takeover: dict[str, Any] = answer["won"]
    return takeover


@asynccontextmanager
async def member(place: Place, host: HostId, name: str = "web1") -> AsyncIterator[InstancePaths]:
    """A bare emulator on that host, with its monitors: as a member is, but for its guest."""
    access = place.access(host)
    paths = instance_paths(access, MemberId(name))
    words = ["/usr/bin/qemu-system-x86_64", "-name", name, "-accel", "tcg", "-m", "16M"]
    words += ["-nodefaults", "-no-user-config", "-display", "none"]
    for monitor in paths.monitors:
        words += ["-qmp", f"unix:{access.inside(monitor)},server=on,wait=off"]
    child = start(words, access=access, paths=paths)

    async def answers() -> bool:
        return paths.fence_monitor.exists()

    await wait_until(answers, words="the emulator listens", deadline_s=DEADLINE_S)
    try:
        yield paths
    finally:
        child.kill()
        child.wait()


@asynccontextmanager
async def announced_besides(place: Place, site: SiteId) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Let the site's edge announce one more prefix; whether it does."""
    vty = Vty(place.run_dir / names.edge(site) / "bgpd.vty")
    statement = "network 198.51.100.0/24"
    try:
        await vty.configure([f"router bgp {ENTERPRISE_AS}", "address-family ipv4 unicast", statement])

        async def is_announced() -> bool:
            return statement in await vty.show("show running-config")

        assert await is_announced()
        yield is_announced
    finally:
        await vty.close()


async def is_running(paths: InstancePaths) -> bool:
    monitor = Monitor(name="web1", socket=paths.spare_monitor)
    await monitor.connect()
    try:
        return bool((await monitor.execute("query-status"))["running"])
    finally:
        await monitor.close()


@in_lab
async def test_a_cut_link_alone_moves_nothing_and_both_sites_go_on(place: Place) -> None:
    for link in (LINK, BACKBONE):
        await cut_link(place, link)

    def hears_no_more(told: dict[str, Any]) -> bool:
        heard = told["sites"][EAST]["seen"][WEST]["heard_s"]
        return heard is not None and heard > Terms().silence + 1

    await until(place, WEST, hears_no_more, words="west does not hear east for longer than a takeover needs")
    for agent in agents(place):
        told = await status(place, agent)
        assert {site: about["condition"] for site, about in told["sites"].items()} == {EAST: "up", WEST: "up"}
        assert told["right"] == (agent != WITNESS)
    answer = await client(place, agent_of(WEST)).take_over(EAST, SERVICES)
    assert "the witness heard east" in answer["refused"][0]
    await heal_link(place, LINK)
    with pytest.raises(LabError, match="there are inter-site:east-west, backbone:east-west"):
        await cut_link(place, "nowhere")


@in_lab
async def test_a_site_that_dies_is_lost_and_comes_back_without_what_it_ran(place: Place) -> None:
    host = HostId("east/h1")
    async with member(place, host) as paths:
        # What it had when it died is there again when its power is: as if a host had started it by itself.
        await kill_site(place, EAST)
        assert running_pid(paths) is None
    takeover = await takeover_of_east(place)
    assert (takeover["lost"], takeover["epoch"], takeover["by"]) == (EAST, 1, WEST)

    async def is_noted() -> bool:
        return any((each["what"], each.get("of")) == ("lost", EAST) for each in notes(place, agent_of(WEST)))

    await wait_until(is_noted, words="west notes that east is lost", deadline_s=DEADLINE_S)
    lost = next(each for each in notes(place, agent_of(WEST)) if (each["what"], each.get("of")) == ("lost", EAST))
    print(f"lost {lost['heard_s']:.2f} s after its last heartbeat by west's clock")
    assert (await look_at_quorum(place)).told[agent_of(EAST)] is None
    again = await takeover_of_east(place, [ServiceId("mail")])  # another one, which nothing runs of
    assert (again["epoch"], again["services"]) == (2, [*SERVICES, "mail"])
    async with member(place, host) as paths:
        paths.disk.write_text("newer than its replica")
        await revive_site(place, EAST)
        await until(place, EAST, lambda told: told["right"], words="east is told, removes, and has its right again")
        assert running_pid(paths) is None
    (kept,) = kept_disks(place.access(host).run_dir)
    assert (kept.member, kept.epoch, kept.path.read_text()) == ("web1", 2, "newer than its replica")
    assert noted_at(place, agent_of(EAST), "removed") < noted_at(place, agent_of(EAST), "held", about="own right")
    await until(place, WEST, lambda told: told["sites"][EAST]["epoch"] == 2, words="west knows that east has removed")
    told = await status(place, agent_of(WEST))
    assert [each["lost"] for each in told["may_start"]] == [EAST]
    await client(place, agent_of(WEST)).settled(EAST, epoch=2)
    assert (await status(place, agent_of(WEST)))["won"] == []


@in_lab
async def test_an_isolated_site_stands_still_before_the_other_may_act_and_goes_on_with_what_it_left(
    place: Place,
) -> None:
    host = HostId("east/h1")
    async with (
        member(place, host) as paths,
        member(place, host, "db1") as left,
        ingress_of(place.fabric) as ingress,
        announced_besides(place, EAST) as is_announced,
    ):
        await ingress.activate(SERVICE, EAST)
        assert await is_running(paths)
        for link in (LINK, BACKBONE, "witness:east"):
            await cut_link(place, link)
        await takeover_of_east(place)
        fenced, won = noted_at(place, agent_of(EAST), "fenced", of="warden"), noted_at(place, agent_of(WEST), "won")
        print(f"fenced {won - fenced:.2f} s before the other had the right to act")
        assert fenced < won
        assert not await is_running(paths)
        assert not await is_running(left)
        assert not await is_announced()

        async def is_withdrawn() -> bool:
            return (await ingress.observe(SERVICE))[EAST].announcement is Announcement.ABSENT

        await wait_until(is_withdrawn, words="east announces no more", deadline_s=DEADLINE_S)
        for link in (LINK, BACKBONE, "witness:east"):
            await heal_link(place, link)
        await until(place, EAST, lambda told: told["right"], words="east has removed what it had")
        assert running_pid(paths) is None

        async def goes_on() -> bool:
            return await is_running(left) and await is_announced()

        await wait_until(goes_on, words="what was not taken over runs and is announced", deadline_s=DEADLINE_S)
        assert await is_withdrawn()


@in_lab
async def test_a_site_whose_agent_and_warden_are_dead_is_fenced_and_goes_on_with_a_new_agent(place: Place) -> None:
    async with member(place, HostId("east/h2")) as paths, ingress_of(place.fabric) as ingress:
        await ingress.activate(SERVICE, EAST)
        _, warden = await connect(directory_of(place, agent_of(EAST)) / "warden.sock")
        credentials = warden.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        warden.close()
        (line,) = (each for each in place.fabric.leftovers() if "quorum.agent" in each and "agent-east/" in each)
        os.kill(int(line.removeprefix("process ").partition(":")[0]), signal.SIGKILL)
        os.kill(int.from_bytes(credentials[:4], sys.byteorder), signal.SIGKILL)

        async def stands_still() -> bool:
            return not await is_running(paths)

        await wait_until(stands_still, words="the warden that stood by fences alone", deadline_s=DEADLINE_S)
        other = Monitor(name="web1", socket=paths.monitor)  # as a guard would, which does not know
        await other.connect()
        await other.execute("cont")
        await wait_until(stands_still, words="it is stopped again", deadline_s=DEADLINE_S)
        await other.close()
        await asyncio.to_thread(start_agent, place, agent_of(EAST))

        async def goes_on() -> bool:
            state = (await ingress.observe(SERVICE))[EAST]
            return await is_running(paths) and state.announcement is Announcement.ACTIVE

        await wait_until(goes_on, words="it runs and is announced as before", deadline_s=DEADLINE_S)
        assert (await status(place, agent_of(EAST)))["start"] == 2

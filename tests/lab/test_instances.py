"""Services with the same inner addresses beside each other in a lab: made, isolated, one moved, and taken away.

Three of them; ENTOURAGE_TEST_SERVICES=10 tries ten.
"""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fabric_parts import lab_name
from whole_lab import WITHIN_S, Entourage

from entourage.drivers.netns import Kernel, Namespace
from entourage.drivers.qemu.process import instance_paths, running_pid
from entourage.lab import names
from entourage.lab.leftovers import command_of, leftovers, namespaces, processes_in
from entourage.lab.place import Place, open_lab, open_place
from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, ServiceId, SiteId
from entourage.operations.examples import example
from entourage.spec import parse_catalogue, parse_infrastructure

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

LAB = lab_name("i")
SERVICES = [f"s{number}" for number in range(int(os.environ.get("ENTOURAGE_TEST_SERVICES", "3")))]
FIRST, SECOND, *_ = SERVICES
SITES = example("sites.yaml").read_text().replace("memory: 2 GiB, cpu: 2", "memory: 8 GiB, cpu: 8")
CATALOGUE = example("catalogue.yaml")
EAST, WEST, EAST_2 = HostId("east/h1"), HostId("west/h1"), HostId("east/h2")
INSIDE = SegmentId("inside")
_ETH_P_EXPERIMENT = 0x88B5  # IEEE Std 802, local experiments
_MARK = b"a frame that belongs to one service"


@pytest.fixture(scope="module")
def entourage(lab_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entourage]:
    """With a lab of one small service."""
    folder = tmp_path_factory.mktemp("instances")
    (folder / "sites.yaml").write_text(SITES)
    infrastructure = parse_infrastructure(SITES, file="sites.yaml")
    catalogue = parse_catalogue(CATALOGUE.read_text(), file="catalogue.yaml", infrastructure=infrastructure)
    first = catalogue.instance("small", service=ServiceId(FIRST), site=SiteId("east"), prefixes_taken=[])
    (folder / "first.yaml").write_text(first)
    command = Entourage(folder, lab=LAB)
    command("lab", "down")
    specs = ("--sites", "sites.yaml", "--service", "first.yaml", "--catalogue", str(CATALOGUE))
    command.json("lab", "up", *specs, "--rtt", "10 ms", "--rate", "500 Mbit/s")
    yield command
    command("lab", "down")
    assert leftovers(LAB, root=lab_requirements) == []


@pytest.fixture(scope="module")
def services(entourage: Entourage) -> list[str]:
    """All of them, made one after another."""
    for name in SERVICES[1:]:
        made = entourage.json("create", name, "--from", "small", "--at", "east")
        assert set(made["placement"]) == {f"{name}-rt", f"{name}-web"}
        assert made["oddities"] == []
    return SERVICES


def inventory() -> dict[str, set[str]]:
    """Everything of the lab that a service could leave behind: by the node or the kind of thing, what is there."""
    lab = open_lab(LAB)
    spaces = namespaces(LAB)
    found = {"namespaces": {path.name for path in spaces}, "services": {str(kept.id) for kept in lab.services}}
    found["guests"] = {words for pid in processes_in(spaces) if "qemu-system" in (words := command_of(pid))}
    files = (path for path in lab.run_dir.rglob("*") if not path.name.startswith("moves.sqlite"))
    found["files"] = {str(path.relative_to(lab.run_dir)) for path in files}
    for path in spaces:
        links = output_of("nsenter", f"--net={path}", "ip", "-o", "link")
        found[f"{path.name} devices"] = {line.split()[1] for line in links}
        routes = output_of("nsenter", f"--net={path}", "ip", "route")
        found[f"{path.name} routes"] = {line for line in routes if "proto bgp" not in line}
    return found


def output_of(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def routers_know(text: str) -> list[str]:
    """The routers whose configuration, or whose table of routes, has this in it."""
    lab = open_lab(LAB)
    routers = [name for site in lab.infrastructure.sites for name in (names.edge(site.id), names.pop(site.id))]

    async def ask() -> list[str]:
        found = []
        for router in routers:
            vty = lab.fabric.router(router)
            told = await vty.show("show running-config") + await vty.show("show bgp ipv4 unicast")
            await vty.close()
            found += [router] if text in told else []
        return found

    return asyncio.run(ask())


async def answers(place: Place, service: str, region: str = "users-west") -> str:
    """Who answers a request of a user in that region."""
    space = Namespace(place.fabric.netns_path(names.users(RegionId(region))))
    address = str(place.place(service).service.address)

    def get(_: Kernel) -> str:
        connection = http.client.HTTPConnection(address, 80, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    try:
        return await space.do(get)
    finally:
        space.close()


def test_every_prefix_is_answered_by_its_own_service_and_nobody_elses(services: list[str]) -> None:
    lab = open_place(LAB, service=FIRST)
    inner = {(m.interfaces, kept.hosted.service.segments) for kept in lab.services for m in kept.hosted.service.members}
    assert len(inner) == 2  # the same addresses and MACs in all of them: one router, one server

    async def all_answers() -> dict[tuple[str, str], str]:
        regions = ("users-east", "users-west")
        return {(name, region): await answers(lab, name, region) for name in services for region in regions}

    told = asyncio.run(all_answers())
    assert told == {(name, region): f"{name} at {name}-web\n" for name, region in told}
    assert len(told) == 2 * len(services)


def test_a_name_that_is_taken_is_refused_and_who_has_it_stays(entourage: Entourage, services: list[str]) -> None:
    again = entourage("create", FIRST, "--from", "small", "--at", "west")
    assert (again.returncode, f"there is a service {FIRST} already" in again.stderr) == (1, True)
    assert asyncio.run(answers(open_place(LAB, service=FIRST), FIRST)) == f"{FIRST} at {FIRST}-web\n"
    assert entourage.json("status", FIRST)["oddities"] == []


def test_a_frame_inside_one_service_is_seen_in_its_own_segment_alone(services: list[str]) -> None:
    lab = open_place(LAB, service=FIRST)

    async def story() -> list[tuple[str, str]]:
        listening: list[tuple[str, str, socket.socket]] = []
        spaces = {host: Namespace(lab.fabric.netns_path(names.host(host))) for host in (EAST, EAST_2)}
        try:
            for kept in lab.services:
                for host, space in spaces.items():
                    bridge = kept.hosted.bridge(INSIDE)
                    listening.append((kept.id, host, await space.do(partial(packet_socket, device=bridge))))
            sender = await spaces[EAST].do(partial(packet_socket, device=lab.fabric.segment_bridge(INSIDE)))
            with sender:
                sender.send(b"\xff" * 6 + b"\x02\0\0\0\0\x01" + _ETH_P_EXPERIMENT.to_bytes(2, "big") + _MARK)
            (own,) = (tap for service, host, tap in listening if (service, host) == (FIRST, EAST_2))
            await asyncio.to_thread(own.recv, 100, socket.MSG_PEEK)  # it has arrived where it has to
            return [(service, host) for service, host, tap in listening if has_frame(tap)]
        finally:
            for _, _, tap in listening:
                tap.close()
            for space in spaces.values():
                space.close()

    assert set(asyncio.run(story())) <= {(FIRST, EAST), (FIRST, EAST_2)}


def packet_socket(_: Kernel, *, device: str) -> socket.socket:
    """A socket for experiments' frames on a device."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_EXPERIMENT))
    made.bind((device, _ETH_P_EXPERIMENT))
    made.settimeout(WITHIN_S)
    return made


def has_frame(tap: socket.socket) -> bool:
    try:
        tap.setblocking(False)
        return _MARK in tap.recv(200)
    except BlockingIOError:
        return False


def pids(place: Place, host: HostId) -> dict[str, int | None]:
    """The processes of all services' members on a host."""
    members = [member.id for kept in place.services for member in kept.hosted.service.members]
    return {member: running_pid(instance_paths(place.access(host), member)) for member in members}


async def heard_until_ended(place: Place, services: list[str], process: subprocess.Popen[str]) -> set[str]:
    """Who answers users of these services as long as a process runs."""
    heard: set[str] = set()
    while process.poll() is None:
        heard |= {await answers(place, name) for name in services}
    return heard


def test_one_is_moved_and_the_others_do_not_notice(entourage: Entourage, services: list[str]) -> None:
    place = open_place(LAB, service=SECOND)
    others = [name for name in services if name != SECOND]
    before = pids(place, EAST)
    with entourage.begin("move", SECOND, "--to", "west", "--sessions", "0", "--hold") as moving:
        assert moving.stdout is not None
        assert any("waiting" in line for line in moving.stdout)
        refused = entourage("delete", FIRST)
        (move, *_) = entourage.json("moves")["moves"]
        with entourage.begin("commit", move["move"]) as committing:
            heard = asyncio.run(heard_until_ended(place, others, committing))
            said, _ = committing.communicate(timeout=WITHIN_S)
            assert committing.returncode == 0, said
        said, _ = moving.communicate(timeout=WITHIN_S)
    assert moving.returncode == 0, said
    assert (refused.returncode, "a move is under way" in refused.stderr) == (1, True)
    assert heard == {f"{name} at {name}-web\n" for name in others}
    after = pids(place, EAST)
    assert {m for m in after if after[m] != before[m]} == {f"{SECOND}-rt", f"{SECOND}-web"}
    assert None not in [pids(place, WEST)[f"{SECOND}-{member}"] for member in ("rt", "web")]
    seen = {each["service"]: each for each in entourage.json("status")["services"]}
    assert [name for name in services if seen[name]["oddities"]] == []
    where = {name: set(seen[name]["ingress"].values()) for name in services}
    assert where == {name: {"west" if name == SECOND else "east"} for name in services}
    assert asyncio.run(answers(place, SECOND)) == f"{SECOND} at {SECOND}-web\n"


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_create_that_does_not_come_to_its_end(
    entourage: Entourage, services: list[str], how: signal.Signals, code: int
) -> None:
    before = inventory()
    lab = open_lab(LAB)
    with entourage.begin("create", "late", "--from", "small", "--at", "west") as making:
        deadline = time.monotonic() + WITHIN_S
        while running_pid(instance_paths(lab.access(WEST), MemberId("late-rt"))) is None:
            assert making.poll() is None, making.communicate()
            assert time.monotonic() < deadline
        making.send_signal(how)
        making.communicate(timeout=WITHIN_S)
    assert making.returncode == code
    if how == signal.SIGKILL:
        (state,) = (each for each in entourage.json("lab", "status")["labs"] if each["lab"] == LAB)
        assert {"service": "late", "half_made": True} in state["services"]
        assert entourage.json("status", "late")["half_made"] is True
        assert entourage("create", "late", "--from", "small", "--at", "east").returncode == 1
        entourage.json("delete", "late")
    assert inventory() == before
    assert routers_know(f"198.51.100.{8 * len(services)}/29") == []  # the first that is free


def test_all_are_deleted_and_nothing_is_left(entourage: Entourage, services: list[str]) -> None:
    lab = open_lab(LAB)
    prefixes = [kept.hosted.service.prefix for kept in lab.services]
    assert all(len(routers_know(str(prefix))) == 4 for prefix in prefixes)
    for name in services:
        assert entourage.json("delete", name) == {"lab": LAB, "deleted": name}
    left = inventory()
    assert left["services"] == left["guests"] == set()
    assert not [name for name in left["namespaces"] if "vrf" in name]
    things = {word for found in left.values() for word in found}
    assert [w for w in things for name in services if w.startswith(f"{name}-") or f"/{name}" in w] == []
    assert [word for word in things if word.startswith(("br-", "vx-", "svc-", "t0-", "t1-"))] == []
    assert [word for word in things for prefix in prefixes if str(prefix) in word] == []
    assert [prefix for prefix in prefixes if routers_know(str(prefix))] == []
    assert entourage.json("status")["services"] == []
    assert entourage("move", "--to", "west").returncode == 2

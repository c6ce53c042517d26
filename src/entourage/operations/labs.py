"""Bringing a lab up with its service running, and taking it down."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from entourage.lab.errors import LabError
from entourage.lab.fabric import LabStatus
from entourage.lab.guards import start_guards
from entourage.lab.guests import FAILED, READY
from entourage.lab.leftovers import exclusive, exclusive_move, leftovers, namespaces, remove
from entourage.lab.names import check_lab_name
from entourage.lab.place import LinkOverrides, Place, SpecTexts, known_labs, open_place
from entourage.lab.setup import lab_root
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Site
from entourage.operations.licences import missing_licences
from entourage.operations.observe import Observation, observe
from entourage.operations.recovering import create_database
from entourage.planner import HostLoad
from entourage.planner.latency import check_latency
from entourage.planner.placing import NoRoomError, place
from entourage.spec import read_text
from entourage.wiring import Wired, wire

_READY_WITHIN_S = 120.0
_LOOK_AGAIN_S = 0.1

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


@dataclass(frozen=True, slots=True, kw_only=True)
class LabState:
    """One lab. `is_whole`: it was brought up to its end, every node is there and every BGP session stands.

    `network` and `is_whole` are None for one who may not look: that takes root. `is_half_made`: it has no record, so
    it is still being brought up, or was left half-way; `network` is None then, too.
    """

    name: str
    is_half_made: bool
    is_whole: bool | None
    namespaces: int
    network: LabStatus | None

    def to_json(self) -> dict[str, Any]:
        """The lab for `lab status --json`."""
        network = None if self.network is None else asdict(self.network)
        return {
            "lab": self.name,
            "half_made": self.is_half_made,
            "whole": self.is_whole,
            "namespaces": self.namespaces,
            "network": network,
        }


def read_texts(
    sites: Path, service: Path, links: LinkOverrides | None = None, *, licences: Path | None = None
) -> SpecTexts:
    """The files' texts, and what inter-site links have instead; raises SpecError if a file cannot be read."""
    return SpecTexts(
        sites_file=str(sites),
        sites=read_text(sites),
        service_file=str(service),
        service=read_text(service),
        links=links or LinkOverrides(),
        licences_file="" if licences is None else str(licences),
        licences=None if licences is None else read_text(licences),
    )


async def lab_states(*, may_look: bool) -> list[LabState]:
    """Every lab of which something is there. `may_look`: inside the labs, too, which takes root."""
    return [await _lab_state(name, may_look=may_look) for name in known_labs()]


async def _lab_state(name: str, *, may_look: bool) -> LabState:
    spaces = len(namespaces(name))
    try:
        place_ = open_place(name)
    except LabError:
        return LabState(name=name, is_half_made=True, is_whole=False, namespaces=spaces, network=None)
    if not may_look:
        return LabState(name=name, is_half_made=False, is_whole=None, namespaces=spaces, network=None)
    try:
        network = await place_.fabric.status()
    finally:
        await place_.fabric.close()
    return LabState(name=name, is_half_made=False, is_whole=network.is_up, namespaces=spaces, network=network)


async def bring_up(place_: Place, texts: SpecTexts, progress: Progress) -> None:
    """Network, guards, guests, announcement, and last the record that says that the lab is up. Else nothing is left.

    Raises LabError, or whatever a driver raised.
    """
    placement = _placement(place_)
    await place_.fabric.up(progress)
    try:
        await asyncio.to_thread(create_database, place_)
        await asyncio.to_thread(place_.write_certificates)
        await start_guards(place_, (host.id for site in place_.infrastructure.sites for host in site.hosts))
        await asyncio.to_thread(place_.write_images)
        wired = wire(place_)
        try:
            await _start_service(wired, placement, progress)
        finally:
            await wired.close()
        place_.record(texts)
    except BaseException:
        await take_down(place_.name)
        raise


async def take_down(name: str) -> list[str]:
    """Remove everything of the lab, in whatever state it is; what there was, a line each."""
    check_lab_name(name)
    with exclusive(name), exclusive_move(name):
        found = leftovers(name, root=lab_root())
        await asyncio.to_thread(remove, name, root=lab_root())
        remaining = leftovers(name, root=lab_root())
    if remaining:
        raise LabError(f"lab {name} could not be removed whole: {'; '.join(remaining)}")
    return found


async def look(name: str) -> Observation:
    """What is in the lab of that name now. LabError if it is not up."""
    wired = wire(open_place(name), only_look=True)
    try:
        return await observe(wired)
    finally:
        await wired.close()


def _placement(place_: Place) -> Mapping[MemberId, HostId]:
    """Where the members are started. LabError if there is no room for them, or a promise cannot be kept."""
    infrastructure, service = place_.infrastructure, place_.service
    hosts = infrastructure.site(service.home).hosts
    for site in infrastructure.sites:
        _check_shared_cpus(site)
    empty = {host.id: HostLoad(memory=0, cpu=0.0) for host in hosts}
    try:
        placement = place(service.members, hosts, loads=empty)
    except NoRoomError as error:
        raise LabError(f"{service.id} has no room at {service.home}: {error}") from error
    late = check_latency(infrastructure, service, placement, empty)
    reasons = (*(late.reasons if late else ()), *missing_licences(infrastructure, service, placement))
    if reasons:
        raise LabError(f"{service.id} cannot be started at {service.home}: {'; '.join(reasons)}")
    return placement


def _check_shared_cpus(site: Site) -> None:
    """The lab's hosts share this machine's CPUs. LabError if one is not there, or two hosts of a site promise it."""
    promise: dict[int, HostId] = {}
    for host in site.hosts:
        for cpu in host.realtime.cpus if host.realtime else ():
            here = f"the lab's hosts share this machine's CPUs, 0 to {(os.cpu_count() or 1) - 1}"
            if cpu >= (os.cpu_count() or 1):
                raise LabError(f"{host.id} has CPU {cpu} for real time, and there is none; {here}")
            if cpu in promise:
                raise LabError(f"{promise[cpu]} and {host.id} both have CPU {cpu} for real time; {here}")
            promise[cpu] = host.id


async def _start_service(wired: Wired, placement: Mapping[MemberId, HostId], progress: Progress) -> None:
    place_ = wired.place
    service = place_.service
    total = len(service.members)
    progress("booting guests", 0, total)
    await asyncio.gather(*(wired.hypervisor.create(m, placement[m.id]) for m in service.members))
    ready = 0

    async def wait(member: MemberId, host: HostId) -> None:
        nonlocal ready
        await _wait_ready(place_, member, host)
        ready += 1
        progress(f"{member} serves on {host}", ready, total)

    async with asyncio.TaskGroup() as group:
        for member, host in placement.items():
            group.create_task(wait(member, host))
    await _give_promised(wired, placement)
    await wired.ingress.activate(service, service.home)
    problems = await wired.drivers.verifier.problems(service)
    if problems:
        raise LabError(f"the service does not work: {'; '.join(problems)}")


async def _give_promised(wired: Wired, placement: Mapping[MemberId, HostId]) -> None:
    """Now that they have booted they get the CPU time that they were promised. LabError if one has not."""
    for member, host in placement.items():
        if wired.place.service.member(member).realtime is not None:
            await wired.hypervisor.resume(wired.place.service.member(member), host)
    for host in sorted(set(placement.values())):
        for member, threads in (await wired.hypervisor.promises(host)).items():
            for thread in threads:
                if not thread.is_kept:
                    raise LabError(f"{member} on {host}: promised {thread.wanted}, applied {thread.found}")


async def _wait_ready(place_: Place, member: MemberId, host: HostId) -> None:
    console = place_.console(member, host)
    content = b""
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            while READY.encode() not in content:
                if FAILED.encode() in content:
                    raise LabError(f"{member} on {host} did not start its role: {_tail(content)}")
                await asyncio.sleep(_LOOK_AGAIN_S)
                content = await asyncio.to_thread(_read_if_there, console)
    except TimeoutError as error:
        raise LabError(f"{member} on {host} does not serve after {_READY_WITHIN_S:g} s: {_tail(content)}") from error


def _read_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _tail(content: bytes) -> str:
    lines = content.decode(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) if lines else "its console is empty"

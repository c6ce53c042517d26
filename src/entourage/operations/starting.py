"""Starting a service in a lab: where its members go, what it has of the network, its guests, its announcement."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from entourage.lab.errors import LabError
from entourage.lab.guests import FAILED, READY
from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Site
from entourage.operations.licences import missing_licences
from entourage.operations.neighbours import disturbed
from entourage.operations.observe import loads_of
from entourage.planner.latency import check_latency
from entourage.planner.placing import NoRoomError, place
from entourage.wiring import Wired, wire

_READY_WITHIN_S = 120.0
_LOOK_AGAIN_S = 0.1

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


def placement_of(place_: Place) -> Mapping[MemberId, HostId]:
    """Where the members are started. LabError if there is no room for them, or a promise cannot be kept."""
    infrastructure, service = place_.infrastructure, place_.service
    hosts = infrastructure.site(service.home).hosts
    for site in infrastructure.sites:
        _check_shared_cpus(site)
    copies = list(place_.copies())
    loads = loads_of(infrastructure, copies)
    try:
        placement = place(service.members, hosts, loads=loads)
    except NoRoomError as error:
        raise LabError(f"{service.id} has no room at {service.home}: {error}") from error
    coming = [(service.member(member), host) for member, host in placement.items()]
    others = [kept.hosted.service for kept in place_.services if kept.id != service.id]
    late = check_latency(infrastructure, service, placement, loads) or disturbed(
        infrastructure, others, copies=copies, coming=coming
    )
    reasons = (*(late.reasons if late else ()), *missing_licences(place_, placement))
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


async def start_service(place_: Place, placement: Mapping[MemberId, HostId], progress: Progress) -> None:
    """Make the service in a lab that is up: written down first, and as whole last. LabError, or what a driver raised.

    What was made when it fails is there until it is taken away.
    """
    place_.keep(is_whole=False)
    progress("network of the service", 0, len(placement))
    await place_.fabric.join()
    await asyncio.to_thread(place_.write_images)
    wired = wire(place_)
    try:
        await _start_members(wired, placement, progress)
        await wired.ingress.activate(place_.service, place_.service.home)
        problems = await wired.drivers.verifier.problems(place_.service)
    finally:
        await wired.close()
    if problems:
        raise LabError(f"the service does not work: {'; '.join(problems)}")
    place_.keep(is_whole=True)


async def _start_members(wired: Wired, placement: Mapping[MemberId, HostId], progress: Progress) -> None:
    place_ = wired.place
    service = place_.service
    total = len(service.members)
    progress("booting guests", 0, total)
    await asyncio.gather(*(wired.hypervisor.create(m, placement[m.id]) for m in service.members))
    await wait_all_ready(place_, placement, progress)
    await give_promised(wired, placement)


async def give_promised(wired: Wired, placement: Mapping[MemberId, HostId]) -> None:
    """Now that they have booted they get the CPU time that they were promised. LabError if one has not."""
    for member, host in placement.items():
        if wired.place.service.member(member).realtime is not None:
            await wired.hypervisor.resume(wired.place.service.member(member), host)
    for host in sorted(set(placement.values())):
        for member, threads in (await wired.hypervisor.promises(host)).items():
            for thread in threads:
                if not thread.is_kept:
                    raise LabError(f"{member} on {host}: promised {thread.wanted}, applied {thread.found}")


async def wait_all_ready(
    place_: Place, placement: Mapping[MemberId, HostId], progress: Progress
) -> dict[MemberId, float]:
    """Until every member serves; when each did, in seconds since the epoch. LabError in a group if one does not."""
    ready: dict[MemberId, float] = {}

    async def wait(member: MemberId, host: HostId) -> None:
        await wait_ready(place_, member, host)
        ready[member] = time.time()
        progress(f"{member} serves on {host}", len(ready), len(placement))

    async with asyncio.TaskGroup() as group:
        for member, host in placement.items():
            group.create_task(wait(member, host))
    return ready


async def wait_ready(place_: Place, member: MemberId, host: HostId) -> None:
    """Until the member's copy on the host says on its console that it serves. LabError if it does not come to that."""
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

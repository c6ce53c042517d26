"""A failover tried without touching production: the service from its replicas, in a bubble, used by clients there."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from entourage.lab.bubble import bubble_of, clients_of, left_bubbles, make_bubble, name_of, remove_bubble
from entourage.lab.errors import LabError
from entourage.lab.place import Lab, Place
from entourage.lab.verify import LabVerifier, round_trips_ms
from entourage.model.ids import HostId, MemberId, RegionId, ServiceId, SiteId, site_of
from entourage.operations.maintenance import usable
from entourage.operations.moves import RefusedError
from entourage.operations.observe import observe
from entourage.operations.replicating import replica_moments
from entourage.operations.starting import wait_all_ready
from entourage.operations.tell import Tell
from entourage.planner import Refusal
from entourage.planner.failover import FailoverPlan, FailoverRequest, plan_failover
from entourage.wiring import Wired, replication_of, wire

SCHEMA = "entourage.failover-test/1"
_CLIENT = RegionId("clients in the bubble")


async def try_failover(
    lab: Lab, service: ServiceId, target: SiteId, *, without_data: bool, tell: Tell
) -> dict[str, Any]:
    """Start the service at the target from its replicas, use it, take it away, and return the report.

    RefusedError if it could not fail over there; LabError if it does not start. Nothing of it is left, either way.
    """
    place = lab.place(service)
    plan = await _plan(place, target, without_data=without_data)
    if service in left_bubbles(lab):
        await clean_up(lab, service)
    bubble = bubble_of(lab, place.service, target)
    began = time.time()
    tell.phase(f"a bubble at {target}")
    try:
        await make_bubble(lab, service, bubble)
        await asyncio.to_thread(bubble.write_images)
        wired = wire(bubble)
        try:
            placement = {name_of(member): host for member, host in plan.placement.items()}
            data = await _start(wired, place, plan, tell)
            booted = await wait_all_ready(bubble, placement, tell.step)
            problems, requests = await _use(bubble, placement, tell)
        finally:
            await wired.close()
    finally:
        tell.phase("taking the bubble away")
        await clean_up(lab, service)
    return {
        "schema": SCHEMA,
        "test": f"{service}-{datetime.fromtimestamp(began, tz=UTC):%Y%m%d-%H%M%S}",
        "service": service,
        "target": target,
        "outcome": "served" if not problems else "not-served",
        "problems": list(problems),
        "began": began,
        "boot_s": {member: at - began for member, at in booted.items()},
        "answers_s": max(booted.values(), default=began) - began,
        "requests": requests,
        "placement": dict(plan.placement),
        "data_of": data,
        "data_age_s": max((began - at for at in data.values()), default=None),
        "left_over": [] if service not in left_bubbles(lab) else ["the bubble's note"],
    }


async def clean_up(lab: Lab, service: ServiceId) -> None:
    """Take away what is left of a test of the service; nothing if there is nothing. LabError if it cannot be."""
    site = left_bubbles(lab).get(service)
    if site is None:
        return
    bubble = bubble_of(lab, lab.place(service).service, site)
    wired = wire(bubble)
    try:
        hosts = [host.id for host in bubble.infrastructure.site(site).hosts]
        copies = [(member.id, host) for member in bubble.service.members for host in hosts]
        await asyncio.gather(*(wired.hypervisor.remove(member, host) for member, host in copies))
    finally:
        await wired.close()
    await remove_bubble(lab, service, bubble)


async def _plan(place: Place, target: SiteId, *, without_data: bool) -> FailoverPlan:
    """Where a failover would start it, with production where it is; RefusedError."""
    wired = wire(place, only_look=True)
    try:
        seen = await observe(wired)
    finally:
        await wired.close()
    here = {site_of(host) for host in seen.snapshot.placement.values()}
    lost = next((site for site in sorted(here) if site != target), None)
    if lost is None:
        raise LabError(f"{place.service.id} runs at {target}: a failover would go elsewhere, try another site")
    request = FailoverRequest(service=place.service.id, lost=lost, target=target, without_data=without_data)
    planned = plan_failover(
        replace(seen.snapshot, placement={}), request, loads=usable(place, seen.load()), replicas=replica_moments(place)
    )
    if isinstance(planned, Refusal):
        raise RefusedError(planned)
    return planned


async def _start(wired: Wired, place: Place, plan: FailoverPlan, tell: Tell) -> dict[MemberId, float]:
    """Boot all under their names in the bubble; of which moment each disk is. The replicas stay as they are."""
    replication = replication_of(place)
    tell.phase(f"starting {len(plan.placement)} members in the bubble")
    data: dict[MemberId, float] = {}

    async def start(member: MemberId, host: HostId) -> None:
        twin = wired.place.service.member(name_of(member))
        disk: Path | None = None
        if member in plan.data:
            disk = place.access(host).run_dir / f"{twin.id}.from-replica"
            data[member] = (await replication.copy(member, host, to=disk)).taken_at
        try:
            await wired.hypervisor.create(twin, host, disk=disk)
        finally:
            if disk is not None:
                disk.unlink(missing_ok=True)

    await asyncio.gather(*(start(member, host) for member, host in plan.placement.items()))
    return data


async def _use(
    bubble: Place, placement: Mapping[MemberId, HostId], tell: Tell
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Requests through the whole chain, and every guest's sign of life: what is wrong, and what requests took."""
    tell.phase("clients use it")
    users = clients_of(bubble)
    consoles = {(member, host): bubble.console(member, host) for member, host in placement.items()}
    problems = await LabVerifier(users={_CLIENT: users}, consoles=consoles).problems(bubble.service)
    if problems:
        return problems, {"answered": 0, "p50_ms": None}
    took = await round_trips_ms(users, bubble.service)
    return (), {"answered": len(took), "p50_ms": round(median(took), 3)}

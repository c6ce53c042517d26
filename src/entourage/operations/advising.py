"""Advice on a service as it lies now, with what it carries just now."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from entourage.lab.place import Place
from entourage.lab.traffic import carried
from entourage.model.ids import ServiceId, SiteId, site_of
from entourage.operations.maintenance import usable
from entourage.operations.observe import Observation, observe
from entourage.planner.advice import Advice, advise
from entourage.wiring import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Advised:
    """The advice, and what it was made from: bytes/s that users sent and got during `watched_s`."""

    service: ServiceId
    sites: tuple[SiteId, ...]
    carried: float | None
    watched_s: float
    advice: Advice

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "service": self.service,
            "sites": list(self.sites),
            "carried_bytes_per_s": self.carried,
            "watched_s": self.watched_s,
            "advice": self.advice.best.name,
            "why": list(self.advice.why),
            "options": [option.to_json() for option in self.advice.options],
        }


async def advise_service(place: Place, *, watch_s: float) -> Advised:
    """Watch for so many seconds what the service carries, and compare what may be done."""
    wired = wire(place, only_look=True)
    try:
        seen = await observe(wired)
        carried_bytes = await _carried(place, seen, watch_s)
        capabilities = {member.id: wired.hypervisor.capabilities() for member in place.service.members}
    finally:
        await wired.close()
    advice = advise(
        seen.snapshot,
        loads=usable(place, seen.load()),
        capabilities=capabilities,
        stretched=seen.stretched,
        in_use=seen.in_use,
        carried=carried_bytes,
    )
    return Advised(
        service=place.service.id,
        sites=tuple(sorted({site_of(host) for host in seen.snapshot.placement.values()})),
        carried=carried_bytes,
        watched_s=watch_s,
        advice=advice,
    )


async def _carried(place: Place, seen: Observation, watch_s: float) -> float | None:
    """Bytes/s through the chain's first stage: what all users send and get."""
    first = [member for member in place.service.chain[0] if member in seen.snapshot.placement]

    def count() -> int | None:
        found = [carried(place, member, seen.snapshot.placement[member]) for member in first]
        known = [each for each in found if each is not None]
        return sum(known) if known else None

    began, before = time.monotonic(), count()
    await asyncio.sleep(watch_s)
    after = count()
    if before is None or after is None or after < before:
        return None
    return (after - before) / (time.monotonic() - began)

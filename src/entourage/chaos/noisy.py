"""Packets through a service's chain beside noisy neighbours, with and without real-time CPU for its members."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from entourage.chaos.hogs import Hogs
from entourage.chaos.reserving import reserve
from entourage.lab.place import new_place
from entourage.model.ids import SiteId
from entourage.operations.examples import example
from entourage.operations.labs import bring_up, read_texts, take_down
from entourage.operations.machine import machine_json
from entourage.operations.packets import Packets, figures, window
from entourage.operations.tell import Tell
from entourage.wiring import Wired, wire

SCHEMA = "entourage.noisy-report/1"
HOGS = 12
_SETTLED_S = 2.0
_STORY = (
    ("alone on the machine, nothing promised", "other", False),
    (f"{HOGS} neighbours that spin and one that copies memory, nothing promised", "other", True),
    ("the same neighbours, real-time CPU promised", "fifo", True),
)


def hogs(yes: bool) -> Hogs:
    """All of them, or none."""
    return Hogs(processes=HOGS if yes else 0, memory=yes)


@asynccontextmanager
async def noisy_lab(lab: str, tell: Tell | None = None) -> AsyncIterator[Wired]:
    """A lab of that name whose members are promised real-time CPU, up as long as the block lasts."""
    await take_down(lab)
    texts = read_texts(example("sites-realtime.yaml"), example("shop-realtime.yaml"))
    place = new_place(lab, texts)
    wired = wire(place)
    try:
        await bring_up(place, texts, lambda *_: None)
        yield wired
    finally:
        if tell is not None:
            tell.phase("taking the lab down")
        await wired.close()
        await take_down(lab)


async def measure(
    wired: Wired, out: Path, *, site: SiteId, policy: str, noisy: bool, for_s: float
) -> Mapping[str, Any]:
    """The service at `site`, its members scheduled by `policy`, for so long. Raw logs are in `out`."""
    reserve(wired, policy, site)
    packets = Packets(wired.place, out, [site])
    async with packets:
        with hogs(noisy):
            await asyncio.sleep(_SETTLED_S)
            start, end = await window(for_s)
    return {"policy": policy, "hogs": noisy, **figures(packets.trips(site, start=start, end=end))}


async def noisy_story(lab: str, out: Path, *, for_s: float, tell: Tell) -> dict[str, Any]:
    """Bring a lab up, measure the three acts of the story in it, and take it down."""
    tell.phase(f"bringing lab {lab} up")
    cases = []
    async with noisy_lab(lab, tell) as wired:
        place = wired.place
        for number, (name, policy, noisy) in enumerate(_STORY, 1):
            tell.act(number, name)
            case = await measure(wired, out, site=place.service.home, policy=policy, noisy=noisy, for_s=for_s)
            cases.append({"name": name, **case})
    return {"schema": SCHEMA, "seconds": for_s, "machine": machine_json(accel=place.accel), "cases": cases}

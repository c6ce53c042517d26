"""Driving moves: one process at a time for a lab, on this machine and on every other that shares its database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from entourage.drivers.driving import DrivingRight, TakenError, is_driven
from entourage.drivers.records import RecordsError
from entourage.lab.errors import BusyError, LabError
from entourage.lab.guards import start_guards
from entourage.lab.leftovers import exclusive_move, is_being_moved
from entourage.lab.place import Lab
from entourage.operations.switching import Shown
from entourage.wiring import Wired


@asynccontextmanager
async def driving(place: Lab) -> AsyncIterator[DrivingRight]:
    """Hold the lab's members against every other process that moves them; BusyError if one does now."""
    with exclusive_move(place.name):
        try:
            right = await DrivingRight.take(place.moves_url)
        except TakenError as error:
            raise BusyError(
                f"a move is under way in lab {place.name}, driven by {error}; wait until it is done"
            ) from error
        except RecordsError as error:
            raise LabError(str(error)) from error
        try:
            yield right
        finally:
            await right.give_back()


async def start_missing_guards(wired: Wired, shown: Shown) -> None:
    """Start the guards that do not answer: members that stand still on their hosts would stay so if we died.

    LabError if one does not start.
    """
    hosts = wired.place.hosts()
    are_there = await asyncio.gather(*(wired.guard.is_there(host) for host in hosts))
    missing = [host for host, is_there in zip(hosts, are_there, strict=True) if not is_there]
    if missing:
        shown.phase(f"starting the guard on {', '.join(missing)}, which was dead")
        await start_guards(wired.place, missing)


def is_being_driven(place: Lab) -> bool:
    """Whether some process drives a move there now. Only a look: who asks never stands in a move's way."""
    try:
        return is_being_moved(place.name) or is_driven(place.moves_url)
    except RecordsError as error:
        raise LabError(str(error)) from error

"""An orchestrator that is to be a victim.

`python -m entourage.chaos.orchestrator LAB TARGET STATE DEED` moves the lab's service to the site TARGET, or off the
host TARGET. It writes a JSON line for each state that the move comes to, and one with the report. At STATE it

- `die`: kills itself, before it does anything of what the state asks for;
- `wait`: stops in its tracks until a line comes on its standard input;
- `step=SECONDS`: sees its clock stepped by so much from then on.
"""

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

from entourage.lab.place import open_place
from entourage.model.ids import HostId, SiteId
from entourage.operations.moves import run_move
from entourage.operations.switching import Shown
from entourage.planner import MoveRequest, off_host
from entourage.wiring import wire


def _tell(**what: Any) -> None:  # noqa: ANN401 - a JSON document
    print(json.dumps(what), flush=True)  # noqa: T201


def _do(deed: str) -> None:
    if deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "wait":
        sys.stdin.readline()
    elif deed.startswith("step="):
        seconds, real = float(deed.removeprefix("step=")), time.time
        time.time = lambda: real() + seconds


async def _move(lab: str, target: str, state: str, deed: str) -> None:
    wired = wire(open_place(lab))

    def phase(name: str) -> None:
        _tell(state=name, at=time.time())
        if name == state:
            _do(deed)

    try:
        service, infrastructure = wired.place.service.id, wired.place.infrastructure
        if "/" in target:
            request = off_host(infrastructure, service, HostId(target))
        else:
            request = MoveRequest(service=service, target=SiteId(target))
        report = await run_move(wired, request, shown=Shown(progress=lambda _: None, phase=phase))
    finally:
        await wired.close()
    _tell(report=report)


if __name__ == "__main__":
    asyncio.run(_move(*sys.argv[1:]))

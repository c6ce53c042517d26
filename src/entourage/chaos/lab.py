"""A lab for one case after another, with live users: what is done, and what became of the move."""

import asyncio
import json
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from entourage.chaos.cases import Case
from entourage.chaos.deeds import Move
from entourage.chaos.disks import disk_problems
from entourage.lab.daemons import own_command
from entourage.lab.errors import LabError
from entourage.lab.leftovers import is_being_moved
from entourage.lab.place import Place, open_place
from entourage.model.ids import SiteId, site_of
from entourage.operations.labs import look, take_down
from entourage.operations.observe import Observation
from entourage.operations.recovering import all_moves, open_moves
from entourage.operations.tell import Silent, Tell
from entourage.operations.users import Load, Users

_UP_WITHIN_S, _MOVE_WITHIN_S, _OVER_WITHIN_S = 200.0, 240.0, 180.0
_NOTICED_WITHIN_S = 6.0  # an orchestrator's death, by the guards
_SETTLED_S = 3.0
_LOOK_AGAIN_S = 0.1

Document = dict[str, Any]


class Lab:
    """A lab with its service running, brought up anew after a case that has broken it."""

    def __init__(
        self, name: str, *, load: Load, users: Path, options: Sequence[str] = (), tell: Tell | None = None
    ) -> None:
        """`users`: the folder for their raw logs. `options`: of `entourage lab up`."""
        self._name = name
        self._load = load
        self._users = users
        self._options = options
        self._tell = tell or Silent()
        self._place: Place | None = None

    async def __aenter__(self) -> Self:
        """Nothing yet: the first case brings the lab up."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._place is not None:
            self._tell.phase("taking the lab down")
            await take_down(self._name)

    async def try_case(self, case: Case) -> Document:
        """One move to the other site, what is done to it, and how it ended. LabError if there is no lab to be had."""
        if self._place is None:
            self._tell.phase(f"bringing lab {self._name} up")
            # By a process of its own: the virtual machines would be children of this one, and wait for it when killed.
            await _run("lab", "up", "--lab", self._name, *self._options, within_s=_UP_WITHIN_S)
        place = self._place = open_place(self._name)
        before = await look(self._name)
        (source,) = {site_of(host) for host in before.snapshot.placement.values()}
        target = next(site.id for site in place.infrastructure.sites if site.id != source)
        self._tell.phase(f"opening {self._load.sessions} sessions from all regions")
        async with Users(place, self._load, self._users) as users:
            began = time.time()
            attempt = _Attempt(case, place, before, source=source, target=target, tell=self._tell)
            await attempt.drive()
            recovered_by = await self._wait_over(place)
            ended = time.time()
            await asyncio.sleep(_SETTLED_S)
            after = await look(self._name)
            now = time.time()
            await users.wait_logged(now)
            seen = users.read()
        disks = await disk_problems(place, after.snapshot.placement)
        left_over = _left_over(after, case)
        move = all_moves(place)[0]
        if case.breaks_lab or left_over or disks:
            await take_down(self._name)
            self._place = None
        result: Mapping[str, Any] = move.ended or {}
        return {
            "name": case.name,
            "state": case.state,
            "is_kill": case.is_kill,
            "kills": case.kills,
            "move": move.move,
            "source": source,
            "target": target,
            "outcome": result.get("outcome", "open"),
            "reason": result.get("reason"),
            "problems": list(result.get("problems", ())),
            "recovered_by": recovered_by,
            "ended": _where(after, source, target),
            "left_over": left_over,
            "disks": disks,
            "sessions": seen.sessions(start=began, end=now),
            "outage_s": round((seen.stream(start=began, end=now)["longest_gap_ms"] or 0) / 1000, 3),
            "over_s": round(ended - began, 2),
            "took_s": round(time.time() - began, 1),
            "states": attempt.states,
        }

    async def _wait_over(self, place: Place) -> str | None:
        """Until nobody drives a move and none is open: who has brought it to its end, if not the one that began it."""
        if not open_moves(place) and not is_being_moved(self._name):
            return None
        self._tell.phase("nobody drives the move: waiting for a guard to notice")
        with suppress(TimeoutError):
            async with asyncio.timeout(_NOTICED_WITHIN_S):
                while not is_being_moved(self._name):  # noqa: ASYNC110 - another process's
                    await asyncio.sleep(_LOOK_AGAIN_S)
                self._tell.phase("a guard has noticed, and has somebody finish it")
        async with asyncio.timeout(_OVER_WITHIN_S):
            while is_being_moved(self._name):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_AGAIN_S)
        if not open_moves(place):
            return "guard"
        with suppress(LabError):  # what it could not do is seen in the lab
            await _run("recover", "--lab", self._name, within_s=_OVER_WITHIN_S)
        return "command"


class _Attempt:
    """One orchestrator and what is done to it, or beside it."""

    def __init__(
        self, case: Case, place: Place, before: Observation, *, source: SiteId, target: SiteId, tell: Tell
    ) -> None:
        self.states: dict[str, float] = {}  # when the move came to each, in seconds since the epoch by its own clock
        self._case = case
        self._place = place
        self._sources = dict(before.snapshot.placement)
        self._source, self._target = source, target
        self._tell = tell

    async def drive(self) -> None:
        """Until the orchestrator has ended, one way or another."""
        case = self._case
        deed = "die" if case.is_kill else "wait" if case.deed else f"step={case.step_s}"
        command = [
            sys.executable,
            "-m",
            "entourage.chaos.orchestrator",
            self._place.name,
            self._target,
            case.state or "-",
            deed,
        ]
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=1 << 24)
        async with AsyncExitStack() as done:
            try:
                async with asyncio.timeout(_MOVE_WITHIN_S):
                    await self._follow(process, done)
                    await process.wait()
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _follow(self, process: Process, done: AsyncExitStack) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        killing = None
        while line := await process.stdout.readline():
            said = json.loads(line)
            if "state" not in said:
                continue
            self.states[said["state"]] = said["at"]
            self._tell.phase(said["state"])
            if self._case.after_s is not None and killing is None:
                killing = asyncio.get_running_loop().call_later(self._case.after_s, _kill, process)
            if said["state"] == self._case.state and self._case.deed is not None:
                move = Move(
                    place=self._place,
                    orchestrator=process.pid,
                    sources=self._sources,
                    source=self._source,
                    target=self._target,
                )
                await done.enter_async_context(self._case.deed(move))
                process.stdin.write(b"\n")
        if killing is not None:
            killing.cancel()


async def _run(*words: str, within_s: float) -> None:
    process = await asyncio.create_subprocess_exec(*own_command(*words), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
    try:
        async with asyncio.timeout(within_s):
            _, errors = await process.communicate()
    except BaseException:
        process.send_signal(signal.SIGKILL)
        raise
    if process.returncode:
        raise LabError(f"entourage {' '.join(words)}: {errors.decode().strip() or process.returncode}")


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def _where(after: Observation, source: str, target: str) -> str:
    """At which side everything runs that was not killed."""
    sites = {site_of(host) for host in after.snapshot.placement.values()}
    announced = set(after.snapshot.ingress.values())
    if sites == announced == {source}:
        return "source"
    return "target" if sites == announced == {target} else "halfway"


def _left_over(after: Observation, case: Case) -> list[str]:
    """What should not be there, but for what the case itself has killed."""
    mine: tuple[str, ...] = ("the guard on", "the edge of") if case.breaks_lab else ()
    if case.kills:
        mine = (f"{case.kills} runs nowhere",)
    return [oddity for oddity in after.oddities() if not oddity.startswith(mine)]

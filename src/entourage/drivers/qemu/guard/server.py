"""The guard's side of its socket: who has armed which member. The protocol stands in the package's docstring."""

import asyncio
import json
import math
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from entourage.drivers.qemu.guard.successor import Successor
from entourage.drivers.qemu.guard.ward import NotArmedError, Ward
from entourage.drivers.qemu.process import InstancePaths

_MEMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")  # nothing that could lead out of the directory


class RequestError(Exception):
    """What was asked for is not understood; the message says what is wrong with it."""


class Log:
    """What the guard does, a JSON line each in a file: `at` (seconds since the epoch), `what`, `member` and more."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def note(self, what: str, member: str | None = None, **more: object) -> None:
        """Write a line. A disk that takes none is no reason to leave members standing still."""
        line = json.dumps({"at": time.time(), "what": what, "member": member, **more}) + "\n"
        with suppress(OSError):
            self._file.write(line)


class _Client:
    """Whoever is at the other end of one connection."""

    def __init__(self) -> None:
        self.wards: dict[str, Ward] = {}  # what it has armed
        self.drives = False  # a move that is not over


class Guard:
    """All wards of one host, whose QEMUs have their files in `directory`."""

    def __init__(self, directory: Path, log: Log, successor: Successor) -> None:
        self._directory = directory
        self._log = log
        self._successor = successor
        self._wards: dict[str, Ward] = {}  # each member's last arming
        self._arming = asyncio.Lock()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end; what was armed over it is alone then."""
        client = _Client()
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line, client)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError) as error:  # ValueError: a line longer than any request is
            self._log.note("connection broke", because=str(error))
        finally:
            writer.close()
            wards = client.wards.values()
            for ward in wards:
                if ward.is_armed:
                    ward.leave_alone()
            if client.drives:  # after the wards: users wait for them
                self._log.note("its driver is gone")
                self._successor.start()
            await asyncio.gather(*(ward.close() for ward in wards if not ward.is_armed))

    async def _answer(self, line: bytes, client: _Client) -> dict[str, Any]:
        try:
            request = json.loads(line)
            match request:
                case {"op": "arm", "members": members, "deadline_s": deadline_s}:
                    names, seconds = _names(members), _seconds(deadline_s)
                    client.drives = True
                    return await self._arm(names, deadline_s=seconds, mine=client.wards)
                case {"op": "disarm", "members": members}:
                    names = _names(members)
                    client.drives = True
                    return await self._disarm(names)
                case {"op": "end"}:
                    client.drives = False
                    return {"ended": True}
                case {"op": "status"}:
                    return {"armed": sorted(name for name, ward in self._wards.items() if ward.is_armed)}
        except (NotArmedError, RequestError) as error:
            return {"error": str(error)}
        except (ValueError, RecursionError) as error:
            return {"error": f"not JSON: {error}"}
        return {"error": 'op must be "arm" with members and deadline_s, "disarm" with members, "status" or "end"'}

    async def _arm(self, names: Sequence[str], *, deadline_s: float, mine: dict[str, Ward]) -> dict[str, Any]:
        async with self._arming:
            # One that is about to be run again stays so, whatever its QEMU says to somebody new just now.
            adopted = {name: ward for name, ward in self._wards.items() if name in names and ward.is_standing}
            new = [name for name in names if name not in adopted]
            await asyncio.gather(*(self._wards[name].close() for name in new if name in self._wards))
            wards = {name: self._ward(name, deadline_s=deadline_s) for name in new}
            outcomes = await asyncio.gather(*(ward.begin() for ward in wards.values()), return_exceptions=True)
            problems = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if problems:
                await asyncio.gather(*(ward.close() for ward in wards.values()))
                raise NotArmedError("; ".join(map(str, problems))) from problems[0]
            for ward in adopted.values():
                ward.adopt(deadline_s=deadline_s)
            self._wards |= wards
            mine |= wards | adopted
            for name in names:
                self._log.note("armed", name, deadline_s=deadline_s)
        return {"armed": sorted(names)}

    async def _disarm(self, names: Sequence[str]) -> dict[str, Any]:
        wards = {name: self._wards[name] for name in names if name in self._wards}
        await asyncio.gather(*(ward.disarm() for ward in wards.values()))
        run_again = sorted(name for name, ward in wards.items() if ward.run_again)
        for name in wards:
            self._log.note("disarmed", name, run_again=name in run_again)
        return {"run_again": run_again, "unknown": sorted(set(names) - set(wards))}

    def _ward(self, name: str, *, deadline_s: float) -> Ward:
        return Ward(InstancePaths(self._directory / name), deadline_s=deadline_s, note=self._log.note)


def _names(members: object) -> list[str]:
    if not isinstance(members, list) or not all(isinstance(name, str) and _MEMBER.fullmatch(name) for name in members):
        raise RequestError(f"members must be a list of names, not {members!r}")
    return list(dict.fromkeys(members))


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise RequestError(f"deadline_s must be seconds, not {value!r}")
    return float(value)

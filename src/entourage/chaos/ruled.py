"""A lab's rules at work in a process of its own, as seen by one who does something to the lab meanwhile."""

import asyncio
import json
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from entourage.lab.daemons import own_command
from entourage.lab.errors import LabError

_BEGINS_WITHIN_S, _ENDS_WITHIN_S = 60.0, 120.0
News = dict[str, Any]


class RulesAtWork:
    """`entourage run` in the background. `news`: each decision and each outcome, as it told them."""

    def __init__(self, lab: str, *, rules: Path, out: Path) -> None:
        self.news: list[News] = []
        self._words = ("run", "--lab", lab, "--rules", str(rules), "--out", str(out), "--json")
        self._process: Process | None = None
        self._heard = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None
        self._said: list[str] = []
        self._looks = asyncio.Event()
        self._has_ended = False

    async def __aenter__(self) -> Self:
        """It looks at the lab. LabError with what it said if it does not come to that."""
        self._process = await asyncio.create_subprocess_exec(
            *own_command(*self._words), stdin=DEVNULL, stdout=PIPE, stderr=PIPE, limit=1 << 24
        )
        self._reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait_for(self._looks.wait(), _BEGINS_WITHIN_S)
        except TimeoutError:
            await self._stop()
            raise LabError(f"entourage run does not begin: {' / '.join(self._said[-3:])}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def wait_news(self, wanted: Callable[[News], bool], *, within_s: float) -> News:
        """The first news of that kind, past or to come. LabError after so many seconds, with what it said last."""
        try:
            async with asyncio.timeout(within_s), self._heard:
                while (found := next(filter(wanted, self.news), None)) is None:
                    if self._has_ended:
                        raise LabError(f"entourage run has ended: {' / '.join(self._said[-8:])}")
                    await self._heard.wait()
                return found
        except TimeoutError:
            last = " / ".join([*map(json.dumps, self.news[-2:]), *self._said[-3:]])
            raise LabError(f"not heard within {within_s:g} s from entourage run; last: {last}") from None

    def kill(self) -> None:
        """As if its machine had lost power."""
        assert self._process is not None
        self._process.kill()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None

        async def words(stream: asyncio.StreamReader) -> None:
            while line := await stream.readline():
                self._said.append(line.decode(errors="replace").strip())
                if " look at " in self._said[-1]:
                    self._looks.set()

        aside = asyncio.create_task(words(self._process.stderr))
        while line := await self._process.stdout.readline():
            async with self._heard:
                try:
                    self.news.append(json.loads(line))
                except ValueError:  # an error that ended it is told in several lines
                    self._said.append(line.decode(errors="replace").strip())
                self._heard.notify_all()
        await aside
        async with self._heard:
            self._has_ended = True
            self._heard.notify_all()

    async def _stop(self) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), _ENDS_WITHIN_S)
        except TimeoutError:
            self._process.kill()
        if self._reading is not None:
            await self._reading

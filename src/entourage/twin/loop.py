"""An event loop without a clock: time is a number that jumps to the next timer, and nothing outside is ever waited for.

What runs in it is asyncio as it is: the same tasks, futures, queues and timeouts. Only the order of what is ready, if
`order` is given, and the moments of timers are decided here, so a run is a function of its inputs.
"""

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

_T = TypeVar("_T")


class StuckError(Exception):
    """Everybody waits, and nothing will ever happen: what was to be run cannot end."""


class _Handle:
    """What `call_soon` and `call_at` return: it can be cancelled, and that is all."""

    __slots__ = ("args", "callback", "when")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], when: float) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.when = when

    def cancel(self) -> None:
        """Never call it."""
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        """Whether it has been cancelled."""
        return self.callback is None


class Process:
    """The tasks that die together. A task belongs to the process of the task that made it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tasks: list[asyncio.Task[Any]] = []


class VirtualLoop(asyncio.AbstractEventLoop):
    """Virtual time in seconds from 0. `order`, if given, chooses which of the ready callbacks is next.

    Context variables are not kept apart: nobody here uses them.
    """

    def __init__(self, order: Random | None = None) -> None:
        self._now = 0.0
        self._order = order
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._made = 0
        self._process = Process("main")
        self._process_of: dict[asyncio.Task[Any], Process] = {}
        self._dead: set[object] = set()
        self._limbo: list[_Handle] = []  # what the dead would have done next
        self.unhandled: list[str] = []  # what asyncio would have logged: an error nobody has asked for

    # --- what asyncio's parts call --------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: object = None) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Behind what is ready."""
        handle = _Handle(callback, args, self._now)
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: object = None) -> Any:  # type: ignore[override]  # noqa: ANN401
        """At a virtual time; of equal ones the first first."""
        handle = _Handle(callback, args, when)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, handle))
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: object = None) -> Any:  # type: ignore[override]  # noqa: ANN401
        """After a virtual time."""
        return self.call_at(self._now + delay, callback, *args)

    def create_future(self) -> "asyncio.Future[Any]":
        """Asyncio's own."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: object = None, context: object = None) -> "asyncio.Task[Any]":  # noqa: ANN401
        """Asyncio's own, in the process of the task that makes it."""
        made_by = asyncio.current_task(self)
        process = self._process if made_by is None else self._process_of[made_by]
        return self._create(coro, process, None if name is None else str(name))

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Whether it is this loop that runs."""
        return events._get_running_loop() is self

    def is_closed(self) -> bool:
        """Never: there is nothing to close."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what happened."""
        error = context.get("exception")
        self.unhandled.append(f"{context.get('message')}: {error!r}")

    # --- what a simulation calls ----------------------------------------------------------------------------------

    def spawn(self, coro: Coroutine[Any, Any, _T], process: Process) -> "asyncio.Task[_T]":
        """The first task of a process."""
        return self._create(coro, process, process.name)

    def kill(self, process: Process) -> None:
        """As SIGKILL does: no task of it ever runs again, no `finally` and no `except`."""
        self._dead.update(process.tasks)

    def run(self, until: "asyncio.Future[_T]") -> _T:
        """Run until the future is done; its result. StuckError if nothing is left that could do it."""
        if self.is_running():
            raise RuntimeError("this loop runs already")
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            self._run(until)
        finally:
            events._set_running_loop(before)
        return until.result()

    def bury(self) -> None:
        """Let killed tasks and those left over end, now that nobody sees what they do: else Python would complain."""
        self._dead.clear()
        self._ready.extend(self._limbo)
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for _ in range(10):
                left = [task for task in self._process_of if not task.done()]
                if not left:
                    return
                for task in left:
                    task.cancel()
                self._ready_only()
        finally:
            events._set_running_loop(before)

    def _create(self, coro: Any, process: Process, name: str | None) -> "asyncio.Task[Any]":  # noqa: ANN401
        task = asyncio.Task(coro, loop=self, name=name)
        self._process_of[task] = process
        process.tasks.append(task)
        return task

    def _run(self, until: "asyncio.Future[Any]") -> None:
        ready, timers, dead, order = self._ready, self._timers, self._dead, self._order
        while not until.done():
            if not ready:
                self._jump()
                continue
            if order is not None and len(ready) > 1:
                ready.rotate(-int(order.random() * len(ready)))
            handle = ready.popleft()
            callback = handle.callback
            if callback is None:
                continue
            if dead:
                owner = getattr(callback, "__self__", None)  # of a task's step and of its wake-up: the task
                if type(owner) is asyncio.Task and owner in dead:
                    self._limbo.append(handle)
                    continue
            callback(*handle.args)
            while timers and timers[0][0] <= self._now:
                ready.append(heapq.heappop(timers)[2])

    def _jump(self) -> None:
        """To the next timer that still stands."""
        timers, ready = self._timers, self._ready
        while timers:
            when, _, handle = heapq.heappop(timers)
            if handle.callback is None:
                continue
            self._now = max(self._now, when)
            ready.append(handle)
            while timers and timers[0][0] <= self._now:
                ready.append(heapq.heappop(timers)[2])
            return
        raise StuckError("everybody waits, and nothing will ever happen")

    def _ready_only(self) -> None:
        while self._ready:
            handle = self._ready.popleft()
            if handle.callback is not None:
                handle.callback(*handle.args)


def run(coro: Coroutine[Any, Any, _T], *, order: Random | None = None) -> _T:
    """Run a coroutine in a virtual loop of its own: `asyncio.run` for code whose waiting is to take no time."""
    loop = VirtualLoop(order)  # type: ignore[abstract] # what of a loop nobody here calls is not there
    try:
        return loop.run(loop.spawn(coro, Process("main")))
    finally:
        loop.bury()

"""Letting this process come before ordinary work while a group switches."""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from entourage.switch import types as sw

# SCHED_RR: above the QEMUs that it commands, below the lab's relay. Who decides comes before who carries a stream.
_MAIN, _OTHERS = 4, 3
# While users wait it also comes before members that are promised CPU time (at the most 41): those that run again first
# take whole CPUs, and the others would be told late. Below the kernel's threads for interrupts.
_HURRIED = 41
_STANDING_STILL = (sw.Stopping, sw.Draining, sw.Disarming, sw.Committing, sw.Resuming, sw.Undoing)


class Favour:
    """Real-time scheduling for all threads of this process, as long as it follows states in which it counts.

    A hold is decided within ms, and between the stop and the resume users wait for this process: on a busy host it
    would be woken tens of ms late. It waits nearly all of the time, so nobody else is starved. Without the right to,
    nothing changes.
    """

    def __init__(self) -> None:
        self._added: int | None = None  # to the priorities, None while it is ordinary

    def follow(self, state: sw.State) -> None:
        """Be favoured in `state`, or not."""
        if isinstance(state, _STANDING_STILL):
            self._turn(_HURRIED)
        else:
            self._turn(0 if isinstance(state, sw.Converging) else None)

    def end(self) -> None:
        """Ordinary from now on."""
        self._turn(None)

    def _turn(self, added: int | None) -> None:
        if added == self._added:
            return
        self._added = added
        (gc.enable if added is None else gc.disable)()  # a full collection takes tens of ms
        main = threading.main_thread().native_id
        for thread in (t.native_id for t in threading.enumerate()):
            priority = 0 if added is None else added + (_MAIN if thread == main else _OTHERS)
            policy = os.SCHED_OTHER if added is None else os.SCHED_RR | os.SCHED_RESET_ON_FORK
            with suppress(PermissionError, ProcessLookupError):  # the thread has just ended
                os.sched_setscheduler(thread or 0, policy, os.sched_param(priority))


@contextmanager
def favoured() -> Iterator[Favour]:
    """A `Favour` that ends with the block."""
    favour = Favour()
    try:
        yield favour
    finally:
        favour.end()

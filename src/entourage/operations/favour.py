"""Letting this process come before ordinary work while a group switches."""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from entourage.switch import types as sw

# SCHED_RR: above the QEMUs that it commands, below the lab's relay. Who decides comes before who carries a stream.
_MAIN, _OTHERS = 4, 3
_SWITCHING = (sw.Converging, sw.Stopping, sw.Draining, sw.Disarming, sw.Committing, sw.Resuming, sw.Undoing)


class Favour:
    """Real-time scheduling for all threads of this process, as long as it follows states in which it counts.

    A hold is decided within ms, and between the stop and the resume users wait for this process: on a busy host it
    would be woken tens of ms late. It waits nearly all of the time, so nobody else is starved. Without the right to,
    nothing changes.
    """

    def __init__(self) -> None:
        self._is_on = False

    def follow(self, state: sw.State) -> None:
        """Be favoured in `state`, or not."""
        self._turn(isinstance(state, _SWITCHING))

    def end(self) -> None:
        """Ordinary from now on."""
        self._turn(False)

    def _turn(self, on: bool) -> None:
        if on == self._is_on:
            return
        self._is_on = on
        (gc.disable if on else gc.enable)()  # a full collection takes tens of ms
        main = threading.main_thread().native_id
        for thread in (t.native_id for t in threading.enumerate()):
            priority = (_MAIN if thread == main else _OTHERS) if on else 0
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK if on else os.SCHED_OTHER
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

"""Letting this process come before ordinary work while members of a service stand still."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PRIORITY = 3  # SCHED_RR: above the QEMUs that it commands, below the lab's relay


@contextmanager
def favoured() -> Iterator[None]:
    """Real-time scheduling for the calling thread and the threads it starts; ordinary again at the end.

    Between the stop and the resume users wait for this process: on a busy host it would be woken tens of ms late.
    It waits nearly all of the time, so nobody else is starved. Without the right to, nothing changes.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

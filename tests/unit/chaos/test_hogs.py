"""Noisy neighbours that are made on purpose end with whoever made them."""

import os
import select
import signal
import subprocess
import sys

WITHIN_S = 30
MAKER = """
import sys
from entourage.chaos.hogs import Hogs
with Hogs(processes=2, memory=False) as hogs:
    print(*(each.pid for each in hogs._running), flush=True)
    sys.stdin.read()
"""


def has_ended(handle: int) -> bool:
    """Whether the process has ended, or does within some time."""
    return select.select([handle], [], [], WITHIN_S)[0] == [handle]


def test_they_end_also_when_their_maker_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", MAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        handles = [os.pidfd_open(int(word)) for word in maker.stdout.readline().split()]
        assert len(handles) == 2
        assert select.select(handles, [], [], 0)[0] == []
        maker.send_signal(signal.SIGKILL)
    assert all(map(has_ended, handles))
    for handle in handles:
        os.close(handle)

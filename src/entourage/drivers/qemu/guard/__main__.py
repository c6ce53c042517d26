"""`python -m entourage.drivers.qemu.guard`: 0 after SIGTERM, 2 and a line on stderr if it cannot start."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from entourage.drivers.qemu.guard.server import Guard, Log
from entourage.drivers.qemu.guard.successor import Successor
from entourage.drivers.qemu.process import GUARD_SOCKET
from entourage.drivers.sockets import listen

LOG = "guard.jsonl"
SUCCESSOR_LOG = "successor.log"
# SCHED_RR: above ordinary work, but below the QEMUs that an orchestrator favours while it switches: each tells the
# guard of its stop just when the others are to stop.
_PRIORITY = 1


def main(arguments: list[str]) -> int:
    """Guard the members of one directory until told to end."""
    if not arguments:
        print("usage: python -m entourage.drivers.qemu.guard DIRECTORY [COMMAND...]", file=sys.stderr)  # noqa: T201
        return 2
    try:
        os.chdir(arguments[0])  # a socket's path has at most 107 bytes: from here on they are short
        listener = listen(GUARD_SOCKET, another="another guard looks after it")
        log = Log(Path(LOG))
    except OSError as error:
        print(f"guard: {arguments[0]}: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        return 2
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_PRIORITY))
    try:
        asyncio.run(_run(listener, log, arguments[1:]))
    finally:
        Path(GUARD_SOCKET).unlink(missing_ok=True)
    return 0


async def _run(listener: socket.socket, log: Log, command: Sequence[str]) -> None:
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    successor = Successor(command, log=Path(SUCCESSOR_LOG), note=log.note)
    server = await asyncio.start_unix_server(Guard(Path(), log, successor).serve, sock=listener)
    log.note("ready")
    print("ready", flush=True)  # noqa: T201
    await told_to_end.wait()
    server.close()
    log.note("ended")
    log.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

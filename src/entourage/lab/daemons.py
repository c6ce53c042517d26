"""Processes of our own that a lab consists of, beside FRR and QEMU: started in a node, they outlive who starts them."""

import os
import select
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from entourage.lab.errors import LabError

_READY_WITHIN_S = 15.0


def own_command(*words: str) -> list[str]:
    """`entourage` with these words, by the Python that runs now, wherever the script is installed."""
    return [sys.executable, "-c", "from entourage.cli.main import run; run()", *words]


def start(
    module: str, arguments: Sequence[str], *, namespace: Path, log: Path, keep: Collection[int] = frozenset()
) -> None:
    """Run a module of ours in a network namespace, by which it is found again, until it says that it is ready.

    It keeps the file descriptors `keep`, under their numbers. LabError with what it wrote to `log`, its stderr, if it
    does not say so.
    """
    command = ["nsenter", f"--net={namespace}", "setsid", "--fork", sys.executable, "-m", module, *arguments]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, pass_fds=keep
        )
    with process:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], _READY_WITHIN_S)
        answer = os.read(process.stdout.fileno(), 100) if readable else b""
    if answer.strip() != b"ready":
        said = log.read_text(errors="replace").strip()
        raise LabError(f"{module} did not start in {namespace.name}: {said or 'it says nothing'}")

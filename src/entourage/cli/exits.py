"""How commands end: the exit codes, and the one place that turns errors into messages."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from importlib import import_module
from typing import Any

import typer


class Exit(IntEnum):
    """What a command's exit code says."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    ROLLED_BACK = 4
    NEEDS_ROOT = 77  # EX_NOPERM of sysexits.h, as the set-up has it
    INTERRUPTED = 130  # as a shell has it for Ctrl-C


EXIT_CODES = """\b
Exit codes:
  0    done
  1    failed, as the message says
  2    the command line or a file is wrong; nothing was changed
  3    the planner refused the move; nothing was changed
  4    the move was rolled back
  77   root is needed
  130  interrupted; a move that had not committed was put back"""


class NeedsRootError(Exception):
    """The command needs root; the message says what for."""


class InterruptedByUserError(Exception):
    """A signal ended the work, and it has cleaned up after itself."""


class UsageError(Exception):
    """What the user wrote cannot be meant; the message says where and what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as it is told: its kind in a word, one sentence, and more lines if there is more to say."""

    code: Exit
    kind: str
    message: str
    problems: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The error for `--json`."""
        problems = {"problems": list(self.problems)} if self.problems else {}
        return {"error": {"kind": self.kind, "message": self.message, **problems, **self.more}}

    def to_text(self) -> str:
        """The error for people."""
        return "\n".join([f"entourage: {self.message}", *(f"  {line}" for line in self.problems)])


def need_root(command: str) -> None:
    """NeedsRootError unless this is root."""
    if os.geteuid() != 0:
        raise NeedsRootError(
            f"{command} needs root, because the lab is real: it enters network namespaces, uses TAP devices, and runs "
            "QEMU and FRR with chroot. Run it as root, or with sudo."
        )


def guarded(run: Callable[[], object], *, as_json: bool) -> int:
    """Run a command and return its exit code. Whatever it raises is told, on stderr or as JSON on stdout."""
    try:
        code = run()
    except BaseException as error:  # noqa: BLE001 - the last resort: users see no traceback
        # What errors mean is imported only when there is one: it knows those of all layers below.
        failure: Failure = import_module("entourage.cli.failures").failure_of(error)
        _tell(failure, as_json=as_json)
        return failure.code
    return code if isinstance(code, int) else Exit.DONE


def _tell(failure: Failure, *, as_json: bool) -> None:
    try:
        if as_json:
            typer.echo(json.dumps(failure.to_json(), indent=1))
        else:
            typer.echo(failure.to_text(), err=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody listens; the exit code still says it

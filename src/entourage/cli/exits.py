"""How commands end: the exit codes, and the one place that turns errors into messages."""

import asyncio
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
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
  2    the command line or a spec file is wrong: nothing was changed
  3    the planner refused the move: nothing was changed
  4    the move was begun and rolled back: everything is where it was
  77   root is needed
  130  interrupted; a move that had not committed was put back"""


class NeedsRootError(Exception):
    """The command needs root; the message says what for."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"{command} needs root, because the lab is real: it enters network namespaces, uses TAP devices, and runs "
            "QEMU and FRR with chroot. Run it as root, or with sudo."
        )


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


def guarded(run: Callable[[], object], *, as_json: bool) -> int:
    """Run a command and return its exit code. Whatever it raises is told, on stderr or as JSON on stdout."""
    try:
        code = run()
    except BaseException as error:  # noqa: BLE001 - the last resort: users see no traceback
        failure = failure_of(error)
        try:
            if as_json:
                sys.stdout.write(json.dumps(failure.to_json(), indent=1) + "\n")
            else:
                sys.stderr.write(failure.to_text() + "\n")
        except BrokenPipeError:
            pass  # nobody listens; the exit code still says it
        return failure.code
    return code if isinstance(code, int) else Exit.DONE


def failure_of(error: BaseException) -> Failure:
    """What an error means to the user."""
    known = [found for found in map(_known, _leaves(error)) if found is not None]
    return known[0] if known else _fault(error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _known(error: BaseException) -> Failure | None:
    match error:
        case KeyboardInterrupt() | asyncio.CancelledError() | typer.Abort():
            return Failure(code=Exit.INTERRUPTED, kind="interrupted", message="interrupted")
        case typer.TyperException():
            return Failure(code=Exit.USAGE, kind="usage", message=_usage(error))
        case UsageError():
            return Failure(code=Exit.USAGE, kind="usage", message=str(error))
        case NeedsRootError():
            return Failure(code=Exit.NEEDS_ROOT, kind="needs-root", message=str(error))
        case BrokenPipeError():
            return Failure(code=Exit.FAILED, kind="output", message="nobody reads the output any more")
        case _:
            return _of_operations(error)


def _usage(error: typer.TyperException) -> str:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message} Try: {context.command_path} --help"


def _of_operations(error: BaseException) -> Failure | None:
    """The errors of the layers below, which are only imported when something has gone wrong."""
    from entourage.lab.errors import LabError
    from entourage.lab.setup import SetupMissingError
    from entourage.operations.moves import RefusedError
    from entourage.operations.reports import ReportError
    from entourage.operations.words import UnknownNameError
    from entourage.ports.errors import DriverError
    from entourage.probe.runner import ProbeError
    from entourage.spec.problems import SpecError

    match error:
        case SpecError():
            problems = tuple(map(str, error.problems))
            found = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
            return Failure(code=Exit.USAGE, kind="spec", message=f"the spec has {found}", problems=problems)
        case UnknownNameError():
            return Failure(code=Exit.USAGE, kind="unknown-name", message=str(error))
        case RefusedError():
            return _refused(error)
        case ReportError():
            return Failure(code=Exit.USAGE, kind="report", message=str(error), problems=tuple(error.problems))
        case SetupMissingError():
            return Failure(code=Exit.FAILED, kind="setup-missing", message=str(error))
        case LabError():
            return Failure(code=Exit.FAILED, kind="lab", message=str(error))
        case DriverError() | ConnectionError():
            return Failure(code=Exit.FAILED, kind="driver", message=str(error))
        case ProbeError():
            return Failure(code=Exit.FAILED, kind="probe", message=str(error))
        case OSError() if error.filename is not None:
            return Failure(code=Exit.FAILED, kind="file", message=f"{error.filename}: {error.strerror}")
        case _:
            return None


def _refused(error: Any) -> Failure:  # noqa: ANN401 - RefusedError, imported late
    refusal = error.refusal
    lines = [
        f"{verdict.code.value} (said by {verdict.said_by}; {verdict.code.outlook.value}): {reason}"
        for verdict in refusal.verdicts
        for reason in verdict.reasons or ("no more is known",)
    ]
    return Failure(
        code=Exit.REFUSED,
        kind="refused",
        message=f"the move of {refusal.service} to {refusal.target} is refused: {refusal.verdict.code.value}",
        problems=tuple(lines),
        more={"refusal": refusal.to_json()},
    )


def _fault(error: BaseException) -> Failure:
    prefix = f"entourage-fault-{datetime.now().astimezone():%Y%m%d-%H%M%S}-"
    with tempfile.NamedTemporaryFile("w", prefix=prefix, suffix=".log", delete=False, encoding="utf-8") as log:
        log.write(f"{' '.join(sys.argv)}\n\n")
        log.writelines(traceback.format_exception(error))
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Failure(
        code=Exit.FAILED,
        kind="fault",
        message=f"this is a fault in entourage, please report it with the file {log.name} ({what})",
        more={"log": log.name},
    )

"""What every error means to the user."""

import sys
import tempfile
import traceback
from collections.abc import Iterator
from datetime import datetime

import typer

from entourage.cli.exits import Exit, Failure, InterruptedByUserError, NeedsRootError, UsageError
from entourage.lab.errors import LabError
from entourage.lab.place import WhichServiceError
from entourage.lab.setup import SetupMissingError
from entourage.operations.moves import RefusedError
from entourage.operations.reports import ReportError
from entourage.operations.words import UnknownNameError
from entourage.planner import Refusal
from entourage.ports.errors import DriverError
from entourage.probe.runner import ProbeError
from entourage.spec.catalogue import CatalogueError
from entourage.spec.problems import SpecError

_KINDS: tuple[tuple[type[BaseException], Exit, str], ...] = (
    (UsageError, Exit.USAGE, "usage"),
    (UnknownNameError, Exit.USAGE, "unknown-name"),
    (NeedsRootError, Exit.NEEDS_ROOT, "needs-root"),
    (WhichServiceError, Exit.USAGE, "unknown-name"),
    (CatalogueError, Exit.USAGE, "usage"),
    (SetupMissingError, Exit.FAILED, "setup-missing"),
    (LabError, Exit.FAILED, "lab"),
    (DriverError, Exit.FAILED, "driver"),
    (ProbeError, Exit.FAILED, "probe"),
    (ConnectionError, Exit.FAILED, "driver"),
)


def failure_of(error: BaseException) -> Failure:
    """How an error is told; one that nobody expected is a fault, and its traceback goes to a file."""
    for leaf in _leaves(error):
        failure = _known(leaf)
        if failure is not None:
            return failure
    return _fault(error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _known(error: BaseException) -> Failure | None:
    match error:
        case InterruptedByUserError():
            return Failure(code=Exit.INTERRUPTED, kind="interrupted", message="interrupted")
        case typer.TyperException():
            return Failure(code=Exit.USAGE, kind="usage", message=_usage(error))
        case SpecError(problems=found):
            count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
            return Failure(
                code=Exit.USAGE, kind="spec", message=f"{count} in the spec", problems=tuple(map(str, found))
            )
        case ReportError(problems=lines):
            return Failure(code=Exit.USAGE, kind="report", message=str(error), problems=tuple(lines))
        case RefusedError(refusal=refusal):
            return _refused(refusal)
        case BrokenPipeError():
            return Failure(code=Exit.FAILED, kind="output", message="nobody reads the output")
    for kind, code, name in _KINDS:
        if isinstance(error, kind):
            return Failure(code=code, kind=name, message=str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return Failure(code=Exit.FAILED, kind="file", message=f"{error.filename}: {error.strerror}")
    return None


def _usage(error: typer.TyperException) -> str:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message} (try: {context.command_path} --help)"


def _refused(refusal: Refusal) -> Failure:
    lines = [
        f"{verdict.code.value} (said by {verdict.said_by}, {verdict.code.outlook.value}): {reason}"
        for verdict in refusal.verdicts
        for reason in verdict.reasons or ("no reason was given",)
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
        message=f"this is a fault in entourage; please report it with the file {log.name} ({what})",
        more={"log": log.name},
    )

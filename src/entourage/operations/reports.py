"""Reports on disk: `<out>/moves/<move>.json` and the page made from it, `<out>/demo/report.json` and its page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from entourage.lab.kept import write_whole
from entourage.report import (
    DEMO_SCHEMA,
    render_demo,
    render_move,
    render_noisy,
    validate_demo_report,
    validate_move_report,
)
from entourage.spec.problems import closest

MOVES, DEMO, FAILOVERS, FAILOVER_TESTS = "moves", "demo", "failovers", "failover-tests"
_LISTED = 10


class Kept(NamedTuple):
    """Where a report is: the document, and the page that was made from it."""

    json: Path
    html: Path


class ReportError(Exception):
    """There is no such report, or the file is none; `problems` has what is wrong with it, a line each."""

    def __init__(self, message: str, *, problems: list[str] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or []


def write_move(document: Mapping[str, Any], out: Path) -> Kept:
    """Keep a move's report and its page, each whole or not at all."""
    return _write(document, move_kept(document["move"], out).json)


def write_failover(document: Mapping[str, Any], out: Path) -> Path:
    """Keep a failover's report, whole or not at all."""
    path = out / FAILOVERS / f"{document['failover']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(path, json.dumps(document, indent=1))
    return path


def write_failover_test(document: Mapping[str, Any], out: Path) -> Path:
    """Keep the report of a failover that was tried, whole or not at all."""
    path = out / FAILOVER_TESTS / f"{document['test']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(path, json.dumps(document, indent=1))
    return path


def write_demo(document: Mapping[str, Any], out: Path) -> Kept:
    """Keep a demo's report and its page."""
    return _write(document, out / DEMO / "report.json")


def write_noisy(document: Mapping[str, Any], out: Path) -> Kept:
    """Keep a story with noisy neighbours and its page."""
    path = out / DEMO / "noisy.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = Kept(path, path.with_suffix(".html"))
    _write_whole(path, json.dumps(document, indent=1))
    _write_whole(kept.html, render_noisy(document))
    return kept


def move_kept(move: str, out: Path) -> Kept:
    """Where a move's report is kept."""
    path = out / MOVES / f"{move}.json"
    return Kept(path, path.with_suffix(".html"))


def known_moves(out: Path) -> list[str]:
    """The ids of the moves whose reports are there, the latest first."""
    return [path.stem for path in sorted((out / MOVES).glob("*.json"), key=lambda p: p.stat().st_mtime, reverse=True)]


def load_report(what: str, out: Path) -> tuple[dict[str, Any], Path]:
    """The document that `what` names, a move's id or a file, and its file. ReportError if it is none."""
    paths = [Path(what), move_kept(what, out).json]
    for path in paths:
        if path.is_file():
            return _checked(path), path
    raise _unknown(what, out)


def rewrite_page(document: Mapping[str, Any], path: Path) -> Kept:
    """Make the page of a document again, beside its file."""
    page = path.with_suffix(".html")
    _write_whole(page, _render(document))
    return Kept(path, page)


def _unknown(what: str, out: Path) -> ReportError:
    known = known_moves(out)
    if not known:
        return ReportError(f"no file {what!r}, and no report of a move is in {out / MOVES}")
    likely = closest(what, known)
    hint = f"did you mean {likely!r}? " if likely else ""
    listed = ", ".join(known[:_LISTED]) + (", …" if len(known) > _LISTED else "")
    return ReportError(f"no file and no move {what!r}; {hint}the reports in {out / MOVES} are: {listed}")


def _checked(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise ReportError(f"{path} is no report: it is not JSON", problems=[str(error)]) from error
    validate = validate_demo_report if _is_demo(document) else validate_move_report
    problems = validate(document)
    if problems:
        raise ReportError(f"{path} is no report", problems=problems)
    checked: dict[str, Any] = document
    return checked


def _is_demo(document: object) -> bool:
    return isinstance(document, Mapping) and document.get("schema") == DEMO_SCHEMA


def _render(document: Mapping[str, Any]) -> str:
    return render_demo(document) if _is_demo(document) else render_move(document)


def _write(document: Mapping[str, Any], path: Path) -> Kept:
    _write_whole(path, json.dumps(document, indent=1))
    return rewrite_page(document, path)


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)

"""`entourage realtime`: it looks and changes nothing."""

from rich.console import RenderableType
from rich.text import Text

from entourage.cli.commands import Realtime
from entourage.cli.exits import Exit, need_root
from entourage.cli.output import show, show_json, table
from entourage.cli.running import run
from entourage.lab.place import open_place
from entourage.operations.realtime import Forwarded, RealtimeView, Watched, watch
from entourage.report.values import ms


def realtime(wanted: Realtime) -> int:
    """Show promises and what became of them; 1 if one is not kept."""
    need_root("realtime")
    place = open_place(wanted.lab, service=wanted.service)
    seen = run(lambda _: watch(place, for_s=wanted.seconds, probes=wanted.probe))
    if wanted.as_json:
        show_json({"lab": wanted.lab, "service": place.service.id, "seconds": wanted.seconds, **_to_json(seen)})
    else:
        show(*_lines(seen))
    return Exit.FAILED if seen.verdicts else Exit.DONE


def _to_json(seen: RealtimeView) -> dict[str, object]:
    return {
        "threads": [each.to_json() for each in seen.threads],
        "forwarded": None if seen.forwarded is None else dict(seen.forwarded.figures),
        "verdicts": seen.verdicts,
    }


def _lines(seen: RealtimeView) -> list[RenderableType]:
    if not seen.threads and not seen.verdicts:
        return ["nothing is promised: members have it with realtime: {budget: 1 ms, period: 5 ms}"]
    head = ("member", "host", "thread", "promised", "applied", "used", "waited")
    verdicts: list[RenderableType] = [Text(each, style="bold red") for each in seen.verdicts]
    notes = [Text(each, style="yellow") for each in seen.notes]
    rows = table(head, [_row(each) for each in seen.threads])
    if seen.forwarded is not None:
        notes.append(Text(_forwarded(seen.forwarded)))
    return [rows, *notes, *(verdicts or [Text("all is kept", style="green")])]


def _forwarded(seen: Forwarded) -> str:
    found = seen.figures
    p50, p99, p999 = (ms(found[f"{name}_ms"]) for name in ("p50", "p99", "p999"))
    promised = "" if seen.promised_s is None else f", promised {ms(seen.promised_s * 1000)}"
    told = f"{found['packets']} packets from the edge to a server and back, {found['lost']} lost"
    return f"{told}: p50 {p50}, p99 {p99}, p99.9 {p999}{promised}"


def _row(watched: Watched) -> tuple[object, ...]:
    promise = watched.thread.promise
    return (
        watched.member,
        watched.host,
        watched.thread.name,
        f"{promise.budget_us} µs in {promise.period_us} µs ({float(promise.share):.1%})",
        watched.thread.found or "it has ended",
        f"{watched.ran:.1%}",
        f"{watched.waited:.2%}",
    )

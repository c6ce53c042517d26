"""`entourage advise`."""

import math
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from entourage.cli.exits import need_root
from entourage.cli.output import show, show_json, table
from entourage.cli.rule_commands import Advise
from entourage.cli.running import run
from entourage.lab.place import open_place
from entourage.model.units import format_bytes, format_ms
from entourage.operations.advising import Advised, advise_service
from entourage.planner.advice import Option


def advise(wanted: Advise) -> None:
    """Show the options, the best first."""
    need_root("advise")
    place = open_place(wanted.lab, service=wanted.service)
    advised = run(lambda _: advise_service(place, watch_s=wanted.watch))
    if wanted.as_json:
        show_json(advised.to_json())
    else:
        show(*_lines(advised))


def _lines(advised: Advised) -> list[RenderableType]:
    best = advised.advice.best
    regions = list(best.rtt_ms)
    rows = [_row(option, regions) for option in advised.advice.options]
    head = ("option", *regions, "crossings", "between sites", "copied", "blackout", "takes")
    carried = "what it carries was not counted"
    if advised.carried is not None:
        carried = f"it carried {format_bytes(advised.carried)}/s during {advised.watched_s:g} s"
    return [
        Text(f"{advised.service} at {' and '.join(advised.sites)}: {best.name}", style="bold"),
        table(head, rows),
        f"{carried}; round trips are computed, regions count alike",
        *(Text(f"  {reason}") for reason in advised.advice.why),
    ]


def _row(option: Option, regions: Sequence[str]) -> tuple[object, ...]:
    if option.refused:
        return (option.name, *("" for _ in regions), "", "", "", "", Text("refused", style="bold red"))
    by_region: dict[str, float] = {str(region): rtt for region, rtt in option.rtt_ms.items()}
    rtts = ["no answer" if math.isinf(by_region[region]) else format_ms(by_region[region]) for region in regions]
    between = "" if option.bytes_per_hour is None else f"{format_bytes(option.bytes_per_hour)}/h"
    moves = option.members > 0
    return (
        option.name,
        *rtts,
        option.crossings,
        between,
        format_bytes(option.copied) if moves else "",
        format_ms(option.blackout_ms) if moves else "",
        f"{option.predicted_s:.0f} s" if moves else "",
    )

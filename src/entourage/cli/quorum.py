"""`entourage quorum`: which site may run its services, who heard whom, and who may act for a lost one."""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from entourage.cli.commands import Quorum
from entourage.cli.exits import need_root
from entourage.cli.output import show, show_json, table
from entourage.cli.running import run
from entourage.lab.place import open_lab
from entourage.operations.quorum import QuorumSeen, look_at_quorum


def quorum(wanted: Quorum) -> None:
    """Show what every agent tells."""
    need_root("quorum")
    lab = open_lab(wanted.lab)
    seen = run(lambda _: look_at_quorum(lab))
    if wanted.as_json:
        show_json(seen.to_json())
    else:
        show(*_lines(seen))


def _lines(seen: QuorumSeen) -> list[RenderableType]:
    rights: list[tuple[object, ...]] = []
    for agent, told in seen.told.items():
        if told is None:
            rights.append((agent, Text("does not answer", style="bold red"), ""))
        elif agent not in told["sites"]:
            rights.append((agent, "witness", told["why"]))
        else:
            word = Text("may run", style="green") if told["right"] else Text("may not run", style="bold red")
            rights.append((agent, word, told["why"]))
    heard = [
        (site, about["condition"], agent, _ago(known["heard_s"]))
        for agent, told in seen.told.items()
        if told is not None
        for site, about in told["sites"].items()
        for vantage, known in about["seen"].items()
        if vantage == agent
    ]
    reasons = [Text(f"{agent}: {reason}") for agent, told in seen.told.items() for reason in _reasons(agent, told)]
    return [
        table(("agent", "", "why"), rights),
        table(("site", "is", "as seen by", "which last heard it"), heard),
        *reasons,
    ]


def _reasons(agent: str, told: Mapping[str, Any] | None) -> list[str]:
    """What a site's agent says of the other sites."""
    if told is None:
        return []
    return [
        reason
        for site, about in told["sites"].items()
        if site != agent
        for reason in about["reasons"]
        if reason.startswith(f"{agent} may")
    ]


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s ago"

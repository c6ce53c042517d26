"""The arguments and options that commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from entourage.cli.exits import NeedsRootError

DEFAULT_LAB, DEMO_LAB = "lab1", "demo"

Lab = Annotated[str, typer.Option("--lab", metavar="NAME", envvar="ENTOURAGE_LAB", help="The lab's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, and errors as JSON too.")]
Service = Annotated[
    str | None, typer.Argument(metavar="[SERVICE]", help="The service; may be left out where a lab has one.")
]
To = Annotated[str, typer.Option("--to", metavar="SITE", help="The site to move to.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="MEMBER", help="Move this member only; may be repeated. All members otherwise."),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="group|serial|parallel",
        help="group: all in one switch. serial, parallel: the hypervisor's own migrations, one after another or all at "
        "once. Left out, the planner takes the best that every member's driver can do.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where reports are kept.")]
Sites = Annotated[
    Path | None, typer.Option("--sites", metavar="FILE", help="Sites, links and regions; the example otherwise.")
]
ServiceFile = Annotated[
    Path | None, typer.Option("--service", metavar="FILE", help="The service; the example otherwise.")
]
Rtt = Annotated[str | None, typer.Option("--rtt", metavar="'50 ms'", help="Round trip of every inter-site link.")]
Rate = Annotated[str | None, typer.Option("--rate", metavar="'200 Mbit/s'", help="Rate of every inter-site link.")]
Loss = Annotated[str | None, typer.Option("--loss", metavar="'0 %'", help="Loss of every inter-site link, each way.")]
Sessions = Annotated[
    int, typer.Option("--sessions", metavar="N", min=0, max=20_000, help="Live client sessions meanwhile; 0: none.")
]


def need_root(command: str) -> None:
    """NeedsRootError unless this is root."""
    if os.geteuid() != 0:
        raise NeedsRootError(command)


def epilog(*examples: str) -> str:
    """The examples at the end of a command's help, a line each."""
    return "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])

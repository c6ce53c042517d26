"""What can be written after `entourage run`, `explain`, `advise`, `rules` and `decisions`; see `commands`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from entourage.cli.commands import LAB, OUT, Json, LabName, Out, Service, epilog_of

_RuleFile = Annotated[
    Path | None,
    typer.Option("--rules", metavar="FILE", help="The rules; else those that are in force since the last run."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Watch the hypervisors and routes, decide by the rules, and act, until Ctrl-C.

    Every decision is kept, see `entourage decisions`. Interrupted, killed or crashed, what it had begun is brought to
    its end, by the hosts' guards or by the next run.
    """

    epilog: ClassVar = epilog_of(
        "entourage run --rules rules.yaml",
        "entourage run --rules rules.yaml --only-decide",
        "entourage run --once --json",
        note="With --json each decision and each outcome is one line. One run at a time acts in a lab.",
    )
    rules: _RuleFile = None
    once: Annotated[bool, typer.Option("--once", help="Look once, do what that asks for, and end.")] = False
    only_decide: Annotated[bool, typer.Option("--only-decide", help="Say what would be done, and do nothing.")] = False
    out: Out = OUT
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain:
    """Which rules look at a service, what they see now, and what they say; and what was decided lately."""

    epilog: ClassVar = epilog_of("entourage explain", "entourage explain shop --rules draft.yaml --json")
    service: Service = None
    rules: _RuleFile = None
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Check a rule file against a lab, and show what it says; or the rules that are in force."""

    epilog: ClassVar = epilog_of(
        "entourage rules",
        "entourage rules --rules draft.yaml",
        "entourage rules --observations",
        note="Exit code 2 if the file cannot be used; every mistake is told with its line and column.",
    )
    rules: _RuleFile = None
    observations: Annotated[
        bool, typer.Option("--observations", help="List what an expression may name, and nothing else.")
    ] = False
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Advise:
    """Compare what may be done about a service: leave it as it lies, or move all of it to one site or another."""

    epilog: ClassVar = epilog_of("entourage advise", "entourage advise shop --watch 30 --json")
    service: Service = None
    watch: Annotated[
        float, typer.Option("--watch", metavar="S", min=0.1, max=3600, help="How long to count what it carries.")
    ] = 2.0
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Say which hosts are to be left: nothing is placed there any more, and rules may evacuate them; or list them."""

    epilog: ClassVar = epilog_of(
        "entourage maintenance",
        "entourage maintenance east/h1 --reason 'new memory'",
        "entourage maintenance east --over",
    )
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="HOST|SITE", help="As `entourage status` writes it; or all of a site.")
    ] = None
    over: Annotated[bool, typer.Option("--over", help="They may be used again.")] = False
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What for; others see it.")] = ""
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFailover:
    """Try a failover without touching production: the service from its replicas, in a bubble, used by clients there.

    Nothing is announced, nobody outside reaches it, and nothing of it is left.
    """

    __test__ = False  # for pytest its name looks like a test's
    epilog: ClassVar = epilog_of(
        "entourage test-failover --to west",
        "entourage test-failover shop --to west --json",
        "entourage test-failover shop --clean-up",
        note="The report is kept as DIR/failover-tests/TEST.json. Exit code 1 if the service did not serve there.",
    )
    service: Service = None
    to: Annotated[str | None, typer.Option("--to", metavar="SITE", help="Where it would fail over to.")] = None
    without_data: Annotated[
        bool, typer.Option("--without-data", help="Disks of which there is no replica may be empty.")
    ] = False
    clean_up: Annotated[bool, typer.Option("--clean-up", help="Take away what a test has left that was killed.")] = (
        False
    )
    out: Out = OUT
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What the rules decided, the latest first, and what came of it."""

    epilog: ClassVar = epilog_of("entourage decisions", "entourage decisions shop --most 20 --json")
    service: Service = None
    most: Annotated[int, typer.Option("--most", metavar="N", min=1, max=10_000, help="How many.")] = 30
    lab: LabName = LAB
    as_json: Json = False

"""What can be written after `entourage`: for each command its arguments and options, and its help.

The classes are the single place of both; `main` registers them, and the module that carries a command out gets
what was written as one object.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

LabName = Annotated[str, typer.Option("--lab", metavar="NAME", envvar="ENTOURAGE_LAB", help="The lab's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, and errors as JSON, too.")]
Service = Annotated[
    str | None, typer.Argument(metavar="SERVICE", help="The service; may be left out where a lab has one.")
]
NamedService = Annotated[str, typer.Argument(metavar="SERVICE", help="The service's name.")]
To = Annotated[str | None, typer.Option("--to", metavar="SITE", help="The site to move to.")]
OffHost = Annotated[
    str | None,
    typer.Option(
        "--off", metavar="HOST", help="Move what is on this host to others of its site instead; SITE/HOST, as east/h1."
    ),
]
MoveId = Annotated[str, typer.Argument(metavar="MOVE", help="A move's id, as `entourage moves` lists it.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="MEMBER", help="Move this member only; may be repeated. Else all members move."),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="group|serial|parallel",
        help="group: all in one switch. serial, parallel: the hypervisor's own migrations, one after another or all "
        "at once. Else the planner takes the best that all members' drivers can do.",
    ),
]
Sessions = Annotated[int, typer.Option("--sessions", metavar="N", min=0, max=20_000, help="Live client sessions.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where reports are kept.")]

LAB, DEMO_LAB = "lab1", "demo"
OUT = Path("out")


def epilog_of(*examples: str, note: str = "") -> str:
    """What a command's help ends with."""
    lines = "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])
    return f"{lines}\n\n{note}" if note else lines


@dataclass(frozen=True, slots=True, kw_only=True)
class LabUp:
    """Bring a lab up with its service running: namespaces, BGP routers, links with delay, and virtual machines.

    If a spec is wrong or anything fails, nothing is left behind.
    """

    epilog: ClassVar = epilog_of(
        "entourage lab up",
        "entourage lab up --lab far --rtt '100 ms' --rate '1 Gbit/s' --loss '0.1 %'",
        "entourage lab up --sites my-sites.yaml --service my-service.yaml --json",
        "entourage lab up --service examples/shop-licensed.yaml --licences examples/licences.yaml",
    )
    sites: Annotated[Path | None, typer.Option("--sites", metavar="FILE", help="Sites, links and regions.")] = None
    service: Annotated[Path | None, typer.Option("--service", metavar="FILE", help="The service.")] = None
    catalogue: Annotated[
        Path | None,
        typer.Option(
            "--catalogue",
            metavar="FILE",
            help="What `entourage create` makes services of; the examples' with its sites.",
        ),
    ] = None
    licences: Annotated[
        Path | None, typer.Option("--licences", metavar="FILE", help="Products and pools; without, nobody counts.")
    ] = None
    rtt: Annotated[str | None, typer.Option("--rtt", metavar="'50 ms'", help="Of every inter-site link.")] = None
    rate: Annotated[str | None, typer.Option("--rate", metavar="'200 Mbit/s'", help="Of every inter-site link.")] = None
    loss: Annotated[str | None, typer.Option("--loss", metavar="'0 %'", help="Of every inter-site link.")] = None
    encrypt: Annotated[
        bool,
        typer.Option(
            "--encrypt/--in-the-clear", help="Whether hosts get certificates, and copies of members are encrypted."
        ),
    ] = True
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="postgresql://USER@HOST/DATABASE",
            help="Where moves are kept, for several machines that share the work; else a file of the lab's own.",
        ),
    ] = None
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabDown:
    """Take a lab down, whole or half, running or crashed. Nothing of it is left."""

    epilog: ClassVar = epilog_of("entourage lab down", "entourage lab down far", "entourage lab down --all")
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The lab, as with --lab.")] = None
    everything: Annotated[bool, typer.Option("--all", help="Every lab on this machine.")] = False
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatus:
    """Which labs are there, whole or half. Without root their processes and BGP sessions cannot be seen."""

    epilog: ClassVar = epilog_of("entourage lab status", "entourage lab status --json")
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabCut:
    """Cut a link of a lab: from now on it loses every packet, both ways. A name that is none lists the links."""

    epilog: ClassVar = epilog_of(
        "entourage lab cut inter-site:east-west", "entourage lab cut witness:east --lab far --json"
    )
    link: Annotated[str, typer.Argument(metavar="LINK", help="As the relay has it: inter-site:east-west.")]
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHeal:
    """Let a link of a lab carry packets again, as its spec says."""

    epilog: ClassVar = epilog_of("entourage lab heal inter-site:east-west", "entourage lab heal witness:east --json")
    link: Annotated[str, typer.Argument(metavar="LINK", help="As the relay has it: inter-site:east-west.")]
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabKill:
    """Kill a site of a lab at once, as by a power cut: virtual machines, guards, agent, routers, and its links."""

    epilog: ClassVar = epilog_of("entourage lab kill east", "entourage lab kill east --lab far --json")
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site.")]
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRevive:
    """Give a killed site its links, edge router, guards and agent back. Its virtual machines are not started."""

    epilog: ClassVar = epilog_of("entourage lab revive east", "entourage lab revive east --lab far --json")
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site.")]
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """Which site may run its services, what each vantage point last heard, and who may act for a lost site and why."""

    epilog: ClassVar = epilog_of("entourage quorum", "entourage quorum --lab far --json")
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where every member runs, where packets enter, and what is not as it should be; of every service, or of one."""

    epilog: ClassVar = epilog_of("entourage status", "entourage status shop", "entourage status --lab far --json")
    service: Annotated[str | None, typer.Argument(metavar="SERVICE", help="The service; else all.")] = None
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Realtime:
    """The real-time CPU of members: what each thread is promised, what its kernel has, and what it used for a while."""

    epilog: ClassVar = epilog_of(
        "entourage realtime",
        "entourage realtime --seconds 10 --json",
        "entourage realtime --seconds 20 --probe",
        note="Exit code 1 if something that was promised is not so.",
    )
    service: Service = None
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=0.1, max=3600, help="How long to watch.")] = 1
    probe: Annotated[
        bool, typer.Option("--probe", help="Send 1,000 packets a second through the chain meanwhile, and time them.")
    ] = False
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicate:
    """Keep copies of the service's disks at another site, as fresh as its file wants them, until Ctrl-C.

    What is wanted: rpo: 10 s in the service's file. While the service is moved the copies wait, and go on from where it
    is then. What is told is when something changes.
    """

    epilog: ClassVar = epilog_of("entourage replicate", "entourage replicate --lab far")
    service: Service = None
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """The copies of disks at other sites: where they are, how old their data is, and what the last round took.

    Also the disks that a site has put aside when it came back after a failover.
    """

    epilog: ClassVar = epilog_of(
        "entourage replicas",
        "entourage replicas --lab far --json",
        "entourage replicas --discard-kept east/h1/web1.1.20261128T101500Z",
        "entourage replicas shop --discard-kept all",
        note="Exit code 1 if a replica is older than the service wants, or not there.",
    )
    service: Service = None
    discard_kept: Annotated[
        str | None,
        typer.Option(
            "--discard-kept", metavar="NAME", help="Remove the disk of that name that was put aside; all: every one."
        ),
    ] = None
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Licences:
    """The licence pools: seats used, reserved by moves under way and free, and what vendors do not allow.

    Also what the licences of a set of appliances for every service cost a month, against one set that all share.
    """

    epilog: ClassVar = epilog_of(
        "entourage licences",
        "entourage licences --lab far --json",
        note="Exit code 1 if a licence is violated.",
    )
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The way of a request hop by hop, computed from what is, and the round trip that requests really take."""

    epilog: ClassVar = epilog_of("entourage trace", "entourage trace shop --from users-west")
    service: Service = None
    region: Annotated[
        str | None, typer.Option("--from", metavar="REGION", help="The users' region; else every region.")
    ] = None
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMove:
    """What a move would do, take and cost, and what it cannot promise. Nothing is changed."""

    epilog: ClassVar = epilog_of(
        "entourage plan --to west",
        "entourage plan shop --to west --only web1 --only web2",
        "entourage plan --to west --strategy serial --json",
        "entourage plan --off east/h1",
    )
    to: To = None
    service: Service = None
    only: Only = None
    off: OffHost = None
    strategy: Strategy = None
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Move a service to another site while users use it, and report what they had before, in and after it.

    With --off only the members that are on a host move, to other hosts of its site; the route stays as it is.
    """

    epilog: ClassVar = epilog_of(
        "entourage move --to west",
        "entourage move shop --to west --only web1 --only web2 --strategy serial",
        "entourage move --to east --sessions 1000 --out reports --json",
        "entourage move --to west --dry-run",
        "entourage move --to west --hold",
        "entourage move shop --off east/h1",
        "entourage move --back",
        note="Ctrl-C before the commit puts everything back. The report is kept as DIR/moves/MOVE.json and .html.",
    )
    to: To = None
    service: Service = None
    only: Only = None
    off: OffHost = None
    strategy: Strategy = None
    back: Annotated[
        bool, typer.Option("--back", help="Undo the service's last committed move: its members, to where they were.")
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the hosts whether the move may begin, show its plan, change nothing.")
    ] = False
    if_unverified: Annotated[
        str | None,
        typer.Option(
            "--if-unverified",
            metavar="stay|move-back",
            help="When all runs at the target and users are not served there: stay and say so, or move it back."
            " By default as the service's file says.",
        ),
    ] = None
    hold: Annotated[
        bool, typer.Option("--hold", help="Copy, and wait for `entourage commit MOVE`. Users notice nothing.")
    ] = False
    despite_rules: Annotated[
        bool, typer.Option("--despite-rules", help="Move although a rule that is in force refuses it.")
    ] = False
    sessions: Sessions = 200
    out: Out = OUT
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Make a service in a lab that is up, with appliances of its own, from a template of a catalogue.

    It is announced when its members serve, and tried from every region. If anything fails nothing of it is left.
    """

    epilog: ClassVar = epilog_of(
        "entourage create blue --from web --at east",
        "entourage create blue --from small --at west --catalogue my-catalogue.yaml --json",
        note="Ctrl-C takes away what was made. What is left if this is killed: entourage delete SERVICE.",
    )
    service: NamedService
    template: Annotated[str, typer.Option("--from", metavar="TEMPLATE", help="The template.")]
    site: Annotated[str, typer.Option("--at", metavar="SITE", help="Where it is started.")]
    catalogue: Annotated[
        Path | None,
        typer.Option("--catalogue", metavar="FILE", help="Instead of the lab's own, which it is from then on."),
    ] = None
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Take a service away, whole or half-made: its members, its route, its network. Nothing of it is left."""

    epilog: ClassVar = epilog_of("entourage delete blue", "entourage delete blue --lab far --json")
    service: NamedService
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """All moves of a lab, the latest first, and which of them are under way or interrupted."""

    epilog: ClassVar = epilog_of("entourage moves", "entourage moves --lab far --json")
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Bring a move to its end whose orchestrator died: to the target if it had committed, else back to the source.

    Of the last move, if it ended with problems, what it has left is done again.
    """

    epilog: ClassVar = epilog_of("entourage resume shop-20260102-030405")
    what: MoveId
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover:
    """Bring every move to its end whose orchestrator died; nothing happens if there is none."""

    epilog: ClassVar = epilog_of("entourage recover", "entourage recover --lab far --json")
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """End a move that has not committed: everything goes back to the source, also if its orchestrator died."""

    epilog: ClassVar = epilog_of("entourage abort shop-20260102-030405")
    what: MoveId
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Let a move go on that was begun with --hold."""

    epilog: ClassVar = epilog_of("entourage commit shop-20260102-030405")
    what: MoveId
    lab: LabName = LAB
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Show the report of a move or of a demo again, and make its page anew from the JSON."""

    epilog: ClassVar = epilog_of(
        "entourage report shop-20260102-030405",
        "entourage report out/demo/report.json",
        "xdg-open $(entourage report shop-20260102-030405 --open-path)",
    )
    what: Annotated[str, typer.Argument(metavar="MOVE|FILE", help="A move's id, or a report's JSON file.")]
    out: Out = OUT
    open_path: Annotated[bool, typer.Option("--open-path", help="Print nothing but the page's address.")] = False
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulate:
    """Try moves in a simulated world in which everything goes wrong, and check what is promised after every step.

    The engine is the real one; hosts, links, edges, guards and time are not. A seed decides all faults, and the same
    seed is always the same run. Needs no root and no lab.
    """

    epilog: ClassVar = epilog_of(
        "entourage simulate",
        "entourage simulate --seeds 100000 --json",
        "entourage simulate --seed 17",
        "entourage simulate --seeds 0 --exhaustive",
        note="Exit code 1 if something was that may never be; the log of the first such run is printed.",
    )
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=0, help="How many seeds to run.")] = 2000
    first: Annotated[
        int | None, typer.Option("--first", metavar="S", min=0, help="The first of them; else it is drawn, and told.")
    ] = None
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", min=0, help="Run this seed alone and print its log.")
    ] = None
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Also every fault at every call, for groups of 1 to 4 members.")
    ] = False
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The story: a service at one site; only its servers moved, as live migration does today; its whole path moved.

    Brings a lab of its own up, measures every act with the same live sessions, and takes the lab down. With --kill
    another story: whoever drives the move is killed, at two moments, and the move ends whole all the same. With --noisy
    a third: packets beside neighbours that take all CPU they get, without and with real-time CPU for the members.
    """

    epilog: ClassVar = epilog_of(
        "entourage demo",
        "entourage demo --sessions 200 --out reports",
        "entourage demo --kill",
        "entourage demo --noisy",
    )
    kill: Annotated[bool, typer.Option("--kill", help="Kill whoever drives the move, and watch it end whole.")] = False
    noisy: Annotated[
        bool, typer.Option("--noisy", help="Measure packets beside noisy neighbours, without and with real-time CPU.")
    ] = False
    out: Out = OUT
    sessions: Sessions = 1000
    lab: LabName = DEMO_LAB
    as_json: Json = False

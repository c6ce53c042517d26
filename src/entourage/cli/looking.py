"""`entourage status`, `trace` and `plan`: they look and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from entourage.cli import options
from entourage.cli.exits import UsageError
from entourage.cli.options import DEFAULT_LAB

if TYPE_CHECKING:
    from rich.console import RenderableType

    from entourage.lab.place import Place
    from entourage.operations.looking import Traced
    from entourage.operations.observe import Observation
    from entourage.planner import MoveRequest, Plan, Step

STATUS_EXAMPLES = options.epilog("entourage status", "entourage status --lab far --json")
TRACE_EXAMPLES = options.epilog("entourage trace", "entourage trace shop --from users-west")
PLAN_EXAMPLES = options.epilog(
    "entourage plan --to west",
    "entourage plan shop --to west --only web1 --only web2",
    "entourage plan --to west --json",
)


def status(lab: options.Lab = DEFAULT_LAB, as_json: options.Json = False) -> None:
    """Where every member runs, where packets enter, and what is not as it should be."""
    options.need_root("status")
    from entourage.cli.output import show, show_json
    from entourage.cli.running import run
    from entourage.operations.labs import look

    seen = run(lambda _: look(lab))
    if as_json:
        show_json({"lab": lab, **seen.to_json()})
    else:
        show(placement_table(seen), *_network_lines(seen))


def trace(
    service: options.Service = None,
    region: Annotated[
        str | None, typer.Option("--from", metavar="REGION", help="The users' region; every region otherwise.")
    ] = None,
    lab: options.Lab = DEFAULT_LAB,
    as_json: options.Json = False,
) -> None:
    """The way of a request hop by hop, computed from what is, and what requests really take."""
    options.need_root("trace")
    from entourage.cli.output import show, show_json
    from entourage.cli.running import run
    from entourage.lab.place import open_place
    from entourage.operations.looking import trace_from
    from entourage.operations.words import region_named, service_named

    place = open_place(lab)
    service_named(place, service)
    regions = [each.id for each in place.infrastructure.regions] if region is None else [region_named(place, region)]
    traced = run(lambda _: trace_from(place, regions))
    if as_json:
        show_json({"service": place.service.id, "paths": [each.to_json() for each in traced]})
    else:
        for each in traced:
            show(*_trace_parts(each))


def plan(
    to: options.To,
    service: options.Service = None,
    only: options.Only = None,
    strategy: options.Strategy = None,
    lab: options.Lab = DEFAULT_LAB,
    as_json: options.Json = False,
) -> None:
    """What a move would do, take and cost, and what it cannot promise. Nothing is changed."""
    options.need_root("plan")
    from entourage.cli.output import show, show_json
    from entourage.cli.running import run
    from entourage.lab.place import open_place
    from entourage.operations.looking import plan_move
    from entourage.operations.moves import RefusedError
    from entourage.planner import Refusal

    place = open_place(lab)
    request = move_request(place, service, to=to, only=only, strategy=strategy)
    planned = run(lambda _: plan_move(place, request))
    if isinstance(planned, Refusal):
        raise RefusedError(planned)
    if as_json:
        show_json(planned.to_json())
    else:
        show(*_plan_parts(place, planned))


def move_request(
    place: Place, service: str | None, *, to: str, only: list[str] | None, strategy: str | None
) -> MoveRequest:
    """What the user asks for, each name checked; UnknownNameError or UsageError."""
    from entourage.operations.words import members_named, service_named, site_named
    from entourage.planner import MoveRequest, Strategy
    from entourage.spec.problems import suggest

    strategies = [each.value for each in Strategy]
    if strategy is not None and strategy not in strategies:
        raise UsageError(f"unknown strategy {strategy!r}: {suggest(strategy, strategies)}")
    return MoveRequest(
        service=service_named(place, service),
        target=site_named(place, to),
        members=members_named(place, only or ()),
        strategy=None if strategy is None else Strategy(strategy),
    )


def placement_table(seen: Observation) -> RenderableType:
    """Every member with its role and where its copies are; one that runs nowhere has a row, too."""
    from rich.text import Text

    from entourage.cli.output import table

    rows: list[tuple[object, ...]] = []
    for member in seen.snapshot.service.members:
        copies = [(host, state.value) for (name, host), state in sorted(seen.copies.items()) if name == member.id]
        for host, state in copies or [("nowhere", "absent")]:
            style = "green" if state == "running" else "bold red"
            rows.append((member.id, member.role.value, host, Text(state, style=style)))
    return table(("member", "role", "host", "state"), rows)


def _network_lines(seen: Observation) -> list[RenderableType]:
    from rich.text import Text

    from entourage.cli.output import table

    regions = [region.id for region in seen.snapshot.infrastructure.regions]
    ingress = [(region, seen.snapshot.ingress.get(region, "no route")) for region in regions]
    edges = [
        (site, edge.announcement.value, f"tunnels to {edge.tunnel_to}" if edge.tunnel_to else "")
        for site, edge in seen.edges.items()
    ]
    lines: list[RenderableType] = [
        table(("users", "enter at"), ingress),
        table(("edge", f"announces {seen.snapshot.service.prefix}", ""), edges),
    ]
    stretched = [f"{segment} over {' and '.join(sorted(sites))}" for segment, sites in sorted(seen.stretched.items())]
    lines.append(Text(f"stretched segments: {', '.join(stretched) or 'none'}"))
    oddities = seen.oddities()
    lines += [Text(f"odd: {oddity}", style="bold red") for oddity in oddities]
    return lines if oddities else [*lines, Text("nothing odd", style="green")]


def _trace_parts(traced: Traced) -> list[RenderableType]:
    from rich.text import Text

    from entourage.paths import to_json
    from entourage.report import path_text
    from entourage.report.values import ms

    path = traced.path
    parts: list[RenderableType] = [path_text(to_json(path))]
    if path.detail:
        parts.append(Text(f"  the request ends there: {path.detail}", style="bold red"))
    if traced.measured_ms is None:
        parts.append(
            Text(f"  round trip: computed {ms(path.rtt_ms)}, not measured: {traced.problem}", style="bold red")
        )
    else:
        parts.append(Text(f"  round trip: computed {ms(path.rtt_ms)}, measured {ms(traced.measured_ms)}", style="bold"))
    return [*parts, Text()]


def _plan_parts(place: Place, planned: Plan) -> list[RenderableType]:
    from rich.text import Text

    from entourage.cli.output import table
    from entourage.model.units import format_bytes, format_ms
    from entourage.paths import to_json
    from entourage.report import path_strip
    from entourage.report.values import ms, plural

    where = " and ".join(planned.sources)
    parts: list[RenderableType] = [
        Text(f"{planned.service}: {where} → {planned.target}, {plural(len(planned.order), 'member')}", style="bold"),
        Text(f"strategy {planned.strategy.value}: {planned.strategy_reason}"),
        table(
            ("", "step", "of", "takes"),
            [
                (number, step.kind.value, _step_of(step), format_ms(step.predicted_ms) if step.predicted_ms else "")
                for number, step in enumerate(planned.steps, 1)
            ],
        ),
        table(
            ("predicted", ""),
            [
                ("blackout", format_ms(planned.forecast.blackout_ms)),
                ("split", format_ms(planned.forecast.split_ms)),
                ("copied", format_bytes(planned.forecast.bytes)),
                ("in all", f"{planned.total_s:.1f} s"),
            ],
        ),
    ]
    for change in planned.paths:
        for side, path in (("before", change.before), ("after", change.after)):
            cost = f"{ms(path.rtt_ms)}, {plural(path.inter_site_crossings, 'inter-site crossing')}"
            parts.append(Text(f"{change.region} {side}: {cost}", style="bold"))
            parts.append(Text("  ").append_text(path_strip(to_json(path))))
    if planned.cannot_promise:
        parts.append(Text("what this cannot promise:", style="bold red"))
        parts += [Text(f"  {caveat.code.value}: {caveat.text}") for caveat in planned.cannot_promise]
    return parts


def _step_of(step: Step) -> str:
    words = [", ".join(step.members), f"on {step.host}" if step.host else "", step.segment or "", step.site or ""]
    return " ".join(word for word in words if word)

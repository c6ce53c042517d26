"""`entourage status`, `trace` and `plan`: they look and change nothing."""

from dataclasses import replace

from rich.console import RenderableType
from rich.text import Text

from entourage.cli.commands import Move, PlanMove, Status, Trace
from entourage.cli.exits import UsageError, need_root
from entourage.cli.output import placement_table, show, show_json, table
from entourage.cli.running import run
from entourage.engine.groups import group_from_json
from entourage.lab.place import Place, open_lab, open_place
from entourage.model.units import format_bytes, format_ms
from entourage.model.world import FailedTarget
from entourage.operations.driving import is_being_driven
from entourage.operations.labs import look
from entourage.operations.looking import Traced, look_at_all, plan_move, trace_from
from entourage.operations.moves import RefusedError
from entourage.operations.observe import Observation
from entourage.operations.placed import last_failover
from entourage.operations.recovering import all_moves
from entourage.operations.words import host_named, members_named, region_named, site_named
from entourage.paths import to_json
from entourage.planner import MoveRequest, Plan, Refusal, Step, Strategy, back_again, off_host
from entourage.report import path_strip, path_text
from entourage.report.values import ms, plural
from entourage.spec.problems import suggest


def status(wanted: Status) -> None:
    """Show what is."""
    need_root("status")
    lab = open_lab(wanted.lab)
    is_busy = is_being_driven(lab)
    if wanted.service is None and len(lab.services) != 1:
        all_seen = run(lambda _: look_at_all(lab))
    else:
        service = lab.place(wanted.service).service.id
        all_seen = [run(lambda _: look(wanted.lab, service=service))]
    is_moving = is_busy and not any(seen.is_half_made for seen in all_seen)
    if wanted.as_json:
        services = [seen.to_json() for seen in all_seen]
        only = services[0] if len(services) == 1 else {}
        show_json({"lab": wanted.lab, "moving": is_moving, **only, "services": services})
        return
    if is_moving:
        show(Text("a move is under way", style="bold cyan"))
    for seen in all_seen:
        show(*_status_lines(seen, is_busy=is_busy, is_one_of_many=len(lab.services) > 1))
    if not all_seen:
        show(f"lab {lab.name} has no service; make one with: entourage create SERVICE --from TEMPLATE --at SITE")


def _status_lines(seen: Observation, *, is_busy: bool, is_one_of_many: bool) -> list[RenderableType]:
    service = seen.snapshot.service
    head = [Text(f"{service.id}, {service.address}", style="bold")] if is_one_of_many else []
    verdict: list[RenderableType] = [Text(f"odd: {each}", style="bold red") for each in seen.oddities()]
    if is_busy:
        verdict = [Text("it is being made or taken away", style="bold cyan")] if seen.is_half_made else []
    elif not verdict:
        verdict = [Text("nothing odd", style="green")]
    return [*head, placement_table(seen), *_network(seen), *verdict]


def trace(wanted: Trace) -> None:
    """Show paths, and how long requests take."""
    need_root("trace")
    place = open_place(wanted.lab, service=wanted.service)
    regions = [each.id for each in place.infrastructure.regions]
    if wanted.region is not None:
        regions = [region_named(place, wanted.region)]
    traced = run(lambda _: trace_from(place, regions))
    if wanted.as_json:
        show_json({"service": place.service.id, "paths": [each.to_json() for each in traced]})
        return
    for each in traced:
        show(*_trace_lines(each))


def plan(wanted: PlanMove) -> None:
    """Show a plan; RefusedError if there is none."""
    need_root("plan")
    place = open_place(wanted.lab, service=wanted.service)
    request = request_of(wanted, place)
    planned = run(lambda _: plan_move(place, request))
    if isinstance(planned, Refusal):
        raise RefusedError(planned)
    show_plan(planned, as_json=wanted.as_json)


def show_plan(planned: Plan, *, as_json: bool) -> None:
    """Show a plan for people or for programs."""
    if as_json:
        show_json(planned.to_json())
    else:
        show(*_plan_lines(planned))


def back_request(wanted: Move, place: Place) -> MoveRequest:
    """The last committed move or failover of the service the other way round.

    UsageError if there is none, or more is asked.
    """
    if wanted.to is not None or wanted.only or wanted.off is not None:
        raise UsageError("--back says where to and who: leave --to, --off and --only away")
    service, strategy = place.service.id, _strategy_named(wanted.strategy)
    failover = last_failover(place)
    for move in all_moves(place):
        if failover is not None and failover.at > move.began:
            break
        if move.began < place.kept.created:
            continue  # of a service of that name that is there no more
        if move.document["service"] == service and (move.ended or {}).get("outcome") == "committed":
            group = group_from_json(move.document["group"])
            request = back_again(place.service, sources=group.sources, targets=group.targets)
            return replace(request, strategy=strategy, waits=wanted.hold)
    if failover is not None:
        return MoveRequest(service=service, target=failover.lost, strategy=strategy, waits=wanted.hold)
    raise UsageError(f"no move of {service} has committed in lab {place.name}: there is nothing to undo")


def failed_target_policy(wanted: Move) -> FailedTarget | None:
    """What is to become of a target that does not serve, if the user says so; UsageError for a word that is none."""
    policies = [policy.value for policy in FailedTarget]
    if wanted.if_unverified is not None and wanted.if_unverified not in policies:
        raise UsageError(f"--if-unverified {wanted.if_unverified!r}: write {' or '.join(policies)}")
    return None if wanted.if_unverified is None else FailedTarget(wanted.if_unverified)


def request_of(wanted: PlanMove | Move, place: Place) -> MoveRequest:
    """What the user asks for, every name checked; UnknownNameError or UsageError."""
    if wanted.off is not None and wanted.to is not None:
        raise UsageError("--off says where to, to other hosts of the same site: leave --to away")
    if wanted.off is None and wanted.to is None:
        sites = ", ".join(site.id for site in place.infrastructure.sites)
        raise UsageError(f"where to? write --to SITE, or --off HOST; the sites are {sites}")
    strategy, waits = _strategy_named(wanted.strategy), isinstance(wanted, Move) and wanted.hold
    members = members_named(place, wanted.only or ())
    if wanted.off is not None:
        off = off_host(place.infrastructure, place.service.id, host_named(place, wanted.off), members)
        return replace(off, strategy=strategy, waits=waits)
    assert wanted.to is not None
    return MoveRequest(
        waits=waits,
        service=place.service.id,
        target=site_named(place, wanted.to),
        members=members,
        strategy=strategy,
    )


def _strategy_named(written: str | None) -> Strategy | None:
    strategies = [each.value for each in Strategy]
    if written is not None and written not in strategies:
        raise UsageError(f"unknown strategy {written!r}: {suggest(written, strategies)}")
    return Strategy(written) if written is not None else None


def _network(seen: Observation) -> list[RenderableType]:
    regions = [region.id for region in seen.snapshot.infrastructure.regions]
    entries = [(region, seen.snapshot.ingress.get(region, "nowhere: no route")) for region in regions]
    edges = [
        (site, edge.announcement.value, f"tunnels to {edge.tunnel_to}" if edge.tunnel_to else "")
        for site, edge in seen.edges.items()
    ]
    stretched = [f"{segment} over {' and '.join(sorted(sites))}" for segment, sites in sorted(seen.stretched.items())]
    return [
        table(("users", "enter at"), entries),
        table(("edge", f"announces {seen.snapshot.service.prefix}", ""), edges),
        f"stretched segments: {', '.join(stretched) or 'none'}",
    ]


def _trace_lines(traced: Traced) -> list[RenderableType]:
    path = traced.path
    lines: list[RenderableType] = [path_text(to_json(path))]
    if path.detail:
        lines.append(Text(f"  it ends there: {path.detail}", style="bold red"))
    if traced.measured_ms is None:
        lines.append(Text(f"  round trip: computed {ms(path.rtt_ms)}, no answer: {traced.problem}", style="bold red"))
    else:
        lines.append(Text(f"  round trip: computed {ms(path.rtt_ms)}, measured {ms(traced.measured_ms)}", style="bold"))
    return lines


def _plan_lines(planned: Plan) -> list[RenderableType]:
    steps = [
        (number, step.kind.value, _step_of(step), format_ms(step.predicted_ms) if step.predicted_ms else "")
        for number, step in enumerate(planned.steps, 1)
    ]
    figures = [
        ("blackout", format_ms(planned.forecast.blackout_ms)),
        ("split", format_ms(planned.forecast.split_ms)),
        ("copied", format_bytes(planned.forecast.bytes)),
        ("in all", f"{planned.total_s:.1f} s"),
    ]
    is_local = planned.sources == (planned.target,)
    way = f"within {planned.target}" if is_local else f"{' and '.join(planned.sources)} → {planned.target}"
    lines: list[RenderableType] = [
        Text(f"{planned.service} {way}, {plural(len(planned.order), 'member')}", style="bold"),
        f"strategy {planned.strategy.value}: {planned.strategy_reason}",
        table(("", "step", "", "predicted"), steps),
        table(("predicted", ""), figures),
    ]
    for change in planned.paths:
        for side, path in (("before", change.before), ("after", change.after)):
            cost = f"{ms(path.rtt_ms)}, {plural(path.inter_site_crossings, 'inter-site crossing')}"
            lines.append(Text(f"{change.region} {side}: {cost}", style="bold"))
            lines.append(Text("  ").append_text(path_strip(to_json(path))))
    if planned.cannot_promise:
        lines.append(Text("what it cannot promise", style="bold red"))
        lines += [f"  {caveat.code.value}: {caveat.text}" for caveat in planned.cannot_promise]
    return lines


def _step_of(step: Step) -> str:
    words = [", ".join(step.members), f"on {step.host}" if step.host else "", step.segment or "", step.site or ""]
    return " ".join(word for word in words if word)

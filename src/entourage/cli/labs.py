"""`entourage lab up`, `lab down` and `lab status`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from entourage.cli import options
from entourage.cli.exits import UsageError
from entourage.cli.options import DEFAULT_LAB

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from entourage.lab.place import LinkOverrides, Place, SpecTexts
    from entourage.operations.labs import LabState
    from entourage.operations.observe import Observation

UP_EXAMPLES = options.epilog(
    "entourage lab up",
    "entourage lab up --lab far --rtt '100 ms' --rate '1 Gbit/s' --loss '0.1 %'",
    "entourage lab up --sites my-sites.yaml --service my-service.yaml --json",
)
DOWN_EXAMPLES = options.epilog("entourage lab down", "entourage lab down far", "entourage lab down --all")
STATUS_EXAMPLES = options.epilog("entourage lab status", "entourage lab status --json")
_CONDITIONS = {True: "up", False: "damaged", None: "up, not looked into"}


def up(
    lab: options.Lab = DEFAULT_LAB,
    sites: options.Sites = None,
    service: options.ServiceFile = None,
    rtt: options.Rtt = None,
    rate: options.Rate = None,
    loss: options.Loss = None,
    as_json: options.Json = False,
) -> None:
    """Bring a lab up with its service running: namespaces, BGP routers, links with delay, and virtual machines.

    With a spec that is wrong, or if anything fails, nothing is left behind.
    """
    texts = read_specs(sites, service, overrides(rtt=rtt, rate=rate, loss=loss))
    options.need_root("lab up")
    from entourage.cli.output import show, show_json
    from entourage.cli.running import run
    from entourage.cli.telling import telling
    from entourage.lab.place import new_place
    from entourage.operations.labs import bring_up, look

    with telling(as_json=as_json) as tell:
        tell.phase(f"bringing lab {lab} up")
        place = new_place(lab, texts)

        async def work(_: object) -> Observation:
            await bring_up(place, texts, tell.step)
            return await look(lab)

        seen = run(work)
    if as_json:
        show_json({"lab": lab, "accel": place.accel, **seen.to_json()})
    else:
        show(*_is_up(place, seen))


def down(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The lab, as with --lab.")] = None,
    lab: options.Lab = DEFAULT_LAB,
    everything: Annotated[bool, typer.Option("--all", help="Every lab on this machine.")] = False,
    as_json: options.Json = False,
) -> None:
    """Take a lab down, whole or half, running or crashed; nothing of it is left."""
    options.need_root("lab down")
    from entourage.cli.output import show, show_json
    from entourage.cli.running import run
    from entourage.lab.place import known_labs
    from entourage.operations.labs import take_down

    if name is not None and everything:
        raise UsageError("either NAME or --all, not both")
    removed: dict[str, list[str]] = {}

    async def work(_: object) -> None:
        for each in known_labs() if everything else [name or lab]:
            removed[each] = await take_down(each)
            if not as_json:
                count = len(removed[each])
                show(f"lab {each} is down: {count} things removed" if count else f"nothing of lab {each} is there")

    run(work)
    if as_json:
        show_json({"removed": removed})
    elif not removed:
        show("no lab is there")


def status(as_json: options.Json = False) -> None:
    """Which labs are there, whole or half. Without root their processes and BGP sessions cannot be seen."""
    from entourage.cli.output import show, show_json
    from entourage.cli.running import run
    from entourage.operations.labs import lab_states

    is_root = os.geteuid() == 0

    async def work(_: object) -> list[LabState]:
        return await lab_states(may_look=is_root)

    states = run(work)
    if as_json:
        show_json({"labs": [state.to_json() for state in states], "seen_as_root": is_root})
        return
    show(_states_table(states) if states else "no lab is there; bring one up with: entourage lab up")
    if not is_root:
        show("processes and BGP sessions are not shown: to look into the labs' namespaces needs root")


def read_specs(sites: Path | None, service: Path | None, links: LinkOverrides | None = None) -> SpecTexts:
    """The two files' texts, by default the examples', which have been checked. SpecError with all problems."""
    from entourage.operations.examples import example
    from entourage.operations.labs import read_texts

    texts = read_texts(sites or example("sites.yaml"), service or example("shop.yaml"), links)
    texts.parse()
    return texts


def overrides(*, rtt: str | None, rate: str | None, loss: str | None) -> LinkOverrides:
    """The inter-site links' options as numbers; UsageError if one is no quantity of its kind."""
    from entourage.lab.place import LinkOverrides
    from entourage.model.units import DURATION, RATE, SHARE, QuantityError, parse_quantity

    read: dict[str, float] = {}
    for name, text, units, example in (
        ("rtt", rtt, DURATION, "50 ms"),
        ("rate", rate, RATE, "200 Mbit/s"),
        ("loss", loss, SHARE, "0.1 %"),
    ):
        if text is None:
            continue
        try:
            read[name] = parse_quantity(text, units=units, example=example)
        except QuantityError as error:
            raise UsageError(f"--{name}: {error} (hint: {error.hint})") from error
        if name != "loss" and read[name] == 0:
            raise UsageError(f"--{name}: {text!r} is zero (hint: write a positive quantity, such as {example})")
        if name == "loss" and read[name] > 1:
            raise UsageError(f"--loss: {text!r} is over 100 % (hint: write 0 % to 100 %)")
    return LinkOverrides(**read)


def _is_up(place: Place, seen: Observation) -> list[RenderableType]:
    from entourage.cli.looking import placement_table
    from entourage.model.units import format_ms, format_rate

    service, name = place.service, place.name
    links = [
        f"inter-site link {' – '.join(link.sites)}: RTT {format_ms(link.rtt)}, {format_rate(link.rate)}, "
        f"loss {100 * link.loss:g} %"
        for link in place.infrastructure.links
    ]
    how = "KVM" if place.accel == "kvm" else "software emulation, as no guest boots under KVM here"
    here = "" if name == DEFAULT_LAB else f" --lab {name}"
    away = next((site.id for site in place.infrastructure.sites if site.id != service.home), service.home)
    return [
        f"lab {name} is up: service {service.id} answers at {service.address} ({service.prefix})",
        placement_table(seen),
        *links,
        f"virtual machines run under {how}",
        f"next: entourage trace{here}, entourage plan{here} --to {away}, entourage move{here} --to {away}",
    ]


def _states_table(states: list[LabState]) -> RenderableType:
    from entourage.cli.output import table

    rows = []
    for state in states:
        network = state.network
        sessions = [one for peers in network.sessions.values() for one in peers.values()] if network else []
        missing = f", missing: {', '.join(network.missing)}" if network and network.missing else ""
        standing = sum(one == "Established" for one in sessions)
        rows.append(
            (
                state.name,
                "half-made" if state.is_half_made else _CONDITIONS[state.is_whole],
                f"{state.namespaces}{missing}",
                network.processes if network else "?",
                f"{standing} of {len(sessions)} established" if network else "?",
            )
        )
    return table(("lab", "state", "nodes", "processes", "BGP sessions"), rows)

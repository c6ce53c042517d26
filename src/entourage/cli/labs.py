"""`entourage lab up`, `lab down` and `lab status`."""

import os
from dataclasses import replace
from pathlib import Path

from rich.console import RenderableType

from entourage.cli.commands import LAB, LabDown, LabStatus, LabUp
from entourage.cli.exits import UsageError, need_root
from entourage.cli.output import placement_table, show, show_json, table
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.drivers.records import RecordsError, records_url
from entourage.lab.place import LinkOverrides, Place, SpecTexts, known_labs, new_place
from entourage.model.units import DURATION, RATE, SHARE, QuantityError, format_ms, format_rate, parse_quantity
from entourage.operations.examples import example
from entourage.operations.labs import LabState, bring_up, lab_states, look, read_texts, take_down
from entourage.operations.observe import Observation
from entourage.spec import read_text

_CONDITIONS = {True: "up", False: "damaged", None: "up, not looked into"}


def up(wanted: LabUp) -> None:
    """Bring a lab up."""
    texts = read_specs(wanted)
    if wanted.database is not None:
        check_database(wanted.database)
    need_root("lab up")
    with telling(as_json=wanted.as_json) as tell:
        tell.phase(f"bringing lab {wanted.lab} up")
        place = new_place(wanted.lab, texts, is_encrypted=wanted.encrypt, database=wanted.database)

        async def work(_: object) -> Observation:
            await bring_up(place, texts, tell.step)
            return await look(wanted.lab)

        seen = run(work)
    if wanted.as_json:
        show_json({"lab": wanted.lab, "accel": place.accel, **seen.to_json()})
    else:
        show(*_is_up(place, seen))


def down(wanted: LabDown) -> None:
    """Take one lab down, or all."""
    if wanted.name is not None and wanted.everything:
        raise UsageError("write either NAME or --all, not both")
    need_root("lab down")
    removed: dict[str, list[str]] = {}

    async def work(_: object) -> None:
        for name in known_labs() if wanted.everything else [wanted.name or wanted.lab]:
            removed[name] = await take_down(name)
            if not wanted.as_json:
                count = len(removed[name])
                show(f"lab {name} is down, {count} things removed" if count else f"nothing of lab {name} is there")

    run(work)
    if wanted.as_json:
        show_json({"removed": removed})
    elif not removed:
        show("no lab is there")


def status(wanted: LabStatus) -> None:
    """Show which labs are there."""
    is_root = os.geteuid() == 0
    states = run(lambda _: lab_states(may_look=is_root))
    if wanted.as_json:
        show_json({"labs": [state.to_json() for state in states], "seen_as_root": is_root})
        return
    show(_states_table(states) if states else "no lab is there; bring one up with: entourage lab up")
    if not is_root:
        show("processes and BGP sessions are not shown: to look into the namespaces of a lab needs root")


def read_specs(wanted: LabUp) -> SpecTexts:
    """The files' texts, which have been checked; by default the examples'. SpecError, UsageError."""
    sites, service = wanted.sites or example("sites.yaml"), wanted.service or example("shop.yaml")
    texts = read_texts(Path(sites), Path(service), _overrides(wanted), licences=wanted.licences)
    catalogue = wanted.catalogue or (example("catalogue.yaml") if wanted.sites is None else None)
    if catalogue is not None:
        texts = replace(texts, catalogue_file=str(catalogue), catalogue=read_text(catalogue))
    texts.parse()
    return texts


def check_database(url: str) -> None:
    """UsageError if moves cannot be kept in a database with this URL, whether it is there or not."""
    try:
        known = records_url(url)
    except RecordsError as error:
        raise UsageError(f"--database: {error}") from error
    if known.get_backend_name() == "sqlite":
        raise UsageError("--database: a SQLite file belongs to one machine; without this option a lab has one already")


def _overrides(wanted: LabUp) -> LinkOverrides:
    read: dict[str, float] = {}
    for name, text, units, like in (
        ("rtt", wanted.rtt, DURATION, "50 ms"),
        ("rate", wanted.rate, RATE, "200 Mbit/s"),
        ("loss", wanted.loss, SHARE, "0.1 %"),
    ):
        if text is None:
            continue
        try:
            read[name] = parse_quantity(text, units=units, example=like)
        except QuantityError as error:
            raise UsageError(f"--{name}: {error} (hint: {error.hint})") from error
        if name != "loss" and read[name] == 0:
            raise UsageError(f"--{name}: {text!r} is zero (hint: write a positive quantity, such as {like})")
        if name == "loss" and read[name] > 1:
            raise UsageError(f"--loss: {text!r} is over 100 % (hint: write 0 % to 100 %)")
    return LinkOverrides(**read)


def _is_up(place: Place, seen: Observation) -> list[RenderableType]:
    service = place.service
    links = [
        f"inter-site link {' – '.join(link.sites)}: RTT {format_ms(link.rtt)}, {format_rate(link.rate)}, "
        f"loss {100 * link.loss:g} %"
        for link in place.infrastructure.links
    ]
    how = "KVM" if place.accel == "kvm" else "software emulation, as no guest boots under KVM here"
    here = "" if place.name == LAB else f" --lab {place.name}"
    away = next((site.id for site in place.infrastructure.sites if site.id != service.home), service.home)
    return [
        f"lab {place.name} is up: service {service.id} answers at {service.address}",
        placement_table(seen),
        *links,
        f"virtual machines run under {how}",
        f"next: entourage trace{here}, entourage plan{here} --to {away}, entourage move{here} --to {away}",
    ]


def _states_table(states: list[LabState]) -> RenderableType:
    rows = []
    for state in states:
        network = state.network
        sessions = [one for peers in network.sessions.values() for one in peers.values()] if network else []
        standing = sum(one == "Established" for one in sessions)
        missing = f", missing: {', '.join(network.missing)}" if network and network.missing else ""
        rows.append(
            (
                state.name,
                "half-made" if state.is_half_made else _CONDITIONS[state.is_whole],
                ", ".join(name if is_whole else f"{name} (half-made)" for name, is_whole in state.services.items()),
                f"{state.namespaces}{missing}",
                network.processes if network else "?",
                f"{standing} of {len(sessions)} established" if network else "?",
                f"{sum(state.agents.values())} of {len(state.agents)} answer" if network else "?",
            )
        )
    return table(("lab", "state", "services", "nodes", "processes", "BGP sessions", "agents"), rows)

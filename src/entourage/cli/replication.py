"""`entourage replicate` and `entourage replicas`."""

import time

from rich.text import Text

from entourage.cli.commands import Replicas, Replicate
from entourage.cli.exits import Exit, need_root
from entourage.cli.output import show, show_json, table
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.lab.place import open_place
from entourage.model.units import format_bytes
from entourage.operations.replicating import replica_states, replicate
from entourage.planner.replicating import ReplicaState


def keep(wanted: Replicate) -> None:
    """Replicate until a signal comes."""
    need_root("replicate")
    place = open_place(wanted.lab, service=wanted.service)
    with telling(as_json=wanted.as_json) as tell:
        members = ", ".join(member.id for member in place.service.replicated())
        tell.phase(f"replicating {members or 'nothing'}; Ctrl-C ends it")
        run(lambda _: replicate(place, tell=tell.note))


def replicas(wanted: Replicas) -> int:
    """Show how fresh the replicas are; 1 if one is behind."""
    need_root("replicas")
    place = open_place(wanted.lab, service=wanted.service)
    states, now = replica_states(place), time.time()
    if wanted.as_json:
        show_json({"lab": wanted.lab, "rpo_s": place.service.rpo_s, "replicas": [each.to_json(now) for each in states]})
    elif not states:
        show(f"{place.service.id} wants no replication; it does with rpo: 10 s in its file and a member with a disk")
    else:
        head = ("member", "replica on", "generation", "age", "wanted", "last round", "")
        notes = [Text(f"{each.member}: {each.problem}", style="yellow") for each in states if each.problem]
        show(table(head, [_row(each, now) for each in states]), *notes)
    return Exit.FAILED if any(each.is_behind(now) for each in states) else Exit.DONE


def _row(state: ReplicaState, now: float) -> tuple[object, ...]:
    last, wanted = state.generation, f"{state.rpo_s:g} s"
    verdict = Text("behind", style="bold red") if state.is_behind(now) else Text("fresh", style="green")
    if last is None:
        return (state.member, "nowhere", "", "", wanted, "", verdict)
    took = f"{format_bytes(last.bytes)} in {last.took_s:.1f} s"
    return (state.member, state.host, last.number, f"{last.age_s(now):.1f} s", wanted, took, verdict)

"""`entourage replicate` and `entourage replicas`."""

import time
from collections.abc import Sequence

from rich.text import Text

from entourage.cli.commands import Replicas, Replicate
from entourage.cli.exits import Exit, need_root
from entourage.cli.output import show, show_json, table
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.lab.place import Place, open_place
from entourage.model.units import format_bytes
from entourage.operations.old_disks import discard, old_disks
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
    """Show how fresh the replicas are, and what was put aside; 1 if one is behind. Or remove what was put aside."""
    need_root("replicas")
    place = open_place(wanted.lab, service=wanted.service)
    if wanted.discard_kept is not None:
        _discard(place, wanted)
        return Exit.DONE
    states, old, now = replica_states(place), old_disks(place), time.time()
    if wanted.as_json:
        found = {"replicas": [each.to_json(now) for each in states], "kept": [each.to_json(now) for each in old]}
        show_json({"lab": wanted.lab, "rpo_s": place.service.rpo_s, **found})
        return _exit(states, now)
    if not states:
        show(f"{place.service.id} wants no replication; it does with rpo: 10 s in its file and a member with a disk")
    else:
        head = ("member", "replica on", "generation", "age", "wanted", "last round", "")
        notes = [Text(f"{each.member}: {each.problem}", style="yellow") for each in states if each.problem]
        show(table(head, [_row(each, now) for each in states]), *notes)
    if old:
        rows = [(each.name, _age(now - each.disk.kept_at), format_bytes(each.disk.bytes)) for each in old]
        hint = f"to remove one: entourage replicas {place.service.id} --lab {wanted.lab} --discard-kept NAME, or all"
        show(table(("put aside after a failover", "age", "size"), rows), hint)
    return _exit(states, now)


def _discard(place: Place, wanted: Replicas) -> None:
    assert wanted.discard_kept is not None
    names = [each.name for each in discard(place, wanted.discard_kept)]
    if wanted.as_json:
        show_json({"lab": wanted.lab, "discarded": names})
    else:
        show(*(f"removed {name}" for name in names or ["nothing: none is kept"]))


def _exit(states: Sequence[ReplicaState], now: float) -> Exit:
    return Exit.FAILED if any(each.is_behind(now) for each in states) else Exit.DONE


def _age(seconds: float) -> str:
    """In the largest unit of which there is one."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _row(state: ReplicaState, now: float) -> tuple[object, ...]:
    last, wanted = state.generation, f"{state.rpo_s:g} s"
    verdict = Text("behind", style="bold red") if state.is_behind(now) else Text("fresh", style="green")
    if last is None:
        return (state.member, "nowhere", "", "", wanted, "", verdict)
    took = f"{format_bytes(last.bytes)} in {last.took_s:.1f} s"
    return (state.member, state.host, last.number, f"{last.age_s(now):.1f} s", wanted, took, verdict)

"""What is promised when a run has ended, and everything has healed."""

from collections.abc import Iterator

from entourage.engine.mover import Outcome
from entourage.model.ids import HostId, MemberId
from entourage.ports.hypervisor import RunState
from entourage.ports.ingress import Announcement
from entourage.switch import types as sw
from entourage.twin.parts import Copy
from entourage.twin.scenario import EAST
from entourage.twin.world import World


def broken_promises(world: World, outcome: Outcome | None) -> Iterator[str]:
    """What is not as it has to be at the end.

    All members are where the journal says, each runs once, and nothing is left over anywhere. Of a member whose VM
    was killed where it should now be, only this is promised: no copy of it runs anywhere, what stood still at the
    source may be kept after a commit, and all others are as if nothing had happened. One whose VM was killed where it
    should not be runs like all others.
    """
    committed = world.is_committed()
    if outcome is None or isinstance(outcome.state, sw.Done) is not committed:
        yield f"the end is {outcome and type(outcome.state).__name__}, and the journal says {world.decision}"
    yield from _members(world, committed=committed)
    yield from _network(world, committed=committed)
    for guard in world.guards.values():
        if guard.armed:
            yield f"the guard of {guard.host} is armed for {', '.join(sorted(guard.armed))}"


def _members(world: World, *, committed: bool) -> Iterator[str]:
    group = world.scenario.group
    for member in world.scenario.service.members:
        copies = {host: copy for (name, host), copy in world.copies.items() if name == member.id}
        if member.id in group.sources:
            yield from _moved(world, member.id, copies, committed=committed)
        elif [copy.state for copy in copies.values()] != [RunState.RUNNING]:
            yield f"{member.id}, which was not moved, does not run"


def _moved(world: World, member: MemberId, copies: dict[HostId, Copy], *, committed: bool) -> Iterator[str]:
    group = world.scenario.group
    home = (group.targets if committed else group.sources)[member]
    is_lost = (member, home) in world.lost
    if is_lost and committed:
        # What stands still of it at the source is the last that there is: kept, or gone if the target had run.
        kept = copies.pop(group.sources[member], None)
        if kept is not None and kept.state is not RunState.PAUSED:
            yield f"{member} on {kept.host} is {kept.state.value}, and should have been kept as it stood"
    wanted = [] if is_lost else [home]
    if list(copies) != wanted:
        yield f"{member} is on {', '.join(copies) or 'no host'}, not on {', '.join(wanted) or 'no host'}"
    for host, copy in copies.items():
        if copy.state is not RunState.RUNNING:
            yield f"{member} on {host} is {copy.state.value}"
        if copy.stream is not None:
            yield f"{member} on {host} is still being copied"
    left = {host for name, host in world.devices if name == member} - {home}
    if left and not (is_lost and committed):
        yield f"devices of {member} are left on {', '.join(sorted(left))}"


def _network(world: World, *, committed: bool) -> Iterator[str]:
    group = world.scenario.group
    entry = group.target_site if committed and group.moves_ingress else EAST
    if world.announced != {entry: Announcement.ACTIVE}:
        said = ", ".join(f"{site} {kind.value}" for site, kind in sorted(world.announced.items()))
        yield f"announced is {said or 'nothing'}, not {entry} active"
    for site, to in world.tunnels.items():
        yield f"the edge of {site} tunnels to {to}"
    both = frozenset({group.source_site, group.target_site})
    wanted = dict.fromkeys(group.stretch if committed else group.unstretch, both)
    if world.stretched != wanted:
        yield f"stretched are {sorted(world.stretched)}, not {sorted(wanted)}"
    if not world.lost:
        yield from (f"users are not served: {trouble}" for trouble in world.troubles())


def sessions_reset(world: World, count: int) -> int:
    """How many of `count` sessions are reset: those whose path had a member whose VM was killed where it ran.

    A session passes each stage of the chain by one member, its own. Whether it only stalled is told by the outage.
    """
    group = world.scenario.group
    home = group.targets if world.is_committed() else group.sources
    gone = {member for member, host in world.lost if home.get(member) == host}
    paths = [{stage[number % len(stage)] for stage in world.scenario.service.chain} for number in range(count)]
    return sum(bool(path & gone) for path in paths)

"""Where the members of a move go at the target."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from entourage.model.ids import HostId, MemberId
from entourage.model.units import format_bytes
from entourage.model.world import Host, Member, Role
from entourage.planner.request import HostLoad
from entourage.planner.rooms import Rooms


class NoRoomError(Exception):
    """No placement was found. `reasons` has a sentence for the member that was left, and one for each host."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def place(
    members: Iterable[Member],
    hosts: Sequence[Host],
    *,
    loads: Mapping[HostId, HostLoad],
    with_server: Collection[HostId] = (),
) -> dict[MemberId, HostId]:
    """A host for each of `members`, by first fit decreasing; the same input always gives the same placement.

    The largest member comes first, by its larger share of the largest host's memory, CPU or real-time CPU (Panigrahy et
    al., "Heuristics for Vector Bin Packing", 2011); hosts are tried in their order. A host takes a member only if it
    can keep what that and all others on it were promised (`entourage.realtime.keep`). Servers avoid hosts with another
    server of the service (`with_server` has some already) unless that leaves a member without a place. A host
    without an entry in `loads` is not used. First fit can miss a placement that exists: then it raises too.
    Raises NoRoomError.
    """
    size = _sizes(hosts)
    ordered = sorted(members, key=lambda member: (-size(member), member.id))
    loaded = [(host, loads[host.id]) for host in hosts if host.id in loads]
    try:
        return _first_fit(ordered, Rooms(loaded, with_server=with_server), prefers_apart=True)
    except NoRoomError:
        return _first_fit(ordered, Rooms(loaded), prefers_apart=False)


def _first_fit(members: Sequence[Member], rooms: Rooms, *, prefers_apart: bool) -> dict[MemberId, HostId]:
    placement: dict[MemberId, HostId] = {}
    for member in members:
        chosen = None
        if member.role is Role.SERVER and prefers_apart:
            # Two servers on one host would fail together; that is a preference, so any host will do at last.
            chosen = rooms.take(member, apart=True)
        chosen = chosen or rooms.take(member)
        if chosen is None:
            raise NoRoomError(_shortage(member, rooms))
        placement[member.id] = chosen
    return placement


def _shortage(member: Member, rooms: Rooms) -> tuple[str, ...]:
    wanted = f"{member.id} needs {format_bytes(member.memory)} and {member.cpu:g} cores"
    if member.realtime is not None:
        wanted += f", {float(member.realtime.share):.3g} of a CPU in real time"
    return (wanted, *(rooms.left(member) or ["there is no host at the target that may be used"]))


def _sizes(hosts: Sequence[Host]) -> Callable[[Member], float]:
    """What gives the largest of a member's shares of the largest host's memory, CPU, and real-time CPU."""
    memory = max((host.memory for host in hosts), default=1)
    cpu = max((host.cpu for host in hosts), default=1.0)
    realtime = float(max((len(h.realtime.cpus) * h.realtime.limit for h in hosts if h.realtime), default=1))

    def size(member: Member) -> float:
        promised = 0.0 if member.realtime is None else member.realtime.rounded
        return max(member.memory / memory, member.cpu / cpu, promised / realtime)

    return size

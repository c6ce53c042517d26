"""Where the members of a move go at the target."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from entourage.model.ids import HostId, MemberId
from entourage.model.units import format_bytes
from entourage.model.world import Host, Member, Role
from entourage.planner.request import HostLoad

_CPU_ROUNDING = 1e-9  # cores; sums of decimal fractions are not exact


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

    The largest member comes first, by its larger share of the largest host's memory or CPU (Panigrahy et al.,
    "Heuristics for Vector Bin Packing", 2011); hosts are tried in their order. Servers avoid hosts with another
    server of the service (`with_server` has some already) unless that leaves a member without a place. A host
    without an entry in `loads` is not used. First fit can miss a placement that exists: then it raises too.
    Raises NoRoomError.
    """
    largest_memory = max((host.memory for host in hosts), default=1)
    largest_cpu = max((host.cpu for host in hosts), default=1.0)
    ordered = sorted(members, key=lambda m: (-max(m.memory / largest_memory, m.cpu / largest_cpu), m.id))
    known = [host for host in hosts if host.id in loads]
    try:
        return _first_fit(ordered, known, loads, set(with_server))
    except NoRoomError:
        return _first_fit(ordered, known, loads, None)


def _first_fit(
    members: Sequence[Member],
    hosts: Sequence[Host],
    loads: Mapping[HostId, HostLoad],
    with_server: set[HostId] | None,
) -> dict[MemberId, HostId]:
    free = {host.id: (host.memory - loads[host.id].memory, host.cpu - loads[host.id].cpu) for host in hosts}
    placement: dict[MemberId, HostId] = {}
    for member in members:
        fitting = [
            host.id
            for host in hosts
            if member.memory <= free[host.id][0] and member.cpu <= free[host.id][1] + _CPU_ROUNDING
        ]
        if not fitting:
            raise NoRoomError(_shortage(member, free))
        chosen = fitting[0]
        if member.role is Role.SERVER and with_server is not None:
            # Two servers on one host would fail together; that is a preference, so any host will do at last.
            chosen = next((host for host in fitting if host not in with_server), chosen)
            with_server.add(chosen)
        placement[member.id] = chosen
        free[chosen] = (free[chosen][0] - member.memory, free[chosen][1] - member.cpu)
    return placement


def _shortage(member: Member, free: Mapping[HostId, tuple[float, float]]) -> tuple[str, ...]:
    wanted = f"{member.id} needs {format_bytes(member.memory)} and {member.cpu:g} cores"
    if not free:
        return (wanted, "no host at the target has a known load")
    return (
        wanted,
        *(
            f"{host} has {format_bytes(max(memory, 0))} and {max(cpu, 0):.3g} cores left"
            for host, (memory, cpu) in free.items()
        ),
    )

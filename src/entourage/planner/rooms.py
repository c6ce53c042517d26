"""What is left of many hosts, and the first one that has room for a member."""

from collections.abc import Iterable, Iterator, Sequence

from entourage.model.ids import HostId
from entourage.model.realtime import Promise
from entourage.model.units import format_bytes
from entourage.model.world import Host, Member, Role
from entourage.planner.request import HostLoad
from entourage.realtime import Keeper

_ROUNDING = 1e-9  # cores; sums of decimal fractions are not exact

_Left = tuple[float, float, float]  # memory in bytes, cores, CPUs for real time
_NOTHING: _Left = (-1.0, -1.0, -1.0)


class Rooms:
    """The hosts in their order. The first that has room is found without a look at each that has not.

    A tree over the hosts has in every node the most that any host below it has left, of each kind. Source: Johnson,
    "Near-Optimal Bin Packing Algorithms", 1973, first fit in O(n log n); with several kinds of room it is a bound.
    """

    def __init__(self, hosts: Sequence[tuple[Host, HostLoad]], *, with_server: Iterable[HostId] = ()) -> None:
        """`with_server`: those that have a server of the service already."""
        self._rooms = [_Room(host, load) for host, load in hosts]
        self._leaves = 1 << max(len(hosts) - 1, 0).bit_length()
        self._most = [_NOTHING] * (2 * self._leaves)
        self._with_server = set(with_server)
        # Where the first room is for a member just like one before: those before it have not become larger since.
        self._from: dict[tuple[int, float, Promise | None, bool], int] = {}
        for index in range(len(self._rooms)):
            self._note(index)

    def take(self, member: Member, *, apart: bool = False) -> HostId | None:
        """The first host with room, which has less of it from now on; None if none has.

        `apart`: it is a server, and takes only a host without another one.
        """
        alike = member.memory, member.cpu, member.realtime, apart
        for index in self._candidates(member, self._from.get(alike, 0)):
            room = self._rooms[index]
            if not (apart and room.host.id in self._with_server) and room.take(member):
                self._note(index)
                self._from[alike] = index
                if member.role is Role.SERVER:
                    self._with_server.add(room.host.id)
                return room.host.id
        self._from[alike] = len(self._rooms)
        return None

    def left(self, member: Member) -> list[str]:
        """What each host has left, in words for whoever asks why a member has no room."""
        return [room.words(member) for room in self._rooms]

    def _note(self, index: int) -> None:
        node = self._leaves + index
        self._most[node] = self._rooms[index].left()
        while node := node // 2:
            one, other = self._most[2 * node], self._most[2 * node + 1]
            most = (max(one[0], other[0]), max(one[1], other[1]), max(one[2], other[2]))
            if most == self._most[node]:
                return
            self._most[node] = most

    def _candidates(self, member: Member, first: int) -> Iterator[int]:
        """The hosts that may have room, in their order, from the one of number `first` on."""
        realtime = -1.0 if member.realtime is None else member.realtime.rounded
        below = [(1, self._leaves)]  # nodes, each with the number behind that of its last host
        while below:
            node, end = below.pop()
            memory, cpu, for_realtime = self._most[node]
            if member.memory > memory or member.cpu > cpu + _ROUNDING or realtime > for_realtime + _ROUNDING:
                continue
            if end <= first:
                continue
            if node >= self._leaves:
                yield node - self._leaves
            else:
                half = self._leaves >> node.bit_length()
                below += ((2 * node + 1, end), (2 * node, end - half))


class _Room:
    """What is left of a host."""

    def __init__(self, host: Host, load: HostLoad) -> None:
        self.host = host
        self._memory = host.memory - load.memory
        self._cpu = host.cpu - load.cpu
        self._keeper = None if host.realtime is None else Keeper(host.realtime)
        self._realtime = -1.0
        self._is_over = False  # somebody has promised more than it can keep
        if self._keeper is not None:
            self._is_over = not all(self._keeper.add(*each) for each in load.promised.items())
            self._realtime = -1.0 if self._is_over else float(self._keeper.left)

    def take(self, member: Member) -> bool:
        """Whether it has room; it has less of it then."""
        if member.memory > self._memory or member.cpu > self._cpu + _ROUNDING:
            return False
        if member.realtime is not None:
            if self._keeper is None or self._is_over or not self._keeper.add(member.id, member.realtime):
                return False
            self._realtime -= member.realtime.rounded
        self._memory -= member.memory
        self._cpu -= member.cpu
        return True

    def left(self) -> _Left:
        """Of each kind."""
        return self._memory, self._cpu, self._realtime

    def words(self, member: Member) -> str:
        """What there is, of the kinds that the member needs."""
        left = f"{self.host.id} has {format_bytes(max(self._memory, 0))} and {max(self._cpu, 0):.3g} cores left"
        if member.realtime is None:
            return left
        if self._keeper is None:
            return f"{left}, and no real-time CPU to promise"
        if self._is_over:
            return f"{left}, and cannot keep what it has promised already"
        return f"{left}, and {max(float(self._keeper.left), 0):.3g} of a CPU for real time"

"""The guards of all hosts, in memory."""

from collections.abc import Mapping

from entourage.drivers.memory.world import MemoryWorld
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Service
from entourage.ports.hypervisor import RunState


class MemoryGuard:
    """`entourage.ports.guard.Guard` over a MemoryWorld. A test says by `gone` that whoever armed it has died."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world
        self._armed: dict[MemberId, tuple[HostId, float]] = {}  # where, and how many seconds it may stand still
        self._run_again: set[MemberId] = set()
        world.watchers.append(self._look)

    async def arm(self, service: Service, sources: Mapping[MemberId, HostId], *, deadline_s: float) -> None:
        """From now on, by the world's clock."""
        async with self._world.call("guard.arm", service.id):
            self._armed |= {member: (host, deadline_s) for member, host in sources.items()}
            self._run_again -= set(sources)

    async def disarm(self, service: Service, sources: Mapping[MemberId, HostId]) -> frozenset[MemberId]:
        """No more; who was run again since."""
        async with self._world.call("guard.disarm", service.id):
            self._armed = {member: armed for member, armed in self._armed.items() if member not in sources}
            return frozenset(self._run_again & set(sources))

    def gone(self) -> None:
        """Whoever armed it is gone."""
        self._armed = {member: (host, 0.0) for member, (host, _) in self._armed.items()}
        self._look()

    def _look(self) -> None:
        for member, (host, deadline_s) in self._armed.items():
            copy = self._world.copies.get((member, host))
            if copy is None or copy.state is not RunState.PAUSED or copy.paused_at is None:
                continue
            if self._world.now - copy.paused_at >= deadline_s:
                if copy.stream is not None:
                    self._world.break_stream(member, copy.stream)
                copy.handed_over = False
                self._run_again.add(member)
                self._world.run(member, host)

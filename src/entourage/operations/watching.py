"""What rules decide from, looked at again and again: members often, routes and segments less so.

Looks are short and let go of everything between: whoever else looks, or acts, finds every monitor free. While a move
is driven nobody looks: what is paused then is meant to be, and a host has better things to do.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from entourage.lab.errors import LabError
from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId
from entourage.operations.driving import is_being_driven
from entourage.operations.maintenance import in_maintenance, usable
from entourage.operations.observe import Observation, observe
from entourage.operations.recovering import all_moves
from entourage.ports.hypervisor import Capability, RunState
from entourage.rules.view import HostState, ServiceView, View
from entourage.wiring import Wired, wire

_ROUTES_EVERY_S = 5.0
_ANSWERS_WITHIN_S = 3.0  # of one host about one member; later than that it is as good as not at all


@dataclass(slots=True)
class Watcher:
    """One lab. `seen` is the last whole observation."""

    place: Place
    seen: Observation | None = None
    _routes_at: float = 0.0
    _put: Mapping[MemberId, HostId] = field(default_factory=dict)

    async def look(self) -> View:
        """The view as it is now. LabError if the lab or its database is gone."""
        elapsed = time.monotonic()
        if self.seen is not None and is_being_driven(self.place):
            return self._view(self.seen, copies=self.seen.copies, elapsed=elapsed, is_moving=True)
        wired = wire(self.place, only_look=True)
        try:
            copies = await self._copies(wired)
            if self.seen is None or copies != self.seen.copies or elapsed - self._routes_at > _ROUTES_EVERY_S:
                self.seen = await observe(wired)
                self._put = await asyncio.to_thread(put_by_us, self.place)
                self._routes_at = time.monotonic()
                copies = dict(self.seen.copies)
        finally:
            await wired.close()
        return self._view(self.seen, copies=copies, elapsed=elapsed, is_moving=is_being_driven(self.place))

    def forget(self) -> None:
        """Look at everything anew the next time: something was changed."""
        self.seen = None

    async def _copies(self, wired: Wired) -> dict[tuple[MemberId, HostId], RunState]:
        hosts = [host.id for site in self.place.infrastructure.sites for host in site.hosts]
        pairs = [(member.id, host) for member in self.place.service.members for host in hosts]
        states = await asyncio.gather(*(self._state(wired, member, host) for member, host in pairs))
        return {pair: state for pair, state in zip(pairs, states, strict=True) if state is not RunState.ABSENT}

    async def _state(self, wired: Wired, member: MemberId, host: HostId) -> RunState:
        try:
            return await asyncio.wait_for(wired.hypervisor.look(member, host), _ANSWERS_WITHIN_S)
        except TimeoutError:
            return RunState.FAILED

    def _view(
        self, seen: Observation, *, copies: Mapping[tuple[MemberId, HostId], RunState], elapsed: float, is_moving: bool
    ) -> View:
        service = self.place.service
        capabilities = frozenset(Capability) - (set() if self.place.is_encrypted else {Capability.ENCRYPTED})
        return View(
            taken_at=time.time(),
            elapsed=elapsed,
            infrastructure=self.place.infrastructure,
            services={
                service.id: ServiceView(
                    service=service,
                    copies=copies,
                    ingress=seen.snapshot.ingress,
                    stretched=seen.stretched,
                    in_use=seen.in_use,
                    put=self._put,
                    odd=strangers(self.place),
                    is_moving=is_moving,
                )
            },
            hosts=dict.fromkeys(in_maintenance(self.place), HostState.MAINTENANCE),
            loads=usable(self.place, seen.load()),
            capabilities=capabilities,
        )


def put_by_us(place: Place) -> dict[MemberId, HostId]:
    """Where the lab's moves have put members, as far as they committed: whoever is elsewhere was moved by others."""
    put: dict[MemberId, HostId] = {}
    for move in reversed(all_moves(place)):
        if (move.ended or {}).get("outcome") == "committed":
            put.update(move.document["group"]["targets"])
    return put


def strangers(place: Place) -> tuple[str, ...]:
    """Virtual machines on the lab's hosts that are members of nothing, a sentence each."""
    known = {member.id for member in place.service.members}
    found = []
    for host in (host.id for site in place.infrastructure.sites for host in site.hosts):
        try:
            names = sorted(path.stem for path in place.access(host).run_dir.glob("*.pid"))
        except OSError as error:
            raise LabError(f"{host} cannot be looked at: {error}") from error
        found += [f"{name} on {host} is a member of nothing" for name in names if name not in known and name != "guard"]
    return tuple(found)

"""The hypervisor's own migrations, for comparison: one after another (`serial`) or all at once (`parallel`).

Nothing aligns the members: while some run at the source and others at the target, packets of the chain cross the
inter-site link, so every segment between members has to be stretched. The route follows when the router has arrived.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from entourage.engine.mover import Drivers, Mark, prepare_path, retire_source_ingress
from entourage.model.ids import MemberId
from entourage.model.world import Service
from entourage.ports.errors import DriverError
from entourage.ports.hypervisor import Migrated, ProgressCallback
from entourage.switch import Group


@dataclass(slots=True, kw_only=True)
class UncoordinatedOutcome:
    """Where it ended. Members in `migrated` run at the target, all others still at the source; `failures` say why."""

    migrated: dict[MemberId, Migrated] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    marks: list[Mark] = field(default_factory=list)


class UncoordinatedMover:
    """One run of the hypervisor's own migrations."""

    def __init__(self, service: Service, drivers: Drivers, *, progress: ProgressCallback) -> None:
        self._service = service
        self._drivers = drivers
        self._progress = progress

    async def run(self, group: Group, *, at_once: bool) -> UncoordinatedOutcome:
        """Migrate every member; a failure ends a serial run where it is: that is what such moves do."""
        outcome = UncoordinatedOutcome()
        await self._prepare(group)
        if at_once:
            await asyncio.gather(*(self._migrate(member, group, outcome) for member in group.order))
        else:
            for member in group.order:
                await self._migrate(member, group, outcome)
                if outcome.failures:
                    break
        if not outcome.failures:
            outcome.problems = await self._drivers.verifier.problems(self._service)
            for member in group.order:
                await self._drivers.hypervisor.remove(member, group.sources[member])
            for segment in group.unstretch:
                await self._drivers.segments.unstretch(self._service, segment)
            if group.moves_ingress:
                await retire_source_ingress(self._drivers, self._service, group)
        return outcome

    async def _prepare(self, group: Group) -> None:
        await prepare_path(self._drivers, self._service, group)
        hypervisor = self._drivers.hypervisor
        await asyncio.gather(
            *(
                hypervisor.prepare(self._service.member(member), group.targets[member], autostart=True)
                for member in group.order
            )
        )

    async def _migrate(self, member: MemberId, group: Group, outcome: UncoordinatedOutcome) -> None:
        try:
            outcome.migrated[member] = await self._drivers.hypervisor.migrate(
                self._service.member(member),
                source=group.sources[member],
                target=group.targets[member],
                progress=self._progress,
            )
            if group.moves_ingress and member == self._service.chain[0][0]:
                await self._drivers.ingress.tunnel(self._service, source=group.source_site, target=group.target_site)
                await self._drivers.ingress.flip(self._service, group.target_site)
                outcome.marks.append(Mark(at=time.time(), what="flipped"))
        except (DriverError, ConnectionError) as error:
            outcome.failures.append(f"{member}: {error}")


def times(outcome: UncoordinatedOutcome) -> tuple[Mapping[MemberId, float], Mapping[MemberId, float]]:
    """When each migrated member paused at the source and ran at the target (seconds since the epoch)."""
    paused = {member: done.paused_at for member, done in outcome.migrated.items()}
    return paused, {member: done.resumed_at for member, done in outcome.migrated.items()}

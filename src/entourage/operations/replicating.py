"""Keeping copies of a service's disks at another site, as fresh as the service wants them; and saying how fresh."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from entourage.lab.errors import LabError
from entourage.lab.kept import write_whole
from entourage.lab.leftovers import exclusive_replication, is_being_replicated
from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId, site_of
from entourage.model.replication import Generation
from entourage.model.world import Member
from entourage.operations.driving import is_being_driven
from entourage.planner.placing import NoRoomError
from entourage.planner.replicating import ReplicaState, due_at, lateness, pace, replica_hosts, replica_site
from entourage.ports.errors import DriverError
from entourage.ports.replication import Replication
from entourage.wiring import replication_of

_LOOK_FOR_MOVES_S = 0.25
_TRY_AGAIN_S = 1.0

Tell = Callable[[str], None]


async def replicate(place: Place, *, tell: Tell) -> None:
    """Replicate the disks of the service's members until cancelled; nothing but the replicas is left then.

    `tell` gets a sentence whenever something has changed. LabError if the service wants no replication, if another
    process does it already, or when the lab is gone.
    """
    if not place.service.replicated():
        hint = "write rpo: 10 s in its file, and give a member a disk"
        raise LabError(f"{place.service.id} wants no replication; {hint}")
    with exclusive_replication(place.name, place.service.id):
        keeper = Keeper(place, replication_of(place), tell=tell)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.watch_moves())
                for member in place.service.replicated():
                    group.create_task(keeper.keep(member))
        finally:
            await keeper.forget()


def replica_states(place: Place) -> list[ReplicaState]:
    """What there is of each disk that is to be replicated, as the files say it now. Nobody is waited for."""
    replication, rpo_s = replication_of(place), place.service.rpo_s
    problems = _read_problems(place)
    nobody = f"nobody does it: entourage replicate {place.service.id} --lab {place.name}"
    absent = None if is_being_replicated(place.name, place.service.id) else nobody
    states = []
    for member in place.service.replicated():
        assert rpo_s is not None
        found = [(host, last) for host in place.hosts() if (last := replication.generation(member.id, host))]
        host, last = max(found, key=lambda each: each[1].taken_at, default=(None, None))
        problem = absent or problems.get(member.id)
        states.append(ReplicaState(member=member.id, rpo_s=rpo_s, host=host, generation=last, problem=problem))
    return states


def replica_moments(place: Place) -> dict[tuple[MemberId, HostId], float]:
    """Of which moment (seconds since the epoch) each replica of the service's disks is, by member and host."""
    replication = replication_of(place)
    return {
        (member.id, host): generation.taken_at
        for member in place.service.replicated()
        for host in place.hosts()
        if (generation := replication.generation(member.id, host)) is not None
    }


class Keeper:
    """Keeps the replicas of one service within what it wants, and notes what stands against that."""

    def __init__(self, place: Place, replication: Replication, *, tell: Tell) -> None:
        self._place = place
        self._replication = replication
        self._tell = tell
        self._problems: dict[MemberId, str] = {}
        self._kept: dict[MemberId, HostId] = {}  # where the replica is, and nowhere else
        self._is_driven, self._is_free = asyncio.Event(), asyncio.Event()  # by a move, or not

    async def watch_moves(self) -> None:
        """See whether a move is driven, for ever; LabError when the lab is gone."""
        while True:
            if not self._place.run_dir.is_dir():
                raise LabError(f"lab {self._place.name} is gone")
            try:
                driven = await asyncio.to_thread(is_being_driven, self._place)
            except LabError:
                driven = False  # nobody can say; and a round does not stand in a move's way
            begun, ended = (self._is_driven, self._is_free) if driven else (self._is_free, self._is_driven)
            ended.clear()
            begun.set()
            await asyncio.sleep(_LOOK_FOR_MOVES_S)

    async def keep(self, member: Member) -> None:
        """One round after another, for ever; none while a move is driven."""
        while True:
            if self._is_driven.is_set():
                self._note(member.id, "it waits for a move to end")
            await self._is_free.wait()
            try:
                wait_s = await self._next(member)
            except (DriverError, NoRoomError) as error:
                self._note(member.id, str(error))
                wait_s = _TRY_AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._is_driven.wait()

    async def forget(self) -> None:
        """No bitmap, job or process is left; the replicas stay."""
        for member in self._place.service.replicated():
            with suppress(DriverError):
                source = await self._replication.source(member.id)
                if source is not None:
                    await self._replication.forget(member.id, source)
        _problems(self._place).unlink(missing_ok=True)

    async def _next(self, member: Member) -> float:
        """A round, if one is due; for how many seconds nothing is to be done."""
        infrastructure, service = self._place.infrastructure, self._place.service
        assert service.rpo_s is not None
        source = await self._replication.source(member.id)
        site = None if source is None else replica_site(infrastructure, service, site_of(source))
        if source is None or site is None:
            where = (
                "it does not run, or not on one host only"
                if source is None
                else f"no link leads from {site_of(source)}"
            )
            self._note(member.id, where)
            return _TRY_AGAIN_S
        target = replica_hosts(infrastructure, service, site)[member.id]
        before = self._replication.generation(member.id, target)
        now = time.time()
        due = due_at(before, rpo_s=service.rpo_s, now=now)
        if due > now:
            return due - now
        if before is None and member.id not in self._problems:
            self._note(member.id, f"all of its disk is being copied to {target}")
        rate = pace(infrastructure, service, source=site_of(source), target=site)
        after = await self._round(member, source=source, target=target, rate=rate)
        if after is not None:
            # What was there before the first round has been getting older while nobody replicated.
            seen = before if self._kept.get(member.id) == target else None
            late = lateness(seen, after, rpo_s=service.rpo_s, pace=rate)
            self._note(member.id, None if late is None else str(late))
            await self._remove_others(member.id, kept=target)
        return 0.0

    async def _round(self, member: Member, *, source: HostId, target: HostId, rate: float) -> Generation | None:
        """None if a move came in between."""
        doing = asyncio.create_task(self._replication.round(member, source=source, target=target, pace=rate))
        driven = asyncio.create_task(self._is_driven.wait())
        try:
            await asyncio.wait({doing, driven}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            driven.cancel()
            doing.cancel()  # nothing, if it is done
            await asyncio.wait({doing, driven})
        return None if doing.cancelled() else doing.result()

    async def _remove_others(self, member: MemberId, *, kept: HostId) -> None:
        """Of the replicas that were kept while the member ran elsewhere none is as fresh."""
        if self._kept.get(member) != kept:
            for host in self._place.hosts():
                if host != kept:
                    await self._replication.remove(member, host)
            self._kept[member] = kept

    def _note(self, member: MemberId, problem: str | None) -> None:
        if self._problems.get(member) == problem:
            return
        self._tell(f"{member}: {problem or 'its replica is as it is wanted'}")
        self._problems = {m: p for m, p in {**self._problems, member: problem}.items() if p is not None}
        with suppress(FileNotFoundError):  # the lab is just gone
            write_whole(_problems(self._place), json.dumps(self._problems))


def _read_problems(place: Place) -> dict[str, str]:
    try:
        problems: dict[str, str] = json.loads(_problems(place).read_text())
    except FileNotFoundError:
        return {}
    return problems


def _problems(place: Place) -> Path:
    """What whoever replicates the service has to say."""
    return place.run_dir / f"replication-{place.service.id}.json"

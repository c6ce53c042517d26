"""Who keeps replicas: rounds that wait for moves, follow the member, say what is wrong, and leave nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from entourage.lab.errors import LabError
from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId
from entourage.model.replication import Generation
from entourage.model.world import Member
from entourage.operations import replicating
from entourage.operations.replicating import Keeper, replica_states, replicate
from entourage.ports.errors import DriverError, PermanentError
from entourage.ports.replication import Replication
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).parents[3] / "examples"
INFRASTRUCTURE = load_infrastructure(EXAMPLES / "sites.yaml")
SERVICE = replace(load_service(EXAMPLES / "shop-replicated.yaml", INFRASTRUCTURE), rpo_s=1.0)
WEB1 = SERVICE.member(MemberId("web1"))
EAST, WEST = HostId("east/h1"), HostId("west/h1")
WITHIN_S = 20.0


@dataclass
class FakePlace:
    run_dir: Path
    name: str = "lab1"
    infrastructure: Any = INFRASTRUCTURE
    service: Any = SERVICE

    def hosts(self) -> list[HostId]:
        """All of them."""
        return [host.id for site in self.infrastructure.sites for host in site.hosts]


@dataclass
class FakeReplication:
    """Rounds that take no time, or fail, or never end."""

    runs_at: HostId | None = EAST
    failure: DriverError | None = None
    hangs: bool = False
    began: list[tuple[HostId, HostId]] = field(default_factory=list)
    broken_off: int = 0
    kept: dict[HostId, Generation] = field(default_factory=dict)
    removed: list[HostId] = field(default_factory=list)
    forgotten: list[tuple[MemberId, HostId]] = field(default_factory=list)

    async def source(self, _: MemberId) -> HostId | None:
        return self.runs_at

    def generation(self, member: MemberId, host: HostId) -> Generation | None:
        return self.kept.get(host) if member == WEB1.id else None

    async def round(self, member: Member, *, source: HostId, target: HostId, pace: float) -> Generation:
        assert pace > 0
        self.began.append((source, target))
        if self.failure is not None:
            raise self.failure
        if self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                self.broken_off += 1
        number = len(self.began)
        # Taken long ago: so the next one is due at once.
        times = {"began_at": number, "taken_at": number, "valid_at": number}
        self.kept[target] = Generation(
            id=f"{number}-x", number=number, member=member.id, source=source, bytes=65536, **times
        )
        return self.kept[target]

    async def forget(self, member: MemberId, source: HostId) -> None:
        self.forgotten.append((member, source))

    async def remove(self, _: MemberId, host: HostId) -> None:
        self.removed.append(host)
        self.kept.pop(host, None)


class World:
    """A keeper at work on one member."""

    def __init__(self, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_driven = False
        self.told: list[str] = []
        self.replication = FakeReplication()
        self.place = cast(Place, FakePlace(run_dir))
        monkeypatch.setattr(replicating, "is_being_driven", lambda _: self.is_driven)
        monkeypatch.setattr(replicating, "replication_of", lambda _: self.replication)
        monkeypatch.setattr(replicating, "is_being_replicated", lambda *_: True)
        for name in ("_LOOK_FOR_MOVES_S", "_TRY_AGAIN_S"):
            monkeypatch.setattr(replicating, name, 0.001)

    def run(self, *conditions: Callable[[], bool]) -> None:
        """Keep until each of the conditions in turn has been so."""

        async def work() -> None:
            keeper = Keeper(self.place, cast(Replication, self.replication), tell=self.told.append)
            tasks = [asyncio.create_task(keeper.watch_moves()), asyncio.create_task(keeper.keep(WEB1))]
            try:
                async with asyncio.timeout(WITHIN_S):
                    for condition in conditions:
                        while not condition():  # noqa: ASYNC110 - of whatever kind
                            await asyncio.sleep(0.001)
                    assert not any(task.done() for task in tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

        asyncio.run(work())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def then(act: Callable[[], object]) -> Callable[[], bool]:
    """Not a condition: something to be done when the ones before have been so."""

    def done() -> bool:
        act()
        return True

    return done


def test_one_round_follows_another_to_the_other_site(world: World) -> None:
    world.run(lambda: len(world.replication.began) >= 3)
    assert set(world.replication.began) == {(EAST, WEST)}


def test_a_round_under_way_is_broken_off_for_a_move_and_none_begins_before_it_has_ended(world: World) -> None:
    replication = world.replication
    replication.hangs = True

    def drive() -> None:
        world.is_driven = True

    def end() -> None:
        assert len(replication.began) == 1
        world.is_driven, replication.hangs, replication.runs_at = False, False, WEST

    world.run(
        lambda: len(replication.began) == 1,
        then(drive),
        lambda: replication.broken_off == 1 and "web1: it waits for a move to end" in world.told,
        then(end),
        lambda: len(replication.began) >= 3,
    )
    assert set(replication.began[1:]) == {(WEST, EAST)}
    assert set(replication.removed) == {HostId("west/h1"), HostId("west/h2"), HostId("east/h2")}


def test_replicas_elsewhere_stay_until_there_is_a_whole_one(world: World) -> None:
    replication = world.replication
    replication.failure = PermanentError("the target is down")
    world.run(lambda: len(replication.began) >= 3)
    assert replication.removed == []


def test_what_goes_wrong_is_told_once_is_there_to_be_read_and_is_tried_again(world: World) -> None:
    replication = world.replication
    replication.failure = PermanentError("the target is down")

    def seen_and_mended() -> None:
        assert [state.problem for state in replica_states(world.place)] == ["the target is down", None]
        replication.failure = None

    world.run(
        lambda: len(replication.began) >= 3,
        then(seen_and_mended),
        lambda: replica_states(world.place)[0].problem is None,
    )
    assert world.told.count("web1: the target is down") == 1


def test_a_member_that_runs_nowhere_is_waited_for(world: World) -> None:
    world.replication.runs_at = None

    def comes() -> None:
        assert world.replication.began == []
        world.replication.runs_at = EAST

    world.run(
        lambda: "web1: it does not run, or not on one host only" in world.told,
        then(comes),
        lambda: len(world.replication.began) >= 1,
    )


def test_states_say_where_the_freshest_replica_is_and_that_nobody_replicates(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(lambda: len(world.replication.began) >= 2)
    monkeypatch.setattr(replicating, "is_being_replicated", lambda *_: False)
    web1, web2 = replica_states(world.place)
    assert (web1.member, web1.host, web1.generation) == (WEB1.id, WEST, world.replication.kept[WEST])
    assert (web2.host, web2.generation) == (None, None)
    assert web1.problem == web2.problem == f"nobody does it: entourage replicate {world.place.service.id} --lab lab1"


def test_when_it_ends_nothing_is_noted_in_the_members_any_more(world: World) -> None:
    async def work() -> None:
        doing = asyncio.create_task(replicate(world.place, tell=world.told.append))
        async with asyncio.timeout(WITHIN_S):
            while not world.replication.began:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        doing.cancel()
        await asyncio.wait({doing})
        assert doing.cancelled()

    asyncio.run(work())
    assert world.replication.forgotten == [(MemberId("web1"), EAST), (MemberId("web2"), EAST)]
    assert list(world.place.run_dir.iterdir()) == []


def test_it_ends_when_the_lab_is_gone(world: World) -> None:
    async def work() -> None:
        async with asyncio.timeout(WITHIN_S):
            await Keeper(world.place, cast(Replication, world.replication), tell=world.told.append).watch_moves()

    world.place.run_dir.rmdir()
    with pytest.raises(LabError, match="lab lab1 is gone"):
        asyncio.run(work())


def test_a_service_that_wants_no_replication_is_told_what_to_write(world: World) -> None:
    cast(FakePlace, world.place).service = replace(SERVICE, rpo_s=None)
    with pytest.raises(LabError, match="wants no replication; write rpo"):
        asyncio.run(replicate(world.place, tell=world.told.append))

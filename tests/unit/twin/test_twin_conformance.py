"""The drivers of the simulated world through the conformance kits."""

import asyncio
from collections.abc import Coroutine
from random import Random

import pytest

from entourage.model.ids import HostId, MemberId
from entourage.ports.conformance import (
    Conformance,
    GuardConformance,
    HypervisorConformance,
    IngressConformance,
    SegmentsConformance,
    run_check,
)
from entourage.ports.conformance.guard import Guarded
from entourage.ports.hypervisor import Capability
from entourage.twin.hypervisor import TwinHypervisor
from entourage.twin.loop import Process, VirtualLoop
from entourage.twin.network import TwinIngress, TwinSegments
from entourage.twin.records import Guards, TwinGuard
from entourage.twin.scenario import EAST, WEST, plain_scenario
from entourage.twin.streams import Streams
from entourage.twin.world import Client, World

SOURCE, TARGET, RT = HostId("east/h1"), HostId("west/h1"), MemberId("rt")


class Tried:
    """An empty world, and one who calls its drivers."""

    def __init__(self, *, still: bool = False) -> None:
        self.loop = VirtualLoop()  # type: ignore[abstract]
        scenario = plain_scenario(3)
        if still:
            scenario.dirty_rates[RT] = 0.0
        self.service = scenario.service
        self.world = World(self.loop, scenario, Random(1), is_move=False)
        self.streams = Streams(self.world)
        self.guards = Guards(self.world, self.streams)
        self.client = Client(self.world, "tester")
        self.hypervisor = TwinHypervisor(self.world, self.streams, self.client)
        self.is_still = still

    def run(self, kit: Conformance, name: str) -> bool:
        work: Coroutine[object, object, bool] = run_check(kit, name)
        applied = self.loop.run(self.loop.spawn(work, Process("tester")))
        assert self.world.violations == []
        assert self.world.copies == {}
        assert self.world.devices == set()
        self.world.is_over = True
        self.loop.bury()
        return applied

    def hypervisor_kit(self) -> HypervisorConformance:
        return HypervisorConformance(
            self.hypervisor,
            member=self.service.member(RT),
            source=SOURCE,
            target=TARGET,
            booted=None if self.is_still else booted,
        )

    def guard_kit(self) -> GuardConformance:
        async def gone() -> None:
            self.guards.died(self.client)
            await asyncio.sleep(0)

        where = Guarded(service=self.service, member=self.service.member(RT), source=SOURCE, target=TARGET, soon_s=0.2)
        guard = TwinGuard(self.world, self.guards, self.client)
        return GuardConformance(guard, self.hypervisor, where=where, booted=booted, gone=gone)


async def booted() -> None:
    """Guests here write from the beginning."""


# One that had stopped by itself runs again when its stream breaks, as QEMU's do: there the state before is not kept.
RUNS_AGAIN = "the_source_goes_on_when_the_target_of_its_copy_is_removed"


@pytest.mark.parametrize("still", [False, True], ids=["writes", "writes-nothing"])
@pytest.mark.parametrize("name", HypervisorConformance.checks())
def test_the_hypervisor_conforms(name: str, still: bool) -> None:
    if still and name == RUNS_AGAIN:
        return
    tried = Tried(still=still)
    assert tried.run(tried.hypervisor_kit(), name) or Capability.MIGRATE in getattr(HypervisorConformance, name).needs


@pytest.mark.parametrize("name", IngressConformance.checks())
def test_the_ingress_conforms(name: str) -> None:
    tried = Tried()
    kit = IngressConformance(TwinIngress(tried.world, tried.client), service=tried.service, source=EAST, target=WEST)
    assert tried.run(kit, name)
    assert tried.world.announced == {}


@pytest.mark.parametrize("name", SegmentsConformance.checks())
def test_the_segments_conform(name: str) -> None:
    tried = Tried()
    segments = TwinSegments(tried.world, tried.client)
    assert tried.run(SegmentsConformance(segments, service=tried.service, sites=frozenset({EAST, WEST})), name)


@pytest.mark.parametrize("name", GuardConformance.checks())
def test_the_guards_conform(name: str) -> None:
    tried = Tried()
    assert tried.run(tried.guard_kit(), name)

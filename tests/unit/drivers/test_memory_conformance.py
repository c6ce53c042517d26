"""The in-memory drivers through the conformance kits, with all capabilities and with each one lacking."""

import asyncio
from pathlib import Path

import pytest

from entourage.drivers.memory import MemoryGuard, MemoryHypervisor, MemoryIngress, MemorySegments, MemoryWorld
from entourage.model.ids import HostId, MemberId, RegionId, SiteId
from entourage.ports.conformance import (
    Conformance,
    GuardConformance,
    Guarded,
    HypervisorConformance,
    IngressConformance,
    SegmentsConformance,
    run_check,
)
from entourage.ports.hypervisor import Capability
from entourage.ports.ingress import IngressCapability
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).parents[3] / "examples"
SHOP = load_service(EXAMPLES / "shop.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))
EAST, WEST = SiteId("east"), SiteId("west")
EVERYTHING = frozenset(Capability)
ALL_INGRESS = frozenset(IngressCapability)
LACKING = [frozenset[Capability](), *(EVERYTHING - {one} for one in Capability)]


def a_world(
    *, capabilities: frozenset[Capability] = EVERYTHING, ingress: frozenset[IngressCapability] = ALL_INGRESS
) -> MemoryWorld:
    return MemoryWorld(
        hosts=(HostId("east/h1"), HostId("west/h1")),
        regions={RegionId("users-east"): EAST, RegionId("users-west"): WEST},
        capabilities=capabilities,
        ingress_capabilities=ingress,
    )


async def booted() -> None:
    """Guests in memory boot at once."""


def hypervisor_kit(world: MemoryWorld, *, member: str = "web1") -> HypervisorConformance:
    moved = SHOP.member(MemberId(member))
    return HypervisorConformance(
        MemoryHypervisor(world),
        member=moved,
        source=HostId("east/h1"),
        target=HostId("west/h1"),
        booted=None if moved.id in world.still else booted,
    )


def run(kit: Conformance, name: str) -> bool:
    return asyncio.run(run_check(kit, name))


@pytest.mark.parametrize("name", HypervisorConformance.checks())
def test_memory_hypervisor_conforms(name: str) -> None:
    world = a_world()
    assert run(hypervisor_kit(world), name)
    assert world.violations == []
    assert world.copies == {}


@pytest.mark.parametrize("name", HypervisorConformance.checks())
def test_memory_hypervisor_conforms_with_a_member_that_writes_nothing(name: str) -> None:
    world = a_world()
    world.still.add(MemberId("rt"))
    assert run(hypervisor_kit(world, member="rt"), name)
    assert world.violations == []


@pytest.mark.parametrize("capabilities", LACKING, ids=lambda c: "+".join(sorted(one.value for one in c)) or "nothing")
@pytest.mark.parametrize("name", HypervisorConformance.checks())
def test_memory_hypervisor_conforms_with_less_capabilities(name: str, capabilities: frozenset[Capability]) -> None:
    world = a_world(capabilities=capabilities)
    run(hypervisor_kit(world), name)
    assert world.violations == []


def test_checks_of_what_is_lacking_do_not_apply() -> None:
    world = a_world(capabilities=frozenset())
    applied = {name for name in HypervisorConformance.checks() if run(hypervisor_kit(world), name)}
    assert "what_is_no_capability_is_refused_as_unsupported" in applied
    assert "drain_makes_the_target_paused_and_not_running" not in applied
    assert "migrate_ends_with_the_target_running_and_the_source_paused" not in applied


@pytest.mark.parametrize("lacking", [None, *IngressCapability], ids=lambda c: c.value if c else "all")
@pytest.mark.parametrize("name", IngressConformance.checks())
def test_memory_ingress_conforms(name: str, lacking: IngressCapability | None) -> None:
    world = a_world(ingress=ALL_INGRESS - {lacking})
    kit = IngressConformance(MemoryIngress(world), service=SHOP, source=EAST, target=WEST)
    applied = run(kit, name)
    assert applied or lacking is not None
    assert world.announcements == {}
    assert world.tunnels == {}


@pytest.mark.parametrize("name", SegmentsConformance.checks())
def test_memory_segments_conform(name: str) -> None:
    world = a_world()
    assert run(SegmentsConformance(MemorySegments(world), service=SHOP, sites=frozenset({EAST, WEST})), name)
    assert world.stretched == {}


def guard_kit(world: MemoryWorld, guard: MemoryGuard) -> GuardConformance:
    where = Guarded(
        service=SHOP,
        member=SHOP.member(MemberId("web1")),
        source=HostId("east/h1"),
        target=HostId("west/h1"),
        soon_s=0.02,  # a look takes a millisecond of the world's time
    )

    async def gone() -> None:
        guard.gone()

    return GuardConformance(guard, MemoryHypervisor(world), where=where, booted=booted, gone=gone)


@pytest.mark.parametrize("name", GuardConformance.checks())
def test_memory_guard_conforms(name: str) -> None:
    world = a_world()
    assert run(guard_kit(world, MemoryGuard(world)), name)
    assert world.violations == []
    assert world.copies == {}

"""The conformance kits notice drivers that break what they promise: each fault planted, and caught."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from entourage.drivers.memory import MemoryGuard, MemoryHypervisor, MemoryIngress, MemorySegments, MemoryWorld
from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, SiteId
from entourage.model.world import Member, Service
from entourage.ports.conformance import (
    Conformance,
    GuardConformance,
    Guarded,
    HypervisorConformance,
    IngressConformance,
    SegmentsConformance,
    run_check,
)
from entourage.ports.errors import PermanentError
from entourage.ports.hypervisor import CopyRound, ProgressCallback, RunState
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).parents[3] / "examples"
SHOP = load_service(EXAMPLES / "shop.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))
EAST, WEST = SiteId("east"), SiteId("west")
H1, H2 = HostId("east/h1"), HostId("west/h1")


def a_world() -> MemoryWorld:
    return MemoryWorld(hosts=(H1, H2), regions={RegionId("users-east"): EAST, RegionId("users-west"): WEST})


async def booted() -> None:
    """Guests in memory boot at once."""


class _Faulty(MemoryHypervisor):
    def __init__(self) -> None:
        self.world = a_world()
        super().__init__(self.world)


class RunsAfterDrain(_Faulty):
    async def drain(self, member: Member, *, source: HostId, target: HostId) -> int:
        copied = await super().drain(member, source=source, target=target)
        self.world.run(member.id, target)
        return copied


class StopsAgainAndAgain(_Faulty):
    async def stop(self, member: Member, *, source: HostId) -> float:
        await super().stop(member, source=source)
        return self.world.now


class ForgetsToStop(_Faulty):
    async def stop(self, member: Member, *, source: HostId) -> float:
        return self.world.now


class ResumesAgainAndAgain(_Faulty):
    async def resume(self, member: Member, host: HostId) -> float:
        await super().resume(member, host)
        return self.world.now


class PausesToCopy(_Faulty):
    async def copy(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> CopyRound:
        held = await super().copy(member, source=source, target=target, progress=progress)
        self.world.pause(self.world.copy_on(member.id, source))
        return held


class SaysNothingOfCopying(_Faulty):
    async def copy(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> CopyRound:
        return await super().copy(member, source=source, target=target, progress=lambda _: None)


class PreparesOverOthers(_Faulty):
    async def prepare(self, member: Member, host: HostId, *, autostart: bool = False) -> None:
        self.world.copies.pop((member.id, host), None)
        await super().prepare(member, host, autostart=autostart)


class CreatesOverOthers(_Faulty):
    async def create(self, member: Member, host: HostId, *, disk: Path | None = None) -> None:
        self.world.copies.pop((member.id, host), None)
        await super().create(member, host, disk=disk)


class AbandonResumes(_Faulty):
    async def abandon(self, member: Member, *, source: HostId) -> None:
        await super().abandon(member, source=source)
        if await self.look(member.id, source) is RunState.PAUSED:
            self.world.run(member.id, source)


class RemoveOnlyPauses(_Faulty):
    async def remove(self, member: MemberId, host: HostId) -> None:
        copy = self.world.copies.get((member, host))
        if copy is not None and copy.state is RunState.RUNNING:
            self.world.pause(copy)


class RemoveOnlyOnce(_Faulty):
    async def remove(self, member: MemberId, host: HostId) -> None:
        if (member, host) not in self.world.copies and self.world.count("hypervisor.create"):
            raise PermanentError(f"{member} on {host}: nothing to remove")
        await super().remove(member, host)


class NeverRunsAgain(_Faulty):
    async def resume(self, member: Member, host: HostId) -> float:
        if self.world.copy_on(member.id, host).handed_over:
            raise PermanentError(f"{member.id} on {host}: handed over")
        return await super().resume(member, host)


@pytest.mark.parametrize("driver", _Faulty.__subclasses__(), ids=lambda d: d.__name__)
def test_hypervisor_kit_catches(driver: type[_Faulty]) -> None:
    def kit() -> HypervisorConformance:
        web1 = SHOP.member(MemberId("web1"))
        return HypervisorConformance(driver(), member=web1, source=H1, target=H2, booted=booted)

    assert caught(kit(), HypervisorConformance.checks())


class StageAttracts(MemoryIngress):
    async def stage(self, service: Service, site: SiteId) -> None:
        await super().stage(service, site)
        await super().flip(service, site)


class WithdrawEndsTunnel(MemoryIngress):
    async def withdraw(self, service: Service, site: SiteId) -> None:
        await super().withdraw(service, site)
        await super().untunnel(service, source=site)


class ActivateTunnelsOn(MemoryIngress):
    async def activate(self, service: Service, site: SiteId) -> None:
        tunnel = (await self.observe(service))[site].tunnel_to
        await super().activate(service, site)
        if tunnel is not None:
            await super().tunnel(service, source=site, target=tunnel)


class TunnelWithdraws(MemoryIngress):
    async def tunnel(self, service: Service, *, source: SiteId, target: SiteId) -> None:
        await super().tunnel(service, source=source, target=target)
        await super().withdraw(service, source)


@pytest.mark.parametrize("driver", [StageAttracts, WithdrawEndsTunnel, ActivateTunnelsOn, TunnelWithdraws])
def test_ingress_kit_catches(driver: type[MemoryIngress]) -> None:
    kit = IngressConformance(driver(a_world()), service=SHOP, source=EAST, target=WEST)
    # What waits for the regions to follow would wait for real: what is observed is enough to catch these.
    names = [name for name in kit.checks() if "brings" not in name and "no_route" not in name]
    assert caught(kit, names)


class UnstretchNothing(MemorySegments):
    async def unstretch(self, service: Service, segment: SegmentId) -> None:
        """As if it had no effect."""


class UnstretchEverything(MemorySegments):
    async def unstretch(self, service: Service, segment: SegmentId) -> None:
        for one in await self.observe(service):
            await super().unstretch(service, one)


@pytest.mark.parametrize("driver", [UnstretchNothing, UnstretchEverything])
def test_segments_kit_catches(driver: type[MemorySegments]) -> None:
    kit = SegmentsConformance(driver(a_world()), service=SHOP, sites=frozenset({EAST, WEST}))
    assert caught(kit, kit.checks())


class NeverAlone(MemoryGuard):
    def gone(self) -> None:
        """As if whoever armed it lived on."""


class NoDeadline(MemoryGuard):
    async def arm(self, service: Service, sources: Mapping[MemberId, HostId], *, deadline_s: float) -> None:
        await super().arm(service, sources, deadline_s=1e9)


class TooEarly(MemoryGuard):
    async def arm(self, service: Service, sources: Mapping[MemberId, HostId], *, deadline_s: float) -> None:
        await super().arm(service, sources, deadline_s=0.0)


class ArmsOnce(MemoryGuard):
    is_armed = False

    async def arm(self, service: Service, sources: Mapping[MemberId, HostId], *, deadline_s: float) -> None:
        if not self.is_armed:
            await super().arm(service, sources, deadline_s=deadline_s)
        self.is_armed = True


class NeverDisarmed(MemoryGuard):
    async def disarm(self, service: Service, sources: Mapping[MemberId, HostId]) -> frozenset[MemberId]:
        return frozenset()


class TellsNobody(MemoryGuard):
    async def disarm(self, service: Service, sources: Mapping[MemberId, HostId]) -> frozenset[MemberId]:
        await super().disarm(service, sources)
        return frozenset()


class TellsOfEverybody(MemoryGuard):
    async def disarm(self, service: Service, sources: Mapping[MemberId, HostId]) -> frozenset[MemberId]:
        await super().disarm(service, sources)
        return frozenset(sources)


@pytest.mark.parametrize(
    "driver", [NeverAlone, NoDeadline, TooEarly, ArmsOnce, NeverDisarmed, TellsNobody, TellsOfEverybody]
)
def test_guard_kit_catches(driver: type[MemoryGuard]) -> None:
    world = a_world()
    guard = driver(world)
    where = Guarded(
        service=SHOP, member=SHOP.member(MemberId("web1")), source=H1, target=H2, soon_s=0.02, runs_within_s=0.3
    )

    async def gone() -> None:
        guard.gone()

    kit = GuardConformance(guard, MemoryHypervisor(world), where=where, booted=booted, gone=gone)
    assert caught(kit, kit.checks())


def caught(kit: Conformance, names: tuple[str, ...] | list[str]) -> bool:
    """Whether at least one of the checks fails."""
    for name in names:
        try:
            asyncio.run(run_check(kit, name))
        except (AssertionError, PermanentError):
            return True
    return False

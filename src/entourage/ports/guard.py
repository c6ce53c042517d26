"""The guards: one on each host, so that nobody stands still because the orchestrator is gone."""

from collections.abc import Mapping
from typing import Protocol

from entourage.model.ids import HostId, MemberId
from entourage.model.world import Service


class Guard(Protocol):
    """The guards of all hosts. What they are armed for they do by themselves, with nobody to ask."""

    async def arm(self, service: Service, sources: Mapping[MemberId, HostId], *, deadline_s: float) -> None:
        """From now on a source that stands still is run again: its copy is given up, and its CPUs go on.

        At once if whoever armed this is gone, else `deadline_s` seconds after it stopped. Done twice, the later counts.
        """
        ...

    async def disarm(self, service: Service, sources: Mapping[MemberId, HostId]) -> frozenset[MemberId]:
        """When this returns, no guard acts any more. The members that a guard has run again since they were armed."""
        ...

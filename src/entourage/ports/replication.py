"""What Entourage asks of a driver that keeps copies of members' disks at another site.

A replica is a folder of a host: at every moment it contains one whole generation, the last that became valid, or none
yet. Every method may be called twice and raises `entourage.ports.errors.DriverError`s.
"""

from pathlib import Path
from typing import Protocol

from entourage.model.ids import HostId, MemberId
from entourage.model.replication import Generation
from entourage.model.world import Member


class Replication(Protocol):
    """A driver for all hosts of one kind of hypervisor. One process at a time runs rounds; anybody may look."""

    async def source(self, member: MemberId) -> HostId | None:
        """Where the member runs now; None if nowhere, or if that cannot be told."""
        ...

    def generation(self, member: MemberId, host: HostId) -> Generation | None:
        """The last valid generation of the replica on the host, read without a lock; None if there is none."""
        ...

    async def round(self, member: Member, *, source: HostId, target: HostId, pace: float) -> Generation:
        """Bring the replica on `target` to what the disk is now, over the link at `pace` bytes/s at the most.

        What was written since the replica's generation is sent, or all, if that is not known. If it fails, or this
        process dies, the last generation stays valid, and the next round makes up for it.
        """
        ...

    async def copy(self, member: MemberId, host: HostId, *, to: Path) -> Generation:
        """Write the last valid generation into the new file `to` of the same host; the replica stays as it is.

        PermanentError if there is none.
        """
        ...

    async def start(self, member: Member, host: HostId) -> Generation:
        """Boot the member on the host with a copy of the replica there, which stays as it is.

        PermanentError if there is no valid generation, or a copy of the member on the host already.
        """
        ...

    async def forget(self, member: MemberId, source: HostId) -> None:
        """At the source: end what is under way and note no writes any more. The next round sends everything."""
        ...

    async def remove(self, member: MemberId, host: HostId) -> None:
        """Take the replica on the host away, with all that belongs to it."""
        ...

"""What the tests of the QEMU drivers share: a tiny guest that says that it lives, and hosts without any network."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from entourage.drivers.qemu.process import BootFiles, HostAccess, instance_paths
from entourage.lab.guests import KERNEL_COMMAND_LINE
from entourage.lab.image import kernel
from entourage.lab.setup import lab_root
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Member, Role
from entourage.ports.conformance.kit import wait_until

SOURCE, TARGET = HostId("east/h1"), HostId("west/h1")
MIB, KIB = 2**20, 2**10
MEMBER = Member(id=MemberId("tiny"), role=Role.SERVER, memory=128 * MIB, cpu=0.2, interfaces=())
BAD_SIGNS = ("panic", "BUG", "Oops", "segfault", "Call Trace", "not intact")
BEATS_DEADLINE_S, CHECK_DEADLINE_S = 60.0, 120.0

# Says that it lives, writes into memory all the time, and reads back what it has written. It writes over 4 MB that
# are never the same: a copy over this machine's loopback is so fast that less would be sent while the gate closes.
INIT = b"""\
#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS0 2>&1
mount -t tmpfs tmpfs /run
mkfifo /run/never
exec 3<>/run/never
beat=0
while :; do
    read -r -t 0.05 _ <&3
    beat=$((beat + 1))
    yes "what beat $beat wrote" | dd of=/run/dirty bs=64k count=64 iflag=fullblock conv=notrunc 2>/dev/null
    echo "$beat" >/run/beat
    read -r back </run/beat
    [ "$back" = "$beat" ] || echo "not intact"
    echo "alive $beat"
done
"""


@dataclass(frozen=True, kw_only=True)
class LonelyMachines:
    """`entourage.drivers.qemu.process.Machines` without any network: both hosts are this machine."""

    directory: Path

    def access(self, host: HostId) -> HostAccess:
        return HostAccess(
            id=host,
            netns=None,
            root=lab_root(),
            run_dir=self.directory / host.replace("/", "-"),
            address="127.0.0.1",
        )

    def boot(self, _: Member) -> BootFiles:
        return BootFiles(kernel=kernel(), initrd=self.directory / "initrd", command_line=KERNEL_COMMAND_LINE)

    async def plug(self, member: Member, _: HostId) -> Sequence[str]:
        assert member.interfaces == ()
        return ()

    async def unplug(self, member: MemberId, host: HostId) -> None:
        """There is nothing to take away."""

    def console(self, host: HostId, member: MemberId = MEMBER.id) -> str:
        with suppress(OSError):
            return instance_paths(self.access(host), member).console.read_text(errors="replace")
        return ""

    def beats(self, host: HostId) -> list[int]:
        """The numbers of the heartbeats on the console, of whole lines only."""
        whole = self.console(host).rpartition("\n")[0]
        return [int(line.split()[1]) for line in whole.splitlines() if line.startswith("alive ")]

    async def wait_beats(self, host: HostId, *, count: int) -> None:
        """Until the guest there has said so many more times that it lives, or that it does not."""
        wanted = len(self.beats(host)) + count

        async def beaten() -> bool:
            return len(self.beats(host)) >= wanted or unwell(self.console(host)) != []

        await wait_until(beaten, words=f"{count} heartbeats at {host}", deadline_s=BEATS_DEADLINE_S)


def unwell(console: str) -> list[str]:
    """The lines that no healthy guest writes."""
    return [line for line in console.splitlines() if any(sign in line for sign in BAD_SIGNS)]

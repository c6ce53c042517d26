"""Every role boots under software emulation with little memory, and says that it serves and lives."""

import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fabric_parts import require_lab

from entourage.lab.guests import ALIVE, FAILED, KERNEL_COMMAND_LINE, READY
from entourage.lab.image import kernel, write_initrd
from entourage.lab.setup import inside, lab_root
from entourage.model.ids import MemberId
from entourage.model.world import Member, Service
from entourage.spec import load_infrastructure, load_service

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE_S = 60.0
MEMORY_KIB = 128 * 1024
PAGE = 4096
BAD_SIGNS = ("panic", "BUG", "Oops", FAILED)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the guest's QEMU can reach. Skips where it cannot run, and fails there under CI."""
    with tempfile.TemporaryDirectory(dir=require_lab(root_for="chroot") / "tmp") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def shop() -> Service:
    return load_service(EXAMPLES / "shop.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))


class Guest:
    """A running guest: what its console has said, and its monitor."""

    def __init__(self, process: subprocess.Popen[bytes], monitor: socket.SocketIO) -> None:
        assert process.stdout is not None
        self._console = process.stdout.fileno()
        self._monitor = monitor
        self.said = ""

    def wait_lines(self, start: str, *, count: int = 1) -> list[str]:
        """Wait until `count` more whole lines that begin with `start` have come; a bad sign ends the wait."""
        begin = len(self.said)
        deadline = time.monotonic() + DEADLINE_S
        while len(found := self._lines(start, begin)) < count:
            assert self._read(max(0.0, deadline - time.monotonic())), f"no {start!r} on the console:\n{self.said}"
            self.check_well()
        return found

    def _read(self, seconds: float) -> bool:
        """Take what the console says within so many seconds; False if it says nothing, or has ended."""
        ready, _, _ = select.select([self._console], [], [], seconds)
        content = os.read(self._console, 65536) if ready else b""
        self.said += content.decode(errors="replace")
        return content != b""

    def _lines(self, start: str, begin: int) -> list[str]:
        whole = self.said[begin:].rpartition("\n")[0]
        return [line.strip() for line in whole.splitlines() if line.startswith(start)]

    def check_well(self) -> None:
        assert [sign for sign in BAD_SIGNS if sign in self.said] == [], self.said

    def uptime(self) -> float:
        """The guest's own clock in seconds, from a heartbeat that is not older than this call."""
        while self._read(0.0):
            pass
        return float(self.wait_lines(ALIVE)[-1].split()[1])

    def memory(self, file: Path) -> bytes:
        """The guest's memory as it is now."""
        self.command("pmemsave", val=0, size=MEMORY_KIB * 1024, filename=inside(file))
        return file.read_bytes()

    def command(self, name: str, **arguments: str | int) -> None:
        """Run a QMP command to its end; events and the greeting are passed over."""
        self._monitor.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        answer: dict[str, object] = {}
        while not {"return", "error"} & answer.keys():
            answer = json.loads(self._monitor.readline())
        assert "error" not in answer, answer


@contextmanager
def booted(service: Service, member: Member, directory: Path) -> Iterator[Guest]:
    """The member, booting, with its network cards attached to nothing."""
    initrd = directory / "initrd"
    write_initrd(service, member, initrd)
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_S)
    command: list[str | Path] = ["chroot", lab_root(), "/usr/bin/qemu-system-x86_64"]
    command += ["-machine", "pc", "-accel", "tcg,thread=multi", "-m", f"{MEMORY_KIB}K", "-nodefaults"]
    command += ["-display", "none", "-serial", "stdio", "-kernel", inside(kernel()), "-initrd", inside(initrd)]
    command += ["-append", KERNEL_COMMAND_LINE]
    command += ["-chardev", f"socket,id=monitor,fd={theirs.fileno()}", "-mon", "chardev=monitor,mode=control"]
    for number, interface in enumerate(member.interfaces):
        command += ["-netdev", f"hubport,id=n{number},hubid={number}"]
        command += ["-device", f"virtio-net-pci,netdev=n{number},mac={interface.mac}"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=quiet, stdout=subprocess.PIPE, stderr=quiet)
    with ours, ours.makefile("rwb", buffering=0) as monitor, process:
        theirs.close()
        try:
            guest = Guest(process, monitor)
            guest.command("qmp_capabilities")
            yield guest
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["rt", "fw", "lb", "web2"])
def test_a_guest_of_each_role_serves_and_goes_on_living(shop: Service, name: str, directory: Path) -> None:
    with booted(shop, shop.member(MemberId(name)), directory) as guest:
        guest.wait_lines(READY)
        beats = [float(line.split()[1]) for line in guest.wait_lines(ALIVE, count=3)]
        assert beats == sorted(set(beats))
        guest.check_well()


def test_a_member_dirties_its_memory_at_its_rate_or_more(shop: Service, directory: Path) -> None:
    member = shop.member(MemberId("web1"))
    with booted(shop, member, directory) as guest:
        guest.wait_lines(READY)
        before = guest.memory(directory / "before")
        begin = guest.uptime()
        guest.wait_lines(ALIVE, count=3)
        end = guest.uptime()
        after = guest.memory(directory / "after")
    changed = sum(before[at : at + PAGE] != after[at : at + PAGE] for at in range(0, len(after), PAGE)) * PAGE
    # It writes four times a second over 8 MiB; a page written twice counts once.
    assert changed > min(0.8 * member.dirty_rate * (end - begin), 7e6)

"""What is done to a lab in the middle of a move, and how it is taken back."""

import asyncio
import os
import resource
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from sqlalchemy.engine import make_url

from entourage.drivers.netns import Namespace
from entourage.drivers.qemu.driver import FIRST_PORT, PORTS
from entourage.drivers.qemu.process import guard_socket, instance_paths, running_pid
from entourage.drivers.vty import Vty
from entourage.lab import names
from entourage.lab.leftovers import command_of, processes_in
from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId, SiteId


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The move that something happens to: who drives it, and from which hosts to which site."""

    place: Place
    orchestrator: int  # its process id
    sources: dict[MemberId, HostId]
    source: SiteId
    target: SiteId


Deed = Callable[[Move], AbstractAsyncContextManager[None]]  # done on entering, taken back on leaving


def kill_qemu(member: str, *, at_target: bool) -> Deed:
    """Kill one copy of a member, at the source or at the target; nothing if there is none."""

    @asynccontextmanager
    async def deed(move: Move) -> AsyncIterator[None]:
        target = move.place.infrastructure.site(move.target).hosts
        hosts = [host.id for host in target] if at_target else [move.sources[MemberId(member)]]
        for host in hosts:
            pid = running_pid(instance_paths(move.place.access(host), MemberId(member)))
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        yield

    return deed


def fill_host() -> Deed:
    """The target's hosts take nobody more: every port at which a member could arrive is taken."""

    @asynccontextmanager
    async def deed(move: Move) -> AsyncIterator[None]:
        with ExitStack() as taken:
            for host in move.place.infrastructure.site(move.target).hosts:
                access = move.place.access(host.id)
                assert access.netns is not None
                namespace = Namespace(access.netns)
                taken.callback(namespace.close)
                for port in range(FIRST_PORT, FIRST_PORT + PORTS):
                    taken.enter_context(await namespace.do(_listening_at(access.address, port)))
            yield

    return deed


def stand_still(*, for_s: float, then_dies: bool = False) -> Deed:
    """The orchestrator stands still (SIGSTOP): it holds everything that it had, and answers nobody."""

    @asynccontextmanager
    async def deed(move: Move) -> AsyncIterator[None]:
        async def go_on() -> None:
            with suppress(ProcessLookupError):
                os.kill(move.orchestrator, signal.SIGKILL if then_dies else signal.SIGCONT)

        os.kill(move.orchestrator, signal.SIGSTOP)
        async with _healed(go_on, for_s):
            yield

    return deed


def kill_guard() -> Deed:
    """Kill the guard of the first source's host."""

    @asynccontextmanager
    async def deed(move: Move) -> AsyncIterator[None]:
        access = move.place.access(min(move.sources.values()))
        words = f"entourage.drivers.qemu.guard {guard_socket(access).parent} "
        assert access.netns is not None
        for pid in processes_in([access.netns]):
            if words in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        yield

    return deed


def shape_link(*, rate: float = 1.0, loss: float | None = None, for_s: float | None = None) -> Deed:
    """The inter-site link at a share of its rate, or with this loss; for so long, or until the move has ended."""

    @asynccontextmanager
    async def deed(move: Move) -> AsyncIterator[None]:
        link = move.place.infrastructure.link(move.source, move.target)
        name, fabric = names.inter_site(*link.sites), move.place.fabric
        await fabric.shape(name, rtt=link.rtt, rate=link.rate * rate, loss=link.loss if loss is None else loss)
        async with _healed(lambda: fabric.shape(name, rtt=link.rtt, rate=link.rate, loss=link.loss), for_s):
            yield

    return deed


def bgp_down(*, at_target: bool, for_s: float) -> Deed:
    """The session between an edge and its provider's router is shut, and opened again."""

    @asynccontextmanager
    async def deed(move: Move) -> AsyncIterator[None]:
        router = move.place.fabric.edge_routers()[move.target if at_target else move.source]
        vty = Vty(router.provider_vty)
        system = (await vty.show("show bgp summary")).partition("local AS number ")[2].split()[0]

        async def shut(no: str) -> None:
            await vty.configure([f"router bgp {system}", f"{no}neighbor {router.uplink} shutdown"])

        try:
            await shut("")
            async with _healed(lambda: shut("no "), for_s):
                yield
        finally:
            await vty.close()

    return deed


def kill_frr(*, at_target: bool) -> Deed:
    """Both daemons of an edge die, and stay dead."""

    @asynccontextmanager
    async def deed(move: Move) -> AsyncIterator[None]:
        namespace = move.place.fabric.netns_path(names.edge(move.target if at_target else move.source))
        for pid in processes_in([namespace]):
            if "/usr/lib/frr/" in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        yield

    return deed


def lock_database(*, for_s: float) -> Deed:
    """Another process has the database of moves for itself."""

    @asynccontextmanager
    async def deed(move: Move) -> AsyncIterator[None]:
        path = make_url(move.place.moves_url).database
        assert path is not None
        other = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)

        async def let_go() -> None:
            other.execute("COMMIT")
            other.close()

        other.execute("BEGIN EXCLUSIVE")
        async with _healed(let_go, for_s):
            yield

    return deed


def full_disk() -> Deed:
    """Nothing that the orchestrator writes to a file is taken any more."""

    @asynccontextmanager
    async def deed(move: Move) -> AsyncIterator[None]:
        resource.prlimit(move.orchestrator, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        yield
        with suppress(ProcessLookupError):
            resource.prlimit(move.orchestrator, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

    return deed


def _listening_at(address: str, port: int) -> Callable[[object], socket.socket]:
    return lambda _: socket.create_server((address, port))


@asynccontextmanager
async def _healed(heal: Callable[[], Awaitable[None]], for_s: float | None) -> AsyncIterator[None]:
    """What was done is taken back after so long, or when the block ends."""
    is_over = asyncio.Event()

    async def take_back() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await is_over.wait()
        await heal()

    healing = asyncio.create_task(take_back())
    try:
        yield
    finally:
        is_over.set()
        await healing

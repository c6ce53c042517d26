"""The fence of a site, and its warden, on stand-ins for QEMU and bgpd: real sockets and processes, no lab."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from entourage.drivers.qemu.kept import kept_disks, put_aside
from entourage.drivers.qemu.process import InstancePaths
from entourage.drivers.quorum import fencing
from entourage.drivers.quorum.client import connect
from entourage.drivers.quorum.config import AgentConfig, HostFiles, SiteFiles, now
from entourage.drivers.quorum.fencing import SiteFence
from entourage.drivers.quorum.warden import STANDBY, Warden, is_locked
from entourage.model.ids import ServiceId, SiteId
from entourage.ports.conformance.kit import wait_until
from entourage.quorum import AgentId, Terms

DEADLINE_S = 30.0
SHOP = [ServiceId("shop")]
# Answers QMP at the socket that it is given; its command line looks like QEMU's, by which it is found.
_STAND_IN = """
import json, os, socket, sys
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[2] + ".new"); listener.listen()
os.rename(sys.argv[2] + ".new", sys.argv[2])  # whoever finds it is answered
status = sys.argv[3]
def serve(client):
    global status
    say = lambda **what: client.sendall(json.dumps(what).encode() + b"\\n")
    say(QMP={"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []})
    text = ""
    while chunk := client.recv(4096):
        text += chunk.decode()
        while text.strip():
            try:
                asked, end = json.JSONDecoder().raw_decode(text.lstrip())  # requests have no line ends
            except ValueError:
                break
            text = text.lstrip()[end:]
            if asked["execute"] in ("stop", "cont"):
                status = "paused" if asked["execute"] == "stop" else "running"
                open(sys.argv[2] + ".state", "w").write(status)
                name = "STOP" if status == "paused" else "RESUME"
                say(event=name, data={}, timestamp={"seconds": 0, "microseconds": 0})
            given = {"status": status, "running": status == "running"} if asked["execute"] == "query-status" else {}
            say(**{"return": given, **({"id": asked["id"]} if "id" in asked else {})})
while True:
    try:
        serve(listener.accept()[0])
    except OSError:
        pass
"""


class StandIn:
    """A process that looks like a member's QEMU. `state` is what it was told last."""

    def __init__(self, directory: Path, name: str, *, status: str = "running") -> None:
        self.paths = InstancePaths(directory / name)
        words = [f"qemu {self.paths.monitor}", str(self.paths.fence_monitor), status]
        self.process = subprocess.Popen([sys.executable, "-c", _STAND_IN, *words])
        self.paths.pid.write_text(f"{self.process.pid}\n")

    @property
    def state(self) -> str:
        file = Path(f"{self.paths.fence_monitor}.state")
        return file.read_text() if file.exists() else "untouched"

    @property
    def is_frozen(self) -> bool:
        return Path(f"/proc/{self.process.pid}/stat").read_text().split()[2] == "T"

    async def wait_listening(self) -> None:
        async def listens() -> bool:
            return self.paths.fence_monitor.exists()

        await wait_until(listens, words="it listens", deadline_s=DEADLINE_S)


@asynccontextmanager
async def stand_ins(directory: Path, **status: str) -> AsyncIterator[dict[str, StandIn]]:
    made = {name: StandIn(directory, name, status=state) for name, state in status.items()}
    try:
        for each in made.values():
            await each.wait_listening()
        yield made
    finally:
        for each in made.values():
            each.process.kill()
            each.process.wait()


def site_of(directory: Path) -> SiteFiles:
    host = HostFiles(directory=directory, netns=None)
    return SiteFiles(hosts=(host,), services=directory / "services", vty=None, autonomous_system=64510)


def fence_of(directory: Path) -> SiteFence:
    return SiteFence(site_of(directory), memory=directory / "fenced.json", patience=DEADLINE_S)


async def story_of_what_is_fenced(directory: Path) -> None:
    async with stand_ins(directory, web1="running", web2="paused") as members:
        fence = fence_of(directory)
        await fence.fence()
        assert (members["web1"].state, members["web2"].state) == ("paused", "untouched")
        await fence.close()
        again = fence_of(directory)  # a warden that was started anew knows what the one before has paused
        await again.fence()
        await again.release()
        assert (members["web1"].state, members["web2"].state) == ("running", "untouched")
        assert again.held() == {"paused": [], "frozen": [], "withdrawn": []}


async def story_of_one_that_does_not_answer(directory: Path) -> None:
    async with stand_ins(directory, web1="running") as members:
        web1 = members["web1"]
        web1.paths.fence_monitor.unlink()
        fence = fence_of(directory)
        await fence.fence()
        await wait_frozen(web1)
        await fence.release()
        assert not web1.is_frozen


async def wait_state(member: StandIn, state: str) -> None:
    async def reached() -> bool:
        return member.state == state

    await wait_until(reached, words=f"it is {state}", deadline_s=DEADLINE_S)


async def wait_frozen(member: StandIn) -> None:
    async def frozen() -> bool:
        return member.is_frozen

    await wait_until(frozen, words="it is frozen", deadline_s=DEADLINE_S)


def keep(directory: Path, service: str, *members: str, prefix: str = "203.0.113.0/24") -> None:
    """Write a service's file as a lab has it."""
    (directory / "services").mkdir(exist_ok=True)
    data = {"members": {member: [f"t0-{member}"] for member in members}, "prefix": prefix}
    (directory / "services" / f"{service}.json").write_text(json.dumps(data))


def kept_by(directory: Path) -> dict[str, tuple[int, str]]:
    """By member the epoch and the content of what was put aside."""
    return {disk.member: (disk.epoch, disk.path.read_text()) for disk in kept_disks(directory)}


async def story_of_a_removal(directory: Path) -> None:
    keep(directory, "shop", "web1", "web2", "web3")
    keep(directory, "bank", "db1", "db2")
    async with stand_ins(directory, web1="running", web2="paused", db1="running") as members:
        of_dead = {name: InstancePaths(directory / name) for name in ("web3", "db2")}  # as a power cut leaves them
        for name, paths in {**of_dead, **{name: each.paths for name, each in members.items()}}.items():
            paths.disk.write_text(name)
        of_dead["web3"].pid.write_text("1\n")
        fence = fence_of(directory)
        await fence.fence()
        await fence.remove(SHOP, epoch=3)
        ended = [members[name].process.wait(DEADLINE_S) for name in ("web1", "web2")]
        assert ended == [-signal.SIGKILL] * 2
        gone = (members["web1"].paths, members["web2"].paths, of_dead["web3"])
        assert not [path for each in gone for path in each.all() if path.exists()]
        assert kept_by(directory) == {name: (3, name) for name in ("web1", "web2", "web3")}
        assert fence.held()["paused"] == [str(directory / "db1")]
        await fence.fence()  # what was put aside is nobody's
        assert (members["db1"].state, members["db1"].paths.disk.read_text()) == ("paused", "db1")
        await fence.release()
        assert members["db1"].state == "running"
        assert of_dead["db2"].disk.read_text() == "db2"


async def story_of_what_was_announced(directory: Path) -> None:
    keep(directory, "shop", prefix="203.0.113.0/24")
    keep(directory, "bank", prefix="198.51.100.0/24")
    withdrawn = ["network 198.51.100.0/24 route-map active", "network 203.0.113.0/24 route-map active"]
    (directory / "fenced.json").write_text(json.dumps({"paused": [], "frozen": [], "withdrawn": withdrawn}))
    await fence_of(directory).remove(SHOP, epoch=1)
    assert fence_of(directory).held()["withdrawn"] == withdrawn[:1]


async def story_of_a_removal_that_is_begun_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at every effect once, and whoever comes next does the rest."""
    keep(directory, "shop", "web1", "web2")
    async with stand_ins(directory, web1="running", web2="running") as members:
        for name, each in members.items():
            each.paths.disk.write_text(name)
        fence = fence_of(directory)
        await fence.fence()
        await fence.close()
        done: set[tuple[str, object]] = set()

        def dies_after(what: str, real: Callable[..., Any]) -> Callable[..., Any]:
            """Do it once for each copy and die; the next time go on."""

            def work(subject: Any, **more: Any) -> Any:
                result = real(subject, **more)
                if (what, subject) not in done:
                    done.add((what, subject))
                    raise OSError(what)
                return result

            return work

        monkeypatch.setattr(fencing, "put_aside", dies_after("aside", put_aside))
        monkeypatch.setattr(InstancePaths, "remove", dies_after("removed", InstancePaths.remove))
        for _ in range(4):
            with pytest.raises(OSError, match=r"aside|removed"):
                await fence_of(directory).remove(SHOP, epoch=2)
        await fence_of(directory).remove(SHOP, epoch=2)
        assert [each.process.wait(DEADLINE_S) for each in members.values()] == [-signal.SIGKILL] * 2
    assert kept_by(directory) == {name: (2, name) for name in ("web1", "web2")}
    assert len(list(kept_disks(directory))) == 2


async def story_of_a_warden(directory: Path) -> None:
    said: list[str] = []
    async with stand_ins(directory, web1="running") as members:
        fence = fence_of(directory)
        warden = Warden(fence, note=lambda what, **_: said.append(what))
        server = await asyncio.start_unix_server(warden.serve, str(directory / "warden.sock"))
        watching = asyncio.create_task(warden.run())

        async def ask(**request: object) -> dict[str, object]:
            reader, writer = await asyncio.open_unix_connection(str(directory / "warden.sock"))
            writer.write(json.dumps(request).encode() + b"\n" + b'{"op": "status"}\n')
            answer: dict[str, object] = json.loads(await reader.readline())
            writer.write_eof()
            await reader.read()  # until the warden has closed its end
            writer.close()
            await writer.wait_closed()
            return answer

        await wait_state(members["web1"], "paused")  # it has not been told that the members may run
        assert (await ask(op="permit", until=now() + 60))["fenced"] in (True, False)
        await wait_state(members["web1"], "running")
        assert await ask(op="remove", epoch=1, services=["shop"]) == {
            "error": "the site has its right: nothing is removed"
        }
        watching.cancel()
        server.close()
        await fence.close()
    assert said == ["released"]


def own_config(directory: Path) -> Path:
    """The config of a site's agent and warden, whose host's files are there."""
    own = directory / "agent-east"
    own.mkdir()
    AgentConfig(
        me=AgentId("east"), sites=(SiteId("east"), SiteId("west")), terms=Terms(), key=own / "key", directory=own,
        port=1, roads=(), site=site_of(directory),
    ).write(own / "config.json")  # fmt: skip
    return own / "config.json"


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command)


async def warden_pid(directory: Path) -> int | None:
    """The process that listens as the site's warden; None if nobody does."""
    try:
        _, writer = await connect(directory / "warden.sock")
    except OSError:
        return None
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    writer.close()
    await writer.wait_closed()
    return int.from_bytes(credentials[:4], sys.byteorder)


async def story_of_a_warden_that_dies(directory: Path) -> None:
    """Nobody starts another one, for there is no agent."""
    config = own_config(directory)
    command = [sys.executable, "-m", "entourage.drivers.quorum.warden", str(config)]

    async def listens(*, but: int | None = None) -> int:
        found: int | None = None

        async def is_another() -> bool:
            nonlocal found
            found = await warden_pid(config.parent)
            return found not in (None, but)

        await wait_until(is_another, words="a warden listens", deadline_s=DEADLINE_S)
        assert found is not None
        return found

    async def stands_by() -> bool:
        return is_locked(config.parent / STANDBY)

    async with stand_ins(directory, web1="running") as members:
        first = start(command)
        try:
            assert await listens() == first.pid
            await wait_until(stands_by, words="a second one stands by", deadline_s=DEADLINE_S)
            third = await asyncio.to_thread(subprocess.run, command, stderr=subprocess.PIPE, check=False)
            assert (third.returncode, b"and one stands by" in third.stderr) == (2, True)
            _, writer = await connect(config.parent / "warden.sock")
            writer.write(json.dumps({"op": "permit", "until": now() + 600}).encode() + b"\n")
            await wait_state(members["web1"], "running")
            first.kill()
            first.wait()
            writer.close()
            await listens(but=first.pid)
            await wait_state(members["web1"], "paused")
        finally:
            first.terminate()  # which ends whoever stands by for it, too
            first.wait()
            if (second := await warden_pid(config.parent)) is not None:
                os.kill(second, signal.SIGTERM)

    async def all_have_ended() -> bool:
        return await warden_pid(config.parent) is None and not await stands_by()

    await wait_until(all_have_ended, words="nobody is left", deadline_s=DEADLINE_S)


async def story_of_a_permit_that_runs_out(directory: Path) -> None:
    async with stand_ins(directory, web1="running") as members:
        fence = fence_of(directory)
        warden = Warden(fence, note=lambda *_, **__: None)
        watching = asyncio.create_task(warden.run())
        warden.permit(now() + 0.3)

        async def is_fenced() -> bool:
            return members["web1"].state == "paused"

        await wait_until(is_fenced, words="the members stand still again", deadline_s=DEADLINE_S)
        watching.cancel()
        await fence.close()


def test_what_runs_is_paused_and_just_that_runs_again(tmp_path: Path) -> None:
    asyncio.run(story_of_what_is_fenced(tmp_path))


def test_one_that_does_not_answer_is_frozen(tmp_path: Path) -> None:
    asyncio.run(story_of_one_that_does_not_answer(tmp_path))


def test_a_removal_leaves_nothing_of_a_service_but_its_disks_and_all_of_others(tmp_path: Path) -> None:
    asyncio.run(story_of_a_removal(tmp_path))


def test_only_what_was_not_removed_is_announced_again(tmp_path: Path) -> None:
    asyncio.run(story_of_what_was_announced(tmp_path))


def test_a_removal_that_was_interrupted_anywhere_is_done_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(story_of_a_removal_that_is_begun_again(tmp_path, monkeypatch))


def test_a_disk_that_was_put_aside_is_never_overwritten(tmp_path: Path) -> None:
    paths = InstancePaths(tmp_path / "web1")
    for content in ("first", "second"):
        paths.disk.write_text(content)
        put_aside(paths, epoch=1, at=1.8e9)
    put_aside(paths, epoch=1, at=1.8e9)  # there is none
    (tmp_path / "kept" / "notes.disk").touch()
    found = list(kept_disks(tmp_path))
    assert [disk.path.read_text() for disk in found] == ["first", "second"]
    assert [disk.kept_at for disk in found] == [1.8e9, 1.8e9 + 1]
    assert [disk.name for disk in found] == ["web1.1.20270115T080000Z", "web1.1.20270115T080001Z"]


def test_a_warden_lets_run_while_it_is_told_so_and_removes_nothing_then(tmp_path: Path) -> None:
    asyncio.run(story_of_a_warden(tmp_path))


def test_a_warden_that_dies_has_one_that_stood_by_and_fences(tmp_path: Path) -> None:
    asyncio.run(story_of_a_warden_that_dies(tmp_path))


def test_a_permit_that_is_not_renewed_runs_out(tmp_path: Path) -> None:
    asyncio.run(story_of_a_permit_that_runs_out(tmp_path))

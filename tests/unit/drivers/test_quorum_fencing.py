"""The fence of a site, and its warden, on stand-ins for QEMU and bgpd: real sockets and processes, no lab."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from entourage.drivers.qemu.process import InstancePaths
from entourage.drivers.quorum.config import HostFiles, SiteFiles, now
from entourage.drivers.quorum.fencing import SiteFence
from entourage.drivers.quorum.warden import Warden
from entourage.ports.conformance.kit import wait_until

DEADLINE_S = 10.0
# Answers QMP at the socket that it is given; its command line looks like QEMU's, by which it is found.
_STAND_IN = """
import json, socket, sys
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[2]); listener.listen()
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


def fence_of(directory: Path) -> SiteFence:
    site = SiteFiles(hosts=(HostFiles(directory=directory, netns=None),), vty=None, autonomous_system=64510)
    return SiteFence(site, memory=directory / "fenced.json", patience=DEADLINE_S)


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


async def wait_frozen(member: StandIn) -> None:
    async def frozen() -> bool:
        return member.is_frozen

    await wait_until(frozen, words="it is frozen", deadline_s=DEADLINE_S)


async def story_of_a_removal(directory: Path) -> None:
    async with stand_ins(directory, web1="running", web2="paused") as members:
        fence = fence_of(directory)
        await fence.fence()
        await fence.remove()
        assert [each.process.wait(DEADLINE_S) for each in members.values()] == [-signal.SIGKILL] * 2
        assert not [path for each in members.values() for path in each.paths.all() if path.exists()]
        await fence.fence()  # nothing is there, and that is well
        await fence.release()


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

        async def is_(state: str) -> None:
            async def reached() -> bool:
                return members["web1"].state == state

            await wait_until(reached, words=f"web1 is {state}", deadline_s=DEADLINE_S)

        await is_("paused")  # it has not been told that the members may run
        assert (await ask(op="permit", until=now() + 60))["fenced"] in (True, False)
        await is_("running")
        assert await ask(op="remove", epoch=1) == {"error": "the site has its right: nothing is removed"}
        watching.cancel()
        server.close()
        await fence.close()
    assert said == ["released"]


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


def test_a_removal_leaves_nothing(tmp_path: Path) -> None:
    asyncio.run(story_of_a_removal(tmp_path))


def test_a_warden_lets_run_while_it_is_told_so_and_removes_nothing_then(tmp_path: Path) -> None:
    asyncio.run(story_of_a_warden(tmp_path))


def test_a_permit_that_is_not_renewed_runs_out(tmp_path: Path) -> None:
    asyncio.run(story_of_a_permit_that_runs_out(tmp_path))

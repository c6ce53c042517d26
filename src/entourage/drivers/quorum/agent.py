"""`python -m entourage.drivers.quorum.agent CONFIG`: one agent, until SIGTERM. Exit code 2 if it cannot start.

If what it knows cannot be made durable it ends at once: it may tell nobody what it does not keep.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from entourage.drivers.quorum.client import connect
from entourage.drivers.quorum.config import (
    CONTROL,
    LEDGER,
    LOG,
    WARDEN,
    AgentConfig,
    Log,
    Road,
    come_first,
    now,
    read_config,
)
from entourage.drivers.quorum.ledger import read_ledger, write_ledger
from entourage.drivers.quorum.telling import status
from entourage.drivers.quorum.wire import Post
from entourage.drivers.sockets import listen
from entourage.model.ids import ServiceId, SiteId
from entourage.quorum import AgentId, advance, begin
from entourage.quorum.judging import condition
from entourage.quorum.rights import has_right
from entourage.quorum.types import (
    Effect,
    Event,
    Ledger,
    Message,
    Permit,
    Received,
    Refused,
    Remove,
    Removed,
    Send,
    Settled,
    Store,
    TakeOver,
    Tick,
    Won,
)

_DECIDED_WITHIN_S = 3.0  # how long whoever asks for a takeover waits for the others' answers
_CONNECT_AGAIN_S = 0.1


class Agent:
    """One agent: datagrams, time and its control socket become events; effects become datagrams, files, permits."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self.note = Log(Path(LOG)).note
        self._state, effects = begin(
            config.me, config.sites, terms=config.terms, ledger=read_ledger(Path(LEDGER)), now=now()
        )
        self._post = Post(config.me, key=config.key.read_bytes(), start=self._state.ledger.starts)
        self._doors = [(road, _door(road, config.port)) for road in config.roads]
        self._warden = WardenLine(config, self._removed) if config.site is not None else None
        self._changed = asyncio.Event()
        self._heard_by: dict[tuple[str, AgentId], float] = {}  # road and peer: when
        self._shown: dict[str, str] = {}
        self._carry_out(effects)

    async def run(self, told_to_end: asyncio.Event) -> None:
        """Take part until told to end."""
        loop = asyncio.get_running_loop()
        for road, door in self._doors:
            loop.add_reader(door, self._take, road, door)
        tasks = [asyncio.create_task(self._beat())]
        if self._warden is not None:
            tasks.append(asyncio.create_task(self._warden.keep()))
        ending = asyncio.create_task(told_to_end.wait())
        await asyncio.wait([*tasks, ending], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # an error ends the agent
            task.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection to the control socket, to its end."""
        with suppress(OSError, ValueError):
            while line := await reader.readline():
                try:
                    answer = await self._answer(json.loads(line))
                except (ValueError, RecursionError) as error:
                    answer = {"error": f"not JSON: {error}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _beat(self) -> None:
        while True:
            self._advance(Tick(now()))
            await asyncio.sleep(max(0.0, self._state.next_beat - now()))

    def _take(self, road: Road, door: socket.socket) -> None:
        try:
            datagram, _ = door.recvfrom(65536)
        except OSError:  # of an earlier datagram of ours: nobody was there
            return
        opened = self._post.open(datagram)
        if opened is None:
            return
        self._heard_by[road.name, opened.sender] = now()
        if opened.wants_hello:
            self._send(opened.sender, None)
        if opened.message is not None:
            self._advance(Received(now(), opened.sender, opened.message))

    def _advance(self, event: Event) -> tuple[Effect, ...]:
        self._state, effects = advance(self._state, event)
        self._carry_out(effects)
        self._show_changes()
        if effects:
            self._changed.set()
            self._changed = asyncio.Event()
        return effects

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Store(ledger):
                    self._keep(ledger)
                case Send(to, message):
                    self._send(to, message)
                case Permit() | Remove():
                    assert self._warden is not None  # only sites get these
                    self._warden.take(effect)
                case Won(takeover):
                    self.note("won", takeover=takeover)
                case Refused(lost, reasons):
                    self.note("refused", lost=lost, reasons=reasons)

    def _keep(self, ledger: Ledger) -> None:
        try:
            write_ledger(Path(LEDGER), ledger)
        except OSError as error:
            self.note("the ledger cannot be kept", because=str(error))
            os._exit(1)

    def _send(self, to: AgentId, message: Message | None) -> None:
        datagram = self._post.seal(to, message)
        for road, door in self._doors:
            if to in road.peers:
                with suppress(OSError):  # no route, or nobody there: as good as lost on the way
                    door.sendto(datagram, (road.peers[to], self._config.port))

    def _removed(self, epoch: int) -> None:
        self.note("removed", epoch=epoch)
        self._advance(Removed(now(), epoch))

    async def _answer(self, request: object) -> dict[str, Any]:
        match request:
            case {"op": "status"}:
                roads = [
                    {"road": road, "agent": peer, "heard_s": now() - at} for (road, peer), at in self._heard_by.items()
                ]
                warden = None if self._warden is None else self._warden.is_there
                told = status(self._state, now())
                return {**told, "warden": warden, "roads": roads, "dropped": self._post.dropped}
            case {"op": "take-over", "lost": str(lost), "services": [*services]}:
                return await self._take_over(SiteId(lost), tuple(ServiceId(str(each)) for each in services))
            case {"op": "settled", "lost": str(lost), "epoch": int(epoch)}:
                won = [each for each in self._state.ledger.won if (each.lost, each.epoch) == (lost, epoch)]
                if not won:
                    return {"error": f"no takeover of {lost} with epoch {epoch} has been won here"}
                self._advance(Settled(now(), won[0]))
                return {"settled": True}
        return {"error": 'op must be "status", "take-over" with lost and services, or "settled" with lost and epoch'}

    async def _take_over(self, lost: SiteId, services: tuple[ServiceId, ...]) -> dict[str, Any]:
        for effect in self._advance(TakeOver(now(), lost, services)):
            if isinstance(effect, Refused):
                return {"refused": list(effect.reasons)}
        try:
            async with asyncio.timeout(_DECIDED_WITHIN_S):
                while True:
                    for won in status(self._state, now())["won"]:
                        if won["lost"] == lost and set(services) <= set(won["services"]):
                            return {"won": won}
                    asked = self._state.candidacies.get(lost)
                    if asked is None:
                        return {"refused": [f"a majority did not grant it: {lost} has been heard meanwhile"]}
                    if not set(services) <= set(asked.takeover.services):
                        return {"pending": True}  # one after the other
                    await self._changed.wait()
        except TimeoutError:
            return {"pending": True}

    def _show_changes(self) -> None:
        """Note in the log what people would notice: the own right, and what each site is."""
        at = now()
        found = {str(site): condition(self._state, site, at).value for site in self._state.sites}
        if self._state.site is not None:
            found["own right"] = "held" if has_right(self._state, at) else "not held"
        for what, value in found.items():
            if self._shown.get(what) != value:
                heard = self._state.heard.get(SiteId(what))
                self.note(value, of=what, heard_s=None if heard is None else at - heard)
        self._shown = found


class WardenLine:
    """The agent's line to its site's warden, which is started if there is none."""

    def __init__(self, config: AgentConfig, removed: Callable[[int], None]) -> None:
        self._config = config
        self._removed = removed
        self._socket = config.directory / WARDEN
        self._writer: asyncio.StreamWriter | None = None
        self._until: float | None = None
        self._removing: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether a warden is at the other end."""
        return self._writer is not None

    def take(self, effect: Permit | Remove) -> None:
        """Let the members run for so long; or remove those of some services, `removed` is called when that is done.

        What is being removed is not asked for again, whatever is asked here.
        """
        if isinstance(effect, Permit):
            self._until = effect.until
            self._write({"op": "permit", "until": effect.until})
            return
        epoch, self._until = effect.takeover.epoch, None
        if self._removing != epoch:
            self._removing = epoch
            self._write({"op": "remove", "epoch": epoch, "services": list(effect.takeover.services)})

    async def keep(self) -> None:
        """Keep the line, and a warden at its other end, for ever."""
        process: subprocess.Popen[bytes] | None = None
        while True:
            try:
                reader, self._writer = await connect(self._socket)
            except OSError:
                if process is None or process.poll() is not None:
                    process = _start_warden(self._config)
                await asyncio.sleep(_CONNECT_AGAIN_S)
                continue
            if self._until is not None:
                self._write({"op": "permit", "until": self._until})
            with suppress(OSError, ValueError):
                while line := await reader.readline():
                    answer = json.loads(line)
                    self._removing = None
                    if "removed" in answer:
                        self._removed(answer["removed"])
            self._writer, self._removing = None, None

    def _write(self, request: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(request).encode() + b"\n")
        else:
            self._removing = None


def _start_warden(config: AgentConfig) -> subprocess.Popen[bytes]:
    with Path("warden.log").open("ab") as log:
        command = [sys.executable, "-m", "entourage.drivers.quorum.warden", str(config.directory / "config.json")]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _door(road: Road, port: int) -> socket.socket:
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((road.local, port))
    door.setblocking(False)
    return door


async def _run(config: AgentConfig, listener: socket.socket) -> None:
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    agent = Agent(config)
    await asyncio.start_unix_server(agent.serve, sock=listener)
    agent.note("ready")
    print("ready", flush=True)  # noqa: T201
    gc.collect()
    gc.freeze()
    await agent.run(told_to_end)
    agent.note("ended")


def main(arguments: list[str]) -> int:
    """Run the agent until told to end."""
    try:
        config = read_config(Path(arguments[0]))
        os.chdir(config.directory)
        listener = listen(CONTROL, another="another agent runs here")
        come_first()
        asyncio.run(_run(config, listener))
    except (IndexError, OSError, ValueError, KeyError) as error:
        print(f"agent: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

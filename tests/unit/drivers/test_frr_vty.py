"""The session with an FRR daemon, against a daemon that is a script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from entourage.drivers.vty import Vty
from entourage.ports.errors import OutcomeUnknownError, PermanentError, TemporaryError

Answers = dict[str, bytes | None]  # what each command is answered with; None: the daemon ends
DONE = b"\0\0\0\0"
REFUSED = b"% Unknown command\n\0\0\0\2"


class Daemon:
    """Answers commands and keeps them; what it has no answer for is done without a word."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.connections = 0
        self.heard = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                command = (await reader.readuntil(b"\0"))[:-1].decode()
                self.asked.append(command)
                self.heard.set()
                answer = self.answers.get(command, DONE)
                if answer is None:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        writer.close()


@asynccontextmanager
async def session(folder: Path, answers: Answers) -> AsyncIterator[tuple[Vty, Daemon]]:
    daemon = Daemon(answers)
    server = await asyncio.start_unix_server(daemon.serve, folder / "bgpd.vty")
    vty = Vty(folder / "bgpd.vty")
    try:
        yield vty, daemon
    finally:
        await vty.close()
        server.close()
        await server.wait_closed()


def run(folder: Path, answers: Answers, story: Callable[[Vty, Daemon], Awaitable[None]]) -> None:
    async def main() -> None:
        async with session(folder, answers) as (vty, daemon):
            await story(vty, daemon)

    asyncio.run(main())


def test_a_show_command_gives_its_text_and_one_connection_serves_all(tmp_path: Path) -> None:
    async def story(vty: Vty, daemon: Daemon) -> None:
        assert await vty.show("show a") == "some text\n"
        assert await vty.show_json("show b json") == {"x": 1}
        assert await vty.show_json("show nothing json") == {}
        assert daemon.connections == 1

    run(tmp_path, {"show a": b"some text\n" + DONE, "show b json": b'{"x": 1}' + DONE}, story)


def test_a_change_is_made_from_the_top_and_ends_there(tmp_path: Path) -> None:
    async def story(vty: Vty, daemon: Daemon) -> None:
        await vty.configure(["router bgp 1", "no network x"])
        assert daemon.asked == ["enable", "configure terminal", "router bgp 1", "no network x", "end"]

    run(tmp_path, {}, story)


def test_a_refused_line_is_permanent_and_the_session_goes_on_at_the_top(tmp_path: Path) -> None:
    async def story(vty: Vty, daemon: Daemon) -> None:
        with pytest.raises(PermanentError, match="refused 'wrong': % Unknown command"):
            await vty.configure(["wrong", "never sent"])
        assert daemon.asked[-2:] == ["wrong", "end"]
        await vty.configure(["right"])
        assert daemon.connections == 1

    run(tmp_path, {"wrong": REFUSED}, story)


def test_a_change_that_nobody_answers_has_an_unknown_outcome(tmp_path: Path) -> None:
    async def story(vty: Vty, daemon: Daemon) -> None:
        with pytest.raises(OutcomeUnknownError, match="no answer to 'network x'"):
            await vty.configure(["network x"])
        await vty.configure(["other"])
        assert daemon.connections == 2

    run(tmp_path, {"network x": None}, story)


def test_a_question_that_nobody_answers_may_be_asked_again(tmp_path: Path) -> None:
    async def story(vty: Vty, daemon: Daemon) -> None:
        with pytest.raises(TemporaryError, match="no answer to 'show a'"):
            await vty.show("show a")
        daemon.answers["show a"] = b"now" + DONE
        assert await vty.show("show a") == "now"

    run(tmp_path, {"show a": None}, story)


def test_questions_of_several_tasks_get_their_own_answers(tmp_path: Path) -> None:
    async def story(vty: Vty, daemon: Daemon) -> None:
        commands = [f"show {number}" for number in range(20)]
        assert await asyncio.gather(*(vty.show(c) for c in commands)) == commands
        assert daemon.connections == 1

    run(tmp_path, {f"show {number}": f"show {number}".encode() + DONE for number in range(20)}, story)


def test_after_a_cancelled_question_the_next_one_gets_its_own_answer(tmp_path: Path) -> None:
    async def story(vty: Vty, daemon: Daemon) -> None:
        await vty.show("show first")
        daemon.heard.clear()
        asking = asyncio.create_task(vty.show("show slow"))
        await daemon.heard.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await vty.show("show next") == "next"

    run(tmp_path, {"show slow": b"half an answ", "show next": b"next" + DONE}, story)


def test_a_daemon_that_does_not_run_is_a_temporary_error(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="its daemon does not run"):
        asyncio.run(Vty(tmp_path / "bgpd.vty").show("show a"))


def test_a_socket_in_a_deep_folder_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    server_side = tmp_path / "s"  # a short way for the daemon, which binds by its path
    server_side.symlink_to(deep)

    async def main() -> None:
        async with session(server_side, {}):
            vty = Vty(deep / "bgpd.vty")
            assert await vty.show("show a") == ""
            await vty.close()

    asyncio.run(main())

"""The probe as a process against a service on 127.0.0.1 that misbehaves as it is told: each fault is counted right."""

import asyncio
import json
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from probe_echo_server import EchoService, serving

from entourage.probe.analysis import (
    Ending,
    ProbeLog,
    Session,
    summarise_requests,
    summarise_sessions,
    summarise_stream,
)
from entourage.probe.config import ProbeConfig
from entourage.probe.reading import read_log
from entourage.probe.runner import ProbeError, ProbeProcess

DEADLINE_S = 60.0
FAULTS = {
    (2, 3): "stall",
    (3, 3): "reset",
    (4, 3): "close after",
    (5, 3): "future number",
    (6, 3): "other session",
    (7, 3): "other region",
    (8, 3): "twice",
    (9, 3): "late",
    (10, 3): "503",
    (11, 3): "garbage",
}
ALL = {"start": 0.0, "end": 1e12}


def config_for(service: EchoService, log: Path, **changes: object) -> ProbeConfig:
    settings: dict[str, object] = {
        "region": "users-east",
        "address": "127.0.0.1",
        "log": str(log),
        "sessions": 4,
        "message_interval_s": 0.2,
        "open_deadline_s": 30.0,
        "session_port": service.session_port,
        "request_port": service.request_port,
        "stream_port": service.stream_port,
    }
    return ProbeConfig.from_json(settings | changes)


async def run_through_all_faults(path: Path) -> ProbeLog:
    service = EchoService(
        faults=FAULTS,
        request_faults={1: "reset", 2: "503", 3: "cut", 4: "silence"},
        swallow=frozenset(range(10, 40)),
        double=frozenset({50, 60}),
        swap=frozenset({70, 80, 90}),
    )
    async with serving(service), ProbeProcess(config_for(service, path, sessions=12)) as probe:
        await probe.wait_status(lambda s: s.stalled_now == 1, deadline_s=DEADLINE_S)
        service.release.set()
        await probe.wait_status(
            lambda s: s.stalled_now == 0 and s.reset == 3 and s.wrong == 5 and s.packets > 120, deadline_s=DEADLINE_S
        )
        await probe.wait_status(lambda s: s.requests_failed == 4, deadline_s=DEADLINE_S)
    return read_log(path)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> ProbeLog:
    return asyncio.run(run_through_all_faults(tmp_path_factory.mktemp("probe") / "raw.jsonl"))


def session_of(log: ProbeLog, number: int) -> Session:
    return next(s for s in log.sessions if s.number == number)


def third(log: ProbeLog, number: int) -> Ending:
    return next(m.ending for m in session_of(log, number).messages if m.number == 3)


def survived(log: ProbeLog, number: int) -> bool:
    alone = ProbeLog(sessions=(session_of(log, number),), requests=(), streams=())
    return summarise_sessions(alone, **ALL).survived == 1


def test_the_log_of_a_stopped_probe_is_complete(seen: ProbeLog) -> None:
    assert seen.warnings == ()


def test_all_sessions_are_accounted_for(seen: ProbeLog) -> None:
    summary = summarise_sessions(seen, **ALL)
    assert (summary.opened, summary.reset, summary.survived) == (12, 3, 5)
    assert (summary.lost, summary.reordered, summary.duplicated) == (6, 1, 1)


@pytest.mark.parametrize("number", [1, 12])
def test_untroubled_sessions_get_every_reply(seen: ProbeLog, number: int) -> None:
    messages = session_of(seen, number).messages
    assert [m.number for m in messages] == list(range(1, len(messages) + 1))
    assert {m.ending for m in messages} == {Ending.ANSWERED}
    assert len(messages) > 5
    assert survived(seen, number)


def test_a_stalled_session_waits_and_then_goes_on(seen: ProbeLog) -> None:
    stalled = session_of(seen, 2)
    wait = next(m for m in stalled.messages if m.number == 3)
    assert wait.ending is Ending.ANSWERED
    assert wait.until - wait.sent_at > 1
    assert all(m.sent_at >= wait.until for m in stalled.messages if m.number > 3)  # one outstanding at a time
    assert stalled.messages[-1].number > 3
    assert survived(seen, 2)
    alone = ProbeLog(sessions=(stalled,), requests=(), streams=())
    assert summarise_sessions(alone, **ALL).stalled_over_1s == 1


def test_a_reset_loses_the_outstanding_message_and_is_not_opened_again(seen: ProbeLog) -> None:
    assert third(seen, 3) is Ending.RESET
    assert session_of(seen, 3).messages[-1].number == 3
    assert not survived(seen, 3)


def test_a_connection_closed_between_messages_is_a_reset_without_loss(seen: ProbeLog) -> None:
    assert session_of(seen, 4).reset_at is not None
    assert third(seen, 4) is Ending.ANSWERED
    assert not survived(seen, 4)


@pytest.mark.parametrize("number", [5, 6, 7, 10], ids=["future number", "other session", "other region", "503"])
def test_a_reply_that_is_not_the_sessions_own_loses_the_message(seen: ProbeLog, number: int) -> None:
    assert third(seen, number) is Ending.WRONG
    assert session_of(seen, number).reset_at is None
    assert session_of(seen, number).messages[-1].ending is Ending.ANSWERED  # and the session goes on
    assert not survived(seen, number)


def test_a_reply_that_comes_twice_is_duplicated_and_shifts_nothing(seen: ProbeLog) -> None:
    assert len(session_of(seen, 8).duplicates) == 1
    assert {m.ending for m in session_of(seen, 8).messages} == {Ending.ANSWERED}
    assert survived(seen, 8)


def test_a_right_reply_after_another_is_reordered(seen: ProbeLog) -> None:
    assert third(seen, 9) is Ending.LATE
    assert survived(seen, 9)


def test_an_unreadable_reply_ends_the_session(seen: ProbeLog) -> None:
    assert third(seen, 11) is Ending.RESET
    assert not survived(seen, 11)


def test_each_failed_request_is_counted_with_its_reason(seen: ProbeLog) -> None:
    failed = {r.outcome for r in seen.requests if r.outcome not in {"ok", "unfinished"}}
    assert len(failed) == 4
    assert {"status 503", "no response within 5 s", "closed before the response was complete"} < failed
    assert summarise_requests(seen, **ALL).failed == 4


def test_requests_are_due_at_a_steady_rate_whatever_became_of_others(seen: ProbeLog) -> None:
    due = sorted(r.scheduled_at for r in seen.requests)
    assert [math.floor((t - due[0]) * 5 + 0.005) for t in due] == list(range(len(due)))
    assert len(due) > 25  # more than five seconds of them: the silent request held nobody up


def test_requests_are_due_at_all_moments_of_their_period(seen: ProbeLog) -> None:
    due = sorted(r.scheduled_at for r in seen.requests)
    moments = sorted((t - due[0]) * 5 % 1 for t in due)
    assert max(after - before for before, after in pairwise([*moments, 1.0])) < 0.2


def test_the_streams_faults_are_counted(seen: ProbeLog) -> None:
    summary = summarise_stream(seen, **ALL)
    assert (summary.lost, summary.duplicated, summary.reordered) == (30, 2, 3)


def test_the_streams_gap_is_at_least_the_swallowed_packets(seen: ProbeLog) -> None:
    (stream,) = seen.streams
    arrived = {sequence: t for t, sequence in stream.echoes}
    gap_ms = summarise_stream(seen, **ALL).longest_gap_ms
    assert gap_ms is not None
    assert gap_ms >= (arrived[40] - arrived[9]) * 1000


def test_opening_goes_on_until_the_service_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = EchoService(refused_greetings=7)
        async with serving(service):
            config = config_for(service, tmp_path / "raw.jsonl")
            async with ProbeProcess(config) as probe:
                status = await probe.wait_status(lambda s: s.open == 4, deadline_s=DEADLINE_S)
                assert status.reset == 0
        assert service.refused_greetings == 0

    asyncio.run(scenario())
    assert summarise_sessions(read_log(tmp_path / "raw.jsonl"), **ALL).opened == 4


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_a_service_that_refuses_is_named_with_what_was_reached(tmp_path: Path) -> None:
    service = EchoService(session_port=closed_port(), request_port=1, stream_port=1)
    probe = ProbeProcess(config_for(service, tmp_path / "raw.jsonl", open_deadline_s=0.3))
    with pytest.raises(ProbeError) as caught:
        asyncio.run(probe.start())
    assert f"0 of 4 sessions to 127.0.0.1:{service.session_port} opened within 0.3 s" in str(caught.value)
    assert "Connect call failed" in str(caught.value)
    assert probe.pid is None


def test_a_service_that_only_accepts_is_not_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = EchoService(refused_greetings=10**6)
        async with serving(service):
            probe = ProbeProcess(config_for(service, tmp_path / "raw.jsonl", open_deadline_s=0.5))
            with pytest.raises(ProbeError, match="status 503, 'no server'"):
                await probe.start()

    asyncio.run(scenario())


def test_a_missing_namespace_is_named(tmp_path: Path) -> None:
    service = EchoService(session_port=1, request_port=1, stream_port=1)
    probe = ProbeProcess(config_for(service, tmp_path / "raw.jsonl", netns="/run/netns/no-such-one"))
    with pytest.raises(ProbeError, match="cannot open the network namespace /run/netns/no-such-one: No such file"):
        asyncio.run(probe.start())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a network namespace")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (util-linux)")
def test_sockets_are_opened_in_the_namespace(tmp_path: Path) -> None:
    async def scenario(netns: str) -> None:
        async with serving(EchoService()) as service:
            config = config_for(service, tmp_path / "raw.jsonl", netns=netns, open_deadline_s=0.5)
            with pytest.raises(ProbeError, match="Network is unreachable"):  # its loopback is down; ours is not
                await ProbeProcess(config).start()

    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo inside; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"inside\n"
        asyncio.run(scenario(f"/proc/{holder.pid}/ns/net"))
        holder.stdin.close()


def test_a_killed_probe_leaves_a_readable_log_and_is_reported(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(EchoService()) as service:
            probe = ProbeProcess(config_for(service, tmp_path / "raw.jsonl"))
            await probe.start()
            await probe.wait_status(lambda s: s.echoes > 0, deadline_s=DEADLINE_S)
            assert probe.pid is not None
            os.kill(probe.pid, signal.SIGKILL)
            with pytest.raises(ProbeError, match="users-east ended"):
                await probe.wait_status(lambda s: s.reset > 0, deadline_s=DEADLINE_S)
            with pytest.raises(ProbeError, match="ended by itself with code -9"):
                await probe.stop()
            await probe.stop()

    asyncio.run(scenario())
    log = read_log(tmp_path / "raw.jsonl")
    assert any("did not end cleanly" in warning for warning in log.warnings)
    assert summarise_sessions(log, **ALL).survived == 4


def test_sessions_that_the_probe_closes_are_not_resets(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(EchoService()) as service,
            ProbeProcess(config_for(service, tmp_path / "raw.jsonl", requests_per_s=0, stream_hz=0)) as probe,
        ):
            await probe.wait_status(lambda s: s.open == 4 and s.stream_gap_ms is None, deadline_s=DEADLINE_S)

    asyncio.run(scenario())
    log = read_log(tmp_path / "raw.jsonl")
    summary = summarise_sessions(log, **ALL)
    assert (summary.survived, summary.reset, summary.lost) == (4, 0, 0)
    assert (log.requests, log.streams) == ((), ())


PARENT = """
import asyncio, json, sys
from entourage.probe.config import ProbeConfig
from entourage.probe.runner import ProbeProcess

async def main():
    async with ProbeProcess(ProbeConfig.from_json(json.loads(sys.argv[1]))) as probe:
        print(probe.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_probe_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(EchoService()) as service:
            config = json.dumps(config_for(service, tmp_path / "raw.jsonl").to_json())
            parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, config, stdout=subprocess.PIPE)
            assert parent.stdout is not None
            async with asyncio.timeout(DEADLINE_S):
                pid = int(await parent.stdout.readline())
            descriptor = os.pidfd_open(pid)
            try:
                parent.kill()
                await parent.wait()
                ended, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], DEADLINE_S)
                assert ended  # a pidfd is readable when its process has ended
            finally:
                os.close(descriptor)

    asyncio.run(scenario())


def test_a_reader_that_does_not_read_stops_nothing(tmp_path: Path) -> None:
    """Standard output is a full pipe: the probe measures on, and ends when told to."""

    async def scenario() -> None:
        async with serving(EchoService()) as service:
            path = tmp_path / "config.json"
            path.write_text(json.dumps(config_for(service, tmp_path / "raw.jsonl").to_json()))
            read_end, write_end = os.pipe()
            os.set_blocking(write_end, False)
            os.write(write_end, b"x" * 1_000_000)  # as much as fits
            os.set_blocking(write_end, True)
            probe = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "entourage.probe", str(path), stdout=write_end
            )
            os.close(write_end)
            seen_enough = asyncio.Event()
            service.on_many_requests = (4, seen_enough)
            async with asyncio.timeout(DEADLINE_S):
                await seen_enough.wait()
                probe.terminate()
                assert await probe.wait() == 0
            os.close(read_end)

    asyncio.run(scenario())
    assert read_log(tmp_path / "raw.jsonl").warnings == ()

"""Webhooks are told, signed and again; commands are run if they are approved, and ended if they hang."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.lab.errors import LabError
from entourage.operations.deeds import check_deeds, cloud_event, disapproved, notify, run_command
from entourage.rules.rule import Webhook

DECISION: dict[str, Any] = {
    "service": "shop", "rule": "tell", "verdict": "do", "about": "always", "action": "notify ops", "seen_at": 1.8e9
}  # fmt: skip
KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts, pauses and commands that are given up soon."""
    monkeypatch.setattr("entourage.operations.deeds._PAUSE_S", 0.01)
    monkeypatch.setattr("entourage.operations.deeds._ATTEMPT_S", 5.0)


@dataclass
class Receiver:
    """Answers with the codes in turn, the last one for ever; None: never until the test is over."""

    codes: list[int | None]
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def receiving(*codes: int | None) -> Iterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver(list(codes))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            code = receiver.codes.pop(0) if len(receiver.codes) > 1 else receiver.codes[0]
            if code is None:
                receiver.over.wait(30)
                return
            self.send_response(code)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def told(url: str, *, secret: str | None = None, number: int = 7) -> dict[str, Any]:
    webhook = Webhook(url=url, secret_file=secret)
    return asyncio.run(notify(webhook, lab="lab1", number=number, decision=DECISION))


def secret_file(tmp_path: Path, content: bytes) -> str:
    file = tmp_path / "secret"
    file.write_bytes(content)
    return str(file)


def verifies(headers: Mapping[str, str], body: bytes, key: bytes) -> bool:
    """As Standard Webhooks 1.0 has it: HMAC-SHA256 over id.timestamp.body, base64, after "v1,"."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in headers["webhook-signature"].split(" ")


# Webhooks.


def test_the_message_is_a_cloud_event_with_the_decision() -> None:
    with receiving(200) as receiver:
        assert told(receiver.url) == {"outcome": "delivered", "attempts": 1}
    ((headers, body),) = receiver.got
    assert headers["content-type"] == "application/cloudevents+json"
    message = json.loads(body)
    assert message == {
        "specversion": "1.0",
        "id": "lab1-7",
        "source": "/entourage/labs/lab1",
        "type": "io.entourage.rule.decided.v1",
        "subject": "shop",
        "time": datetime.fromtimestamp(DECISION["seen_at"], tz=UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": DECISION,
    }


def test_without_a_secret_it_is_not_signed() -> None:
    with receiving(204) as receiver:
        told(receiver.url)
    ((headers, _),) = receiver.got
    assert "webhook-signature" not in headers
    assert headers["webhook-id"] == "lab1-7"


@pytest.mark.parametrize("content", [b"whsec_" + base64.b64encode(KEY), b"whsec_" + base64.b64encode(KEY) + b"\n", KEY])
def test_with_a_secret_it_is_signed_as_standard_webhooks_has_it(tmp_path: Path, content: bytes) -> None:
    with receiving(200) as receiver:
        told(receiver.url, secret=secret_file(tmp_path, content))
    ((headers, body),) = receiver.got
    assert verifies(headers, body, KEY)
    assert not verifies(headers, body + b" ", KEY)
    assert not verifies({**headers, "webhook-id": "lab1-8"}, body, KEY)
    assert not verifies({**headers, "webhook-timestamp": "1"}, body, KEY)
    assert not verifies(headers, body, b"another")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 300


def test_a_receiver_that_fails_is_told_again_with_the_same_id(tmp_path: Path) -> None:
    with receiving(500, 503, 200) as receiver:
        outcome = told(receiver.url, secret=secret_file(tmp_path, KEY))
    assert outcome == {"outcome": "delivered", "attempts": 3}
    assert [headers["webhook-id"] for headers, _ in receiver.got] == ["lab1-7"] * 3
    assert len({body for _, body in receiver.got}) == 1
    assert all(verifies(headers, body, KEY) for headers, body in receiver.got)


def test_another_decision_has_another_id() -> None:
    with receiving(200) as receiver:
        told(receiver.url, number=7)
        told(receiver.url, number=8)
    assert [json.loads(body)["id"] for _, body in receiver.got] == ["lab1-7", "lab1-8"]


def test_a_receiver_that_always_fails_is_given_up_after_four_attempts_and_its_answer_told() -> None:
    with receiving(500) as receiver:
        outcome = told(receiver.url)
    assert outcome == {"outcome": "failed", "reason": f"{receiver.url}: HTTP 500, 4 times"}
    assert len(receiver.got) == 4


def test_a_redirection_is_no_delivery() -> None:
    with receiving(302) as receiver:
        assert told(receiver.url)["outcome"] == "failed"


def test_a_receiver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entourage.operations.deeds._ATTEMPT_S", 0.05)
    with receiving(None) as receiver:
        outcome = told(receiver.url)
    assert outcome["outcome"] == "failed"
    assert outcome["reason"] == f"{receiver.url}: no answer, 4 times"


def test_a_receiver_that_hangs_once_is_told_at_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entourage.operations.deeds._ATTEMPT_S", 1.0)
    with receiving(None, 200, 200, 200) as receiver:
        outcome = told(receiver.url)
    assert outcome["outcome"] == "delivered"
    assert outcome["attempts"] >= 2


def test_a_receiver_that_is_not_there_is_told_as_such() -> None:
    with receiving(200) as receiver:
        url = receiver.url
    outcome = told(url)
    assert outcome["outcome"] == "failed"
    assert outcome["reason"].startswith(f"{url}: ")
    assert outcome["reason"].endswith(", 4 times")
    assert receiver.got == []


@pytest.mark.parametrize("url", ["http://[::1/hook", "ftp://127.0.0.1/hook", "http://"])
def test_an_address_that_is_none_is_a_failure_and_no_crash(url: str) -> None:
    assert told(url)["outcome"] == "failed"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"whsec_", b"whsec_not base64!"])
def test_with_a_secret_that_cannot_be_used_nothing_is_sent(tmp_path: Path, content: bytes | None) -> None:
    file = str(tmp_path / "nothing") if content is None else secret_file(tmp_path, content)
    with receiving(200) as receiver:
        outcome = told(receiver.url, secret=file)
    assert outcome["outcome"] == "failed"
    assert outcome["reason"].startswith(f"the secret of {receiver.url} cannot be read: ")
    assert receiver.got == []


def test_a_decision_that_is_told_again_is_the_same_event() -> None:
    with receiving(200, 200) as receiver:
        told(receiver.url)
        told(receiver.url)
    (_, one), (_, again) = receiver.got
    assert one == again
    assert json.loads(one)["id"] != cloud_event(lab="lab2", number=7, decision=DECISION)["id"]


# Commands.


def program(tmp_path: Path, text: str, *, mode: int = 0o755) -> str:
    file = tmp_path / "command.sh"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(mode)
    return str(file)


def ran(*words: str) -> dict[str, Any]:
    return asyncio.run(run_command(words, decision=DECISION))


def test_a_command_has_the_decision_in_its_environment_and_what_it_says_is_kept(tmp_path: Path) -> None:
    outcome = ran(program(tmp_path, 'echo "$ENTOURAGE_DECISION"'))
    assert outcome["outcome"] == "done"
    assert json.loads(outcome["said"]) == DECISION


def test_a_command_gets_its_words_as_they_are_and_nothing_else_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    outcome = ran(program(tmp_path, 'echo "$1|$2|$DATABASE_PASSWORD|${PATH:+has a path}"'), "$HOME; true", "a b")
    assert outcome == {"outcome": "done", "said": "$HOME; true|a b||has a path"}


def test_a_command_that_waits_for_input_gets_none(tmp_path: Path) -> None:
    assert ran(program(tmp_path, "cat; echo end")) == {"outcome": "done", "said": "end"}


def test_of_much_output_the_end_is_kept(tmp_path: Path) -> None:
    said = ran(program(tmp_path, "seq 1 5000"))["said"]
    assert len(said) == 500
    assert said.endswith("4999\n5000")


def test_output_that_is_no_text_does_no_harm(tmp_path: Path) -> None:
    assert ran(program(tmp_path, r"printf '\377ok'"))["said"].endswith("ok")


def test_a_command_that_fails_is_told_with_its_code_and_what_it_said(tmp_path: Path) -> None:
    file = program(tmp_path, "echo out; echo no pager >&2; exit 3")
    assert ran(file) == {"outcome": "failed", "reason": f"{file} ended with 3: out\nno pager"}


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entourage.operations.deeds._COMMAND_S", 1.0)
    child = tmp_path / "child"
    file = program(tmp_path, f"sleep 600 &\necho $! > {child}\nwait")
    outcome = ran(file)
    assert outcome == {"outcome": "failed", "reason": f"{file} had not ended after 1 s, and was killed"}
    assert ends(int(child.read_text()))


def test_what_a_command_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    child = tmp_path / "child"
    outcome = ran(program(tmp_path, f"sleep 600 > /dev/null 2>&1 &\necho $! > {child}"))
    assert outcome["outcome"] == "done"
    assert ends(int(child.read_text()))


def ends(pid: int) -> bool:
    """Whether the process is gone, or dead and not yet buried, soon."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        os.sched_yield()
    return False


def test_a_command_that_others_may_change_is_not_run(tmp_path: Path) -> None:
    ran_at = tmp_path / "ran"
    for mode in (0o775, 0o757):
        file = program(tmp_path, f"touch {ran_at}", mode=mode)
        reason = f"{file} can be changed by others than root: it is not approved"
        assert ran(file) == {"outcome": "failed", "reason": reason}
    assert not ran_at.exists()


def test_a_file_that_is_no_program_is_not_run(tmp_path: Path) -> None:
    file = program(tmp_path, "true", mode=0o644)
    assert ran(file) == {"outcome": "failed", "reason": f"{file} is no program"}
    assert disapproved(str(tmp_path)) == f"{tmp_path} is no program"


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    file = str(tmp_path / "nothing")
    assert ran(file) == {"outcome": "failed", "reason": f"{file}: No such file or directory"}


def test_a_program_that_the_kernel_cannot_run_is_told(tmp_path: Path) -> None:
    file = tmp_path / "command"
    file.write_text("no interpreter line")
    file.chmod(0o755)
    assert ran(str(file)) == {"outcome": "failed", "reason": f"{file}: Exec format error"}


def test_a_command_of_another_user_is_not_approved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = program(tmp_path, "true")
    found = os.stat(file)
    other = SimpleNamespace(st_mode=found.st_mode, st_uid=os.geteuid() + 1234)
    monkeypatch.setattr("entourage.operations.deeds.os.stat", lambda _: other)
    assert disapproved(file) == f"{file} can be changed by others than root: it is not approved"


# Before a run.


def rules(*, commands: Mapping[str, tuple[str, ...]] | None = None, secret: str | None = None) -> Any:
    return SimpleNamespace(
        commands=commands or {}, webhooks={"ops": Webhook(url="http://127.0.0.1:1/", secret_file=secret)}
    )


def test_what_may_be_run_and_read_is_accepted(tmp_path: Path) -> None:
    check_deeds(rules(commands={"page": (program(tmp_path, "true"), "word")}, secret=secret_file(tmp_path, KEY)))
    check_deeds(rules())


def test_all_that_cannot_be_used_is_told_at_once_before_it_is_needed(tmp_path: Path) -> None:
    bad = program(tmp_path, "true", mode=0o777)
    missing = str(tmp_path / "nothing")
    with pytest.raises(LabError) as refused:
        check_deeds(rules(commands={"page": (bad,), "other": (missing,)}, secret=str(tmp_path / "no-secret")))
    assert str(refused.value).split("; ") == [
        f"{bad} can be changed by others than root: it is not approved",
        f"{missing}: No such file or directory",
        f"the secret of webhook ops cannot be read: {tmp_path / 'no-secret'}: No such file or directory",
    ]


def test_a_secret_that_is_empty_or_no_base64_is_told_before_it_is_needed(tmp_path: Path) -> None:
    for content in (b"", b"whsec_not base64!"):
        file = secret_file(tmp_path, content)
        with pytest.raises(LabError, match=f"the secret of webhook ops cannot be read: {file}: "):
            check_deeds(rules(secret=file))

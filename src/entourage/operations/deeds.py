"""What rules ask for besides moves: to tell a webhook, and to run an approved command. Neither may hold anybody up.

A message is a CloudEvent (CloudEvents 1.0, structured JSON), signed as Standard Webhooks 1.0 has it: HMAC-SHA256 over
id, time and body, so that a receiver knows who sent it, and that it is neither changed nor sent again later.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from entourage.lab.errors import LabError
from entourage.rules.rule import RuleSet, Webhook

_ATTEMPTS, _ATTEMPT_S, _PAUSE_S = 4, 5.0, 1.0  # each pause is twice the one before
_COMMAND_S, _BURIED_WITHIN_S = 60.0, 5.0
_SAID = 500  # characters of a command's output that are kept
_KEY = b"whsec_"  # before a key in base64
_TYPE = "io.entourage.rule.decided.v1"


async def notify(webhook: Webhook, *, lab: str, number: int, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Send the decision of that number, some times if need be, and say what came of it; never raises for a receiver."""
    at = time.time()
    message = cloud_event(lab=lab, number=number, decision=decision)
    body = json.dumps(message).encode()
    try:
        secret = _secret(webhook)
    except (OSError, ValueError) as error:
        return {"outcome": "failed", "reason": f"the secret of {webhook.url} cannot be read: {_words(error)}"}
    headers = {"content-type": "application/cloudevents+json", **signature(secret, message["id"], at, body)}
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            await asyncio.sleep(_PAUSE_S * 2 ** (attempt - 1))
        try:
            async with asyncio.timeout(_ATTEMPT_S), httpx.AsyncClient(timeout=_ATTEMPT_S) as client:
                answer = await client.post(webhook.url, content=body, headers=headers)
        except (TimeoutError, httpx.TimeoutException):
            problem = "no answer"
            continue
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = str(error) or type(error).__name__
            continue
        if answer.is_success:
            return {"outcome": "delivered", "attempts": attempt + 1}
        problem = f"HTTP {answer.status_code}"
    return {"outcome": "failed", "reason": f"{webhook.url}: {problem}, {_ATTEMPTS} times"}


def cloud_event(*, lab: str, number: int, decision: Mapping[str, Any]) -> dict[str, Any]:
    """The message. It is the same each time that the decision is told, so that a receiver can tell.

    `decision`: with `seen_at`, the moment of what was seen, in seconds since the epoch.
    """
    return {
        "specversion": "1.0",
        "id": f"{lab}-{number}",
        "source": f"/entourage/labs/{lab}",
        "type": _TYPE,
        "subject": decision["service"],
        "time": datetime.fromtimestamp(decision["seen_at"], tz=UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": dict(decision),
    }


def signature(secret: bytes | None, message_id: str, at: float, body: bytes) -> dict[str, str]:
    """The headers that prove who sends; without a secret only the first two."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(int(at))}
    if secret is not None:
        signed = b".".join((message_id.encode(), headers["webhook-timestamp"].encode(), body))
        made = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        headers["webhook-signature"] = f"v1,{made}"
    return headers


def _secret(webhook: Webhook) -> bytes | None:
    """The key: base64 after `whsec_`, as Standard Webhooks writes it, else the file's bytes. OSError, ValueError."""
    if webhook.secret_file is None:
        return None
    written = Path(webhook.secret_file).read_bytes().strip()
    key = base64.b64decode(written.removeprefix(_KEY), validate=True) if written.startswith(_KEY) else written
    if not key:
        raise ValueError("it is empty")
    return key


def _words(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


async def run_command(words: Sequence[str], *, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Run an approved command, at most for a minute; the decision is in its environment as ENTOURAGE_DECISION."""
    if problem := disapproved(words[0]):
        return {"outcome": "failed", "reason": problem}
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "ENTOURAGE_DECISION": json.dumps(decision)}
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return {"outcome": "failed", "reason": f"{words[0]}: {error.strerror}"}
    try:
        said = await asyncio.wait_for(_end_of(process), _COMMAND_S)
    except TimeoutError:
        return {"outcome": "failed", "reason": f"{words[0]} had not ended after {_COMMAND_S:g} s, and was killed"}
    finally:
        with suppress(ProcessLookupError):  # with all that it has started: they are its group
            os.killpg(process.pid, 9)
        with suppress(TimeoutError):  # or what is left of it would be told when this process ends
            await asyncio.wait_for(process.communicate(), _BURIED_WITHIN_S)
    last = said.decode(errors="replace").strip()[-_SAID:]
    if process.returncode:
        return {"outcome": "failed", "reason": f"{words[0]} ended with {process.returncode}: {last}"}
    return {"outcome": "done", "said": last}


async def _end_of(process: asyncio.subprocess.Process) -> bytes:
    """Wait until it ends; the last that it says, however much that is."""
    assert process.stdout is not None
    last = b""
    while some := await process.stdout.read(1 << 16):
        last = (last + some)[-4 * _SAID :]  # a character has at most 4 bytes
    await process.wait()
    return last


def disapproved(file: str) -> str | None:
    """Why a command may not be run: it must be root's, or ours, and nobody else may change it. None if it may."""
    try:
        found = os.stat(file)
    except OSError as error:
        return f"{file}: {error.strerror}"
    if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111:
        return f"{file} is no program"
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{file} can be changed by others than root: it is not approved"
    return None


def check_deeds(rules: RuleSet) -> None:
    """LabError if a command is not approved, or a webhook's secret cannot be used: better now than at night."""
    problems = [problem for words in rules.commands.values() if (problem := disapproved(words[0]))]
    for name, webhook in rules.webhooks.items():
        try:
            _secret(webhook)
        except (OSError, ValueError) as error:
            problems.append(f"the secret of webhook {name} cannot be read: {webhook.secret_file}: {_words(error)}")
    if problems:
        raise LabError("; ".join(problems))

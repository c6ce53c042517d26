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
_COMMAND_S = 60.0
_SAID = 500  # characters of a command's output that are kept
_TYPE = "io.entourage.rule.decided.v1"


async def notify(webhook: Webhook, *, lab: str, number: int, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Send the decision of that number, some times if need be, and say what came of it; never raises for a receiver."""
    at = time.time()
    message = cloud_event(lab=lab, number=number, at=at, decision=decision)
    body = json.dumps(message).encode()
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            await asyncio.sleep(_PAUSE_S * 2 ** (attempt - 1))
        try:
            headers = {"content-type": "application/cloudevents+json", **signature(webhook, message["id"], at, body)}
            async with asyncio.timeout(_ATTEMPT_S), httpx.AsyncClient(timeout=_ATTEMPT_S) as client:
                answer = await client.post(webhook.url, content=body, headers=headers)
        except OSError as error:
            return {"outcome": "failed", "reason": f"the secret of {webhook.url} cannot be read: {error.strerror}"}
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            problem = "no answer" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            continue
        if answer.is_success:
            return {"outcome": "delivered", "attempts": attempt + 1}
        problem = f"HTTP {answer.status_code}"
    return {"outcome": "failed", "reason": f"{webhook.url}: {problem}, {_ATTEMPTS} times"}


def cloud_event(*, lab: str, number: int, at: float, decision: Mapping[str, Any]) -> dict[str, Any]:
    """The message. Its id is the same each time that the decision is told, so that a receiver can tell."""
    return {
        "specversion": "1.0",
        "id": f"{lab}-{number}",
        "source": f"/entourage/labs/{lab}",
        "type": _TYPE,
        "subject": decision["service"],
        "time": datetime.fromtimestamp(at, tz=UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": dict(decision),
    }


def signature(webhook: Webhook, message_id: str, at: float, body: bytes) -> dict[str, str]:
    """The headers that prove who sends; only the first two if the webhook has no secret. OSError without its file."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(int(at))}
    if webhook.secret_file is not None:
        secret = Path(webhook.secret_file).read_bytes().strip()
        signed = b".".join((message_id.encode(), headers["webhook-timestamp"].encode(), body))
        made = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        headers["webhook-signature"] = f"v1,{made}"
    return headers


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
        said, _ = await asyncio.wait_for(process.communicate(), _COMMAND_S)
    except TimeoutError:
        return {"outcome": "failed", "reason": f"{words[0]} had not ended after {_COMMAND_S:g} s, and was killed"}
    finally:
        with suppress(ProcessLookupError):  # with all that it has started: they are its group
            os.killpg(process.pid, 9)
    last = said.decode(errors="replace").strip()[-_SAID:]
    if process.returncode:
        return {"outcome": "failed", "reason": f"{words[0]} ended with {process.returncode}: {last}"}
    return {"outcome": "done", "said": last}


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
    """LabError if a command is not approved, or a webhook's secret cannot be read: better now than at night."""
    problems = [problem for words in rules.commands.values() if (problem := disapproved(words[0]))]
    for name, webhook in rules.webhooks.items():
        if webhook.secret_file is not None and not os.access(webhook.secret_file, os.R_OK):
            problems.append(f"the secret of webhook {name} cannot be read: {webhook.secret_file}")
    if problems:
        raise LabError("; ".join(problems))

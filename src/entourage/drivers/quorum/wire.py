"""Messages of the agents as datagrams: JSON behind an HMAC-SHA-256 (RFC 2104) with the key that all agents share.

Each names its sender, the sender's start (how often it has been started), the receiver, the receiver's start as the
sender knows it, and a number that grows. So one that is caught and sent again is never taken: its number is known, or
it was for a receiver that has been started anew since. Whoever is addressed by a wrong start says hello with its own.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from entourage.quorum.types import (
    Ack,
    AgentId,
    Ask,
    Denial,
    Grant,
    Heartbeat,
    Message,
    Refusal,
    Sighting,
    Stamp,
    Takeover,
    View,
    Withdrawal,
)

_MAC_BYTES = hashlib.sha256().digest_size
_KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind for kind in (Heartbeat, Ack, Refusal, Ask, Grant, Denial, Withdrawal)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A datagram that is genuine and new. `message` None: a hello, or one that was for another start of ours."""

    sender: AgentId
    message: Message | None
    wants_hello: bool


class Post:
    """One agent's envelopes: seals what it sends, opens what it gets. `dropped` counts what was not taken, and why."""

    def __init__(self, me: AgentId, *, key: bytes, start: int) -> None:
        self._me = me
        self._key = key
        self._start = start
        self._number = 0
        self._peers: dict[AgentId, tuple[int, int]] = {}  # start and last number of each
        self.dropped: dict[str, int] = {}

    def seal(self, to: AgentId, message: Message | None) -> bytes:
        """A datagram for that agent; a hello without a message."""
        self._number += 1
        peer_start, _ = self._peers.get(to, (0, 0))
        body = None if message is None else {"kind": type(message).__name__, **asdict(message)}
        letter = {"from": self._me, "start": self._start, "number": self._number, "to": to, "to_start": peer_start}
        text = json.dumps({**letter, "body": body}, separators=(",", ":")).encode()
        return self._mac(text) + text

    def open(self, datagram: bytes) -> Opened | None:
        """What came, if it is genuine, for us, and new."""
        mac, text = datagram[:_MAC_BYTES], datagram[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(text)):
            self._drop("not genuine")
            return None
        try:
            letter: dict[str, Any] = json.loads(text)
            sender, start, number = AgentId(letter["from"]), int(letter["start"]), int(letter["number"])
            message = None if letter["body"] is None else message_from(letter["body"])
            is_ours, is_for_this_start = letter["to"] == self._me, letter["to_start"] == self._start
        except (ValueError, KeyError, TypeError, RecursionError):
            self._drop("not understood")
            return None
        if not is_ours:
            self._drop("for somebody else")
            return None
        known_start, last = self._peers.get(sender, (0, 0))
        if (start, number) == (known_start, last):  # by another road: the road is what it tells of
            return Opened(sender=sender, message=None, wants_hello=False)
        if (start, number) < (known_start, last):
            self._drop("not new")
            return None
        if is_for_this_start:
            self._peers[sender] = (start, number)
            return Opened(sender=sender, message=message, wants_hello=False)
        if start > known_start:  # genuine, so there was this start of it; its numbers are taken from what is for us
            self._peers[sender] = (start, 0)
        return Opened(sender=sender, message=None, wants_hello=message is not None)

    def _mac(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")

    def _drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def message_from(data: Mapping[str, Any]) -> Message:
    """A message from its JSON. KeyError, TypeError or ValueError if it is none."""
    made: dict[str, Any] = {key: value for key, value in data.items() if key != "kind"}
    if "stamp" in made:
        made["stamp"] = Stamp(**made["stamp"])
    if "view" in made:
        made["view"] = _view(made["view"])
    for name in ("takeover", "taken"):
        if name in made:
            made[name] = takeover_from(made[name])
    return _KINDS[data["kind"]](**made)


def takeover_from(data: Mapping[str, Any]) -> Takeover:
    """A takeover from its JSON; errors as `message_from`."""
    before = data.get("extends")
    extends = None if before is None else takeover_from(before)
    return Takeover(**{**data, "services": tuple(data["services"]), "extends": extends})


def _view(data: Mapping[str, Any]) -> View:
    sightings = {site: Sighting(**sighting) for site, sighting in data["sightings"].items()}
    return View(sightings=sightings, taken=tuple(takeover_from(each) for each in data["taken"]))

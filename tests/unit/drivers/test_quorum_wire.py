"""Datagrams and ledgers of the agents: what comes back is what was sent or kept, and nothing else is taken."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.drivers.quorum.ledger import read_ledger, write_ledger
from entourage.drivers.quorum.wire import Opened, Post
from entourage.model.ids import ServiceId, SiteId
from entourage.quorum import AgentId, Takeover
from entourage.quorum.types import (
    Ack,
    Ask,
    Denial,
    Entry,
    Grant,
    Heartbeat,
    Ledger,
    Message,
    Refusal,
    Sighting,
    Stamp,
    View,
    Withdrawal,
)

EAST, WEST, KEY = AgentId("east"), AgentId("west"), b"k" * 32
TAKEOVER = Takeover(lost=SiteId("north"), epoch=3, by=SiteId("east"), by_epoch=1, services=(ServiceId("shop"),))
VIEW = View(sightings={SiteId("west"): Sighting(heard=None, free=1.5)}, taken=(TAKEOVER,))
STAMP = Stamp(incarnation=2, sent=1.25)
MESSAGES: tuple[Message, ...] = (
    Heartbeat(STAMP, 1, VIEW),
    Ack(STAMP, 1, VIEW),
    Refusal(TAKEOVER, VIEW),
    Ask(TAKEOVER),
    Grant(TAKEOVER),
    Denial(TAKEOVER, 4),
    Withdrawal(TAKEOVER),
)


def introduced(*, east_start: int = 1, west_start: int = 1) -> tuple[Post, Post]:
    """Two that know each other's start."""
    east, west = Post(EAST, key=KEY, start=east_start), Post(WEST, key=KEY, start=west_start)
    assert west.open(east.seal(WEST, Ask(TAKEOVER))) == Opened(sender=EAST, message=None, wants_hello=True)
    assert east.open(west.seal(EAST, None)) == Opened(sender=WEST, message=None, wants_hello=False)
    return east, west


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_arrives_as_it_was_sent(message: Message) -> None:
    east, west = introduced()
    assert west.open(east.seal(WEST, message)) == Opened(sender=EAST, message=message, wants_hello=False)


def test_what_a_takeover_extends_arrives_with_it() -> None:
    more = replace(TAKEOVER, epoch=4, services=(*TAKEOVER.services, ServiceId("bank")), extends=TAKEOVER)
    east, west = introduced()
    opened = west.open(east.seal(WEST, Ask(more)))
    assert opened is not None
    assert isinstance(opened.message, Ask)
    assert opened.message.takeover.extends == TAKEOVER  # which an equal takeover need not have


def test_a_datagram_is_taken_once_and_never_after_a_later_one() -> None:
    east, west = introduced()
    first, second = east.seal(WEST, MESSAGES[0]), east.seal(WEST, MESSAGES[1])
    assert west.open(second) == Opened(sender=EAST, message=MESSAGES[1], wants_hello=False)
    again = west.open(second)
    assert again is not None
    assert again.message is None
    assert west.open(first) is None
    assert west.dropped == {"not new": 1}


def test_what_was_for_an_earlier_start_of_the_receiver_is_answered_with_a_hello_only() -> None:
    east, _ = introduced()
    caught = east.seal(WEST, MESSAGES[0])
    restarted = Post(WEST, key=KEY, start=2)
    assert restarted.open(caught) == Opened(sender=EAST, message=None, wants_hello=True)
    assert east.open(restarted.seal(EAST, None)) is not None
    assert restarted.open(east.seal(WEST, MESSAGES[0])) == Opened(sender=EAST, message=MESSAGES[0], wants_hello=False)


def test_what_an_earlier_start_of_the_sender_sent_is_not_taken() -> None:
    east, west = introduced()
    caught = east.seal(WEST, MESSAGES[0])
    restarted = Post(EAST, key=KEY, start=2)
    assert restarted.open(west.seal(EAST, None)) is not None
    west.open(restarted.seal(WEST, MESSAGES[1]))
    assert west.open(caught) is None


def test_what_another_key_has_sealed_or_is_for_somebody_else_is_not_taken() -> None:
    east, west = introduced()
    stranger = Post(EAST, key=b"x" * 32, start=1)
    assert west.open(stranger.seal(WEST, MESSAGES[0])) is None
    assert west.open(east.seal(AgentId("north"), MESSAGES[0])) is None
    assert west.dropped == {"not genuine": 1, "for somebody else": 1}


@given(noise=st.binary(max_size=80), at=st.integers(0, 200), bit=st.integers(0, 7))
def test_no_datagram_that_was_changed_is_taken(noise: bytes, at: int, bit: int) -> None:
    east, west = introduced()
    datagram = bytearray(east.seal(WEST, MESSAGES[3]))
    datagram[at % len(datagram)] ^= 1 << bit
    assert west.open(bytes(datagram)) is None
    assert west.open(noise) is None


def test_a_ledger_is_read_as_it_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    assert read_ledger(path) == Ledger()
    entries = {SiteId("north"): Entry(epoch=2, granted=TAKEOVER, spent=4, closed=3), SiteId("west"): Entry()}
    for ledger in (Ledger(starts=1), Ledger(starts=2, entries=entries, won=(TAKEOVER,))):
        write_ledger(path, ledger)
        assert read_ledger(path) == ledger
    assert [each.name for each in tmp_path.iterdir()] == ["ledger.json"]


def test_a_damaged_ledger_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    for text in ("{", json.dumps({"starts": 1})):
        path.write_text(text)
        with pytest.raises((ValueError, KeyError)):
            read_ledger(path)

"""A migration that was cancelled is waited for, and woken up where QEMU has forgotten that it was."""

import asyncio
from typing import Any

from entourage.drivers.qemu.cancelling import break_streams, wait_ended
from entourage.ports.errors import PermanentError


class Qemu:
    """What one says of its migration: `states`, then always the last. One that `forgets` has to be told to go on."""

    def __init__(self, *states: str, forgets: bool = False) -> None:
        self.states = list(states)
        self.forgets = forgets
        self.continued: list[str] = []

    async def ask(self, command: str, **arguments: Any) -> Any:
        if command == "query-migrate":
            status = self.states[0]
            if len(self.states) > 1 and not (self.forgets and status == "cancelling" and not self.continued):
                self.states.pop(0)
            return {"status": status} if status else {}
        assert command == "migrate-continue"
        if arguments["state"] != self.states[0]:
            raise PermanentError("Migration not in expected state")
        self.continued.append(arguments["state"])
        return {}


def wait(qemu: Qemu) -> None:
    asyncio.run(asyncio.wait_for(wait_ended(qemu.ask), 5))


class Yankable:
    """A QEMU with these streams and monitors that could be broken off. One that has `ended` is not known any more."""

    def __init__(self, *instances: dict[str, str], ended: dict[str, str] | None = None) -> None:
        self.instances = list(instances)
        self.ended = ended
        self.broken: list[dict[str, str]] = []

    async def ask(self, command: str, **arguments: Any) -> Any:
        if command == "query-yank":
            return list(self.instances)
        assert command == "yank"
        if self.ended in arguments["instances"]:
            raise PermanentError("Instance not found")  # and none of the others is broken
        self.broken += arguments["instances"]
        return {}


MEMORY, DISK = {"type": "migration"}, {"type": "block-node", "node-name": "disk-at-target"}
MONITOR = {"type": "chardev", "id": "acting"}


def test_all_streams_to_a_target_are_broken_off_and_no_monitor() -> None:
    qemu = Yankable(MONITOR, MEMORY, DISK)
    asyncio.run(break_streams(qemu.ask))
    assert qemu.broken == [MEMORY, DISK]


def test_a_stream_that_has_just_ended_does_not_keep_another_from_being_broken_off() -> None:
    qemu = Yankable(MEMORY, DISK, ended=MEMORY)
    asyncio.run(break_streams(qemu.ask))
    assert qemu.broken == [DISK]


def test_one_that_waits_in_spite_of_its_cancel_is_told_to_go_on() -> None:
    qemu = Qemu("active", "cancelling", "cancelled", forgets=True)
    wait(qemu)
    assert qemu.continued


def test_one_that_ends_by_itself_may_end_between_the_question_and_the_word() -> None:
    wait(Qemu("cancelling", "cancelled"))


def test_none_has_ended() -> None:
    qemu = Qemu("")
    wait(qemu)
    assert not qemu.continued


def test_one_that_waits_for_its_disk_is_not_told_to_go_on() -> None:
    qemu = Qemu("pre-switchover", "failed")
    wait(qemu)
    assert not qemu.continued

"""A migration that was cancelled is waited for, and woken up where QEMU has forgotten that it was."""

import asyncio
from typing import Any

from entourage.drivers.qemu.cancelling import wait_ended
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

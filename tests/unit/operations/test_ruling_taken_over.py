"""What a run of the loop of rules does about what another one, which is gone, had begun."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ruling_world import COMMAND, FOLLOW, HOOK, MODULE, PAGE, PLAN, TELL, World

from entourage.lab.errors import BusyError
from entourage.model.ids import ServiceId
from entourage.operations.rule_files import keep_memory, kept_memory
from entourage.rules.memory import Memory


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    made = World(monkeypatch, tmp_path)
    yield made
    made.records.close()


def test_a_failover_that_was_begun_is_gone_on_with_by_its_plan(world: World) -> None:
    number = world.unfinished("fail-over", failover=PLAN.to_json())
    world.run(FOLLOW)
    assert world.failed_over == [PLAN]
    (kept,) = world.kept()
    assert kept.outcome is not None
    assert (kept.number, kept.outcome["outcome"]) == (number, "failed-over")
    assert world.notes.notes == [f"decision {number} was begun by another run: it is gone on with"]


def test_a_notification_that_was_not_told_to_its_end_is_told_again_with_the_same_number(world: World) -> None:
    number = world.unfinished("notify ops")
    world.run(TELL, top=HOOK)
    assert world.told == [(number, "gone")]
    assert world.said() == [("gone", "do", "delivered")]


def test_a_notification_whose_webhook_is_gone_is_said_to_have_failed(world: World) -> None:
    world.unfinished("notify ops")
    world.run(FOLLOW)
    (kept,) = world.kept()
    assert kept.outcome == {"outcome": "failed", "reason": "there is no webhook ops any more"}


def test_a_command_that_was_begun_is_not_run_again(world: World) -> None:
    world.unfinished("run page")
    world.run(PAGE, top=COMMAND)
    assert world.commands == []
    assert world.said() == [("gone", "do", "interrupted")]


def test_of_a_move_that_was_begun_its_own_end_is_told_and_of_one_that_was_not_that(world: World) -> None:
    world.unfinished("follow")
    world.run(FOLLOW)
    later = SimpleNamespace(
        move="shop-9", began=world.kept()[0].at + 1e6, document={"service": "shop"}, ended={"outcome": "rolled-back"}
    )
    world.moves.append(later)
    world.unfinished("follow")
    world.run(FOLLOW)
    assert [each.outcome for each in world.kept()] == [
        {"outcome": "nothing was begun", "interrupted": True, "move": None},
        {"outcome": "rolled-back", "interrupted": True, "move": "shop-9"},
    ]


def test_a_move_of_another_service_is_not_taken_for_the_one_that_was_begun(world: World) -> None:
    world.unfinished("follow")
    world.moves.append(
        SimpleNamespace(
            move="mail-9", began=world.kept()[0].at + 1e6, document={"service": "mail"}, ended={"outcome": "committed"}
        )
    )
    world.run(FOLLOW)
    (kept,) = world.kept()
    assert kept.outcome == {"outcome": "nothing was begun", "interrupted": True, "move": None}


def test_open_moves_are_brought_to_their_end_first(world: World) -> None:
    world.moves.append(SimpleNamespace(move="shop-9", began=1.0, document={"service": "shop"}, ended=None))
    world.run(FOLLOW, then=lambda _: _assert_recovered(world))
    assert world.recovered == 1


def test_a_move_that_another_process_drives_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.LOOK_EVERY_S", 0)
    world.others_drive = 3
    world.run(FOLLOW)
    assert (world.others_drive, world.looks) == (0, 1)


def test_whoever_is_quicker_to_end_an_open_move_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.LOOK_EVERY_S", 0)
    (of_another,) = world.moves = [SimpleNamespace(move="shop-9", began=1.0, document={"service": "shop"}, ended=None)]

    def is_quicker() -> None:
        world.others_drive = 3
        of_another.ended = {"outcome": "rolled-back"}
        raise BusyError("a move is under way")

    world.on_take_over = is_quicker
    world.run(FOLLOW)
    assert (world.recovered, world.others_drive, world.looks) == (0, 0, 1)


def test_a_move_is_found_that_began_in_the_same_second_as_it_was_decided(world: World) -> None:
    world.unfinished("follow")
    (kept,) = world.kept()
    earlier, its_own = (
        SimpleNamespace(move=move, began=began, document={"service": "shop"}, ended={"outcome": move})
        for move, began in (("shop-8", kept.at - 1), ("shop-9", float(int(kept.at))))
    )
    world.moves += [its_own, earlier]  # as they are listed
    world.run(FOLLOW)
    (kept,) = world.kept()
    assert kept.outcome == {"outcome": "shop-9", "interrupted": True, "move": "shop-9"}


def _assert_recovered(world: World) -> None:
    assert world.recovered == 1


def test_what_another_run_was_doing_is_not_taken_for_being_done(world: World) -> None:
    running = Memory(running={("follow", ServiceId("shop")): 900.0})
    world.run(FOLLOW)
    keep_memory(world.lab, Memory(placed=kept_memory(world.lab).placed, running=running.running))
    world.at = {"web1": "west"}
    world.run(FOLLOW)
    assert len(world.moved) == 1

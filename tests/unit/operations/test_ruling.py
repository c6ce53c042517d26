"""The loop of rules: what is kept, done, done again and told, and what another run finds of it."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruling_world import (
    COMMAND,
    EAST,
    FOLLOW,
    HOOK,
    INFRASTRUCTURE,
    MODULE,
    OVER,
    PAGE,
    PLAN,
    REPORT,
    TELL,
    WEST,
    World,
)

from entourage.drivers.records import RecordsError
from entourage.lab.errors import LabError
from entourage.model.ids import ServiceId
from entourage.operations.moves import RefusedError
from entourage.operations.rule_files import kept_memory
from entourage.planner import Code, HostLoad, Refusal, Verdict


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    made = World(monkeypatch, tmp_path)
    yield made
    made.records.close()


def server_away(world: World, *, at_look: int = 2) -> Any:
    """From that look on a server is at west."""

    def then(look: int) -> None:
        if look >= at_look:
            world.at = {"web1": "west"}

    return then


# A decision, and what comes of it.


def test_a_decision_is_kept_before_it_is_acted_on_and_its_outcome_after(world: World) -> None:
    kept_then: list[Any] = []

    def move() -> dict[str, Any]:
        kept_then.extend(world.said())
        world.at = dict.fromkeys(["rt", "fw", "lb", "web1", "web2"], "west")
        return REPORT

    world.on_move = move
    world.run(FOLLOW, after=[1, 1, 1], then=lambda look: server_away(world)(look) if look == 2 else None)
    assert world.moved == [(1002.0, "shop", "west")]
    assert kept_then == [("follow", "do", None)]
    assert world.said() == [("follow", "do", "committed")]
    (kept,) = world.kept()
    assert kept.outcome == {
        "outcome": "committed", "reason": None, "move": "shop-1", "total_s": 20.0, "predicted_s": 21.0,
    }  # fmt: skip
    assert [("verdict" in each, each["number"]) for each in world.news] == [(True, kept.number), (False, kept.number)]


def test_after_a_move_everything_is_looked_at_anew(world: World) -> None:
    world.run(FOLLOW, after=[1, 1], then=server_away(world))
    assert (len(world.moved), world.forgotten) == (1, 1)


def test_where_nothing_happens_nothing_is_kept(world: World) -> None:
    world.run(FOLLOW, OVER, after=[1] * 5)
    assert (world.looks, world.said(), world.news) == (5, [], [])


def test_a_move_that_fails_is_tried_again_only_after_pauses_that_grow(world: World) -> None:
    def fails() -> dict[str, Any]:
        raise LabError("the target has gone")

    world.on_move = fails
    world.run(FOLLOW, after=[1] * 75, then=server_away(world))
    assert [at for at, _, _ in world.moved] == [1002.0, 1012.0, 1032.0, 1072.0]
    failed = [each for each in world.kept() if each.document["verdict"] == "do"]
    assert [each.outcome for each in failed] == [{"outcome": "failed", "reason": "the target has gone"}] * 4


def test_a_move_that_is_refused_or_rolled_back_counts_as_failed(world: World) -> None:
    verdict = Verdict(code=Code.NO_ROOM, said_by="planner", reasons=("no room at west",))
    endings: list[Any] = [
        RefusedError(Refusal(service=ServiceId("shop"), target=WEST, verdicts=(verdict,))),
        {**REPORT, "outcome": "rolled-back", "reason": "a guard said so"},
        REPORT,
    ]

    def move() -> dict[str, Any]:
        ending = endings.pop(0)
        if isinstance(ending, Exception):
            raise ending
        world.at = {} if not endings else world.at
        found: dict[str, Any] = ending
        return found

    world.on_move = move
    world.run(FOLLOW, after=[1] * 40, then=lambda look: world.at.update(web1="west") if look == 2 else None)
    assert [at for at, _, _ in world.moved] == [1002.0, 1012.0, 1032.0]
    outcomes = [each.outcome["outcome"] for each in world.kept() if each.outcome]
    assert outcomes == ["refused", "rolled-back", "committed"]


def test_the_same_wait_is_kept_once_though_its_seconds_pass(world: World) -> None:
    held = FOLLOW.replace("do:", "hold: 5 s, do:")
    world.run(held, after=[1] * 6, then=server_away(world))
    assert world.said() == [("follow", "wait", None)]
    assert world.moved == []


def test_a_wait_that_becomes_a_do_or_comes_again_is_news(world: World) -> None:
    held = FOLLOW.replace("do:", "hold: 5 s, do:")

    def then(look: int) -> None:
        world.at = {} if look in (1, 4) else {"web1": "west"}

    world.run(held, after=[1] * 11, then=then)
    assert [verdict for _, verdict, _ in world.said()][:3] == ["wait", "wait", "do"]
    assert world.moved[0][0] == 1010.0


def test_a_rule_that_refuses_is_kept_once_and_in_force(world: World) -> None:
    world.run("stay: {when: always, if: service.whole, do: refuse}", after=[1] * 4)
    assert world.said() == [("stay", "do", "in force")]


def test_what_is_remembered_is_there_for_the_next_run(world: World) -> None:
    world.run(TELL, top=HOOK, after=[1, 1, 1], then=server_away(world))
    assert [rule for _, rule in world.told] == ["tell"]
    assert kept_memory(world.lab).told == {("tell", "shop")}
    world.run(TELL, top=HOOK, after=[1, 1])
    assert len(world.told) == 1


def test_look_once_waits_for_what_it_began(world: World) -> None:
    async def slow(_: int) -> dict[str, Any]:
        for _ in range(20):
            await asyncio.sleep(0)
        return {"outcome": "delivered", "attempts": 1}

    world.on_notify = slow
    world.run(TELL, top=HOOK, after=[1])
    world.run(TELL, top=HOOK, once=True, then=lambda _: world.at.update(web1="west"))
    assert world.said() == [("tell", "do", "delivered")]


# Failovers.


def test_a_lost_site_is_failed_over_and_the_report_kept(world: World) -> None:
    world.run(OVER, after=[1])
    world.lose_east()
    world.run(OVER, once=True)
    (plan,) = world.failed_over
    assert (plan.lost, plan.target, len(plan.placement)) == (EAST, WEST, 5)
    (kept,) = world.kept()
    assert kept.outcome is not None
    assert kept.outcome["outcome"] == "failed-over"
    assert kept.outcome["placement"] == plan.placement
    assert kept.document["failover"]["placement"] == plan.placement


def test_a_failover_that_fails_is_tried_again_after_a_pause(world: World) -> None:
    def fails() -> dict[str, Any]:
        raise ExceptionGroup("several", [LabError("web1 does not boot"), LabError("web2 does not boot")])

    world.on_failover = fails
    world.lose_east()
    world.run(OVER, after=[1] * 15)
    assert len(world.failed_over) == 2
    reasons = [each.outcome["reason"] for each in world.kept() if each.outcome]
    assert reasons == ["web1 does not boot; web2 does not boot"] * 2


def test_a_takeover_is_settled_only_when_nothing_is_left_to_be_failed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[tuple[str, str, int]] = []

    def client(_: Any, agent: str) -> Any:
        async def say(lost: str, *, epoch: int) -> None:
            settled.append((agent, lost, epoch))

        return SimpleNamespace(settled=say)

    monkeypatch.setattr(f"{MODULE}.client", client)
    world.lose_east(won=((WEST, EAST, 4),))
    world.run(OVER, after=[1])
    assert settled == []  # its failover was decided in this look
    world.at = dict.fromkeys(["rt", "fw", "lb", "web1", "web2"], "west")
    world.run(OVER, after=[1])
    assert settled == [("west", "east", 4)]


# Only decide.


def test_only_deciding_says_what_would_be_done_and_does_nothing(world: World) -> None:
    world.run(FOLLOW, TELL, PAGE, top=f"{HOOK}\n{COMMAND}", after=[1, 1, 1], then=server_away(world), acts=False)
    assert (world.moved, world.told, world.commands) == ([], [], [])
    assert world.said() == [(rule, "do", "only decided") for rule in ("follow", "tell", "page")]


def test_only_deciding_leaves_to_others_what_another_run_has_begun(world: World) -> None:
    world.unfinished("fail-over", failover=PLAN.to_json())
    world.unfinished("notify ops")
    world.unfinished("run page")
    world.moves.append(SimpleNamespace(move="shop-9", began=1.0, document={"service": "shop"}, ended=None))
    world.run(FOLLOW, top=HOOK, acts=False)
    assert (world.failed_over, world.told, world.recovered) == ([], [], 0)
    assert [each.ended for each in world.kept()] == [None, None, None]
    world.run(FOLLOW, top=HOOK)
    assert (len(world.failed_over), len(world.told), world.recovered) == (1, 1, 1)


def test_only_deciding_keeps_no_replicas_and_settles_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def replicate(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is to be done")

    monkeypatch.setattr(f"{MODULE}.replicate", replicate)
    monkeypatch.setattr(f"{MODULE}.client", replicate)
    world.lose_east(won=((WEST, EAST, 4),))
    world.run(FOLLOW, after=[1, 1], acts=False, replicates=True)
    assert world.notes.notes == []


# Bad days.


def test_a_webhook_that_hangs_does_not_hold_the_loop_up_and_is_told_by_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MODULE}._DEEDS_END_WITHIN_S", 0.01)

    async def hang(_: int) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    world.on_notify = hang
    world.run(FOLLOW, TELL, top=HOOK, after=[1] * 20, then=server_away(world))
    assert world.looks == 20
    assert world.moved
    ((number, _),) = world.told  # not again while it is under way
    (hanging,) = [each for each in world.kept() if each.document["rule"] == "tell" and each.document["verdict"] == "do"]
    assert hanging.ended is None
    world.on_notify = None
    world.at = {}
    world.run(TELL, top=HOOK)
    assert world.told == [(number, "tell")] * 2
    assert [each.outcome for each in world.kept() if each.number == number] == [{"outcome": "delivered", "attempts": 1}]


def test_of_many_notifications_at_once_fifty_are_under_way_and_none_is_forgotten(world: World) -> None:
    world.names = [f"shop{number}" for number in range(180)]
    under_way = 0
    most = 0

    async def slow(_: int) -> dict[str, Any]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return {"outcome": "delivered", "attempts": 1}

    world.on_notify = slow
    world.run(TELL, top=HOOK, after=[1] * 12, then=server_away(world))
    assert most == 50
    delivered = [each.service for each in world.kept() if (each.outcome or {}).get("outcome") == "delivered"]
    assert sorted(delivered) == sorted(world.names)
    assert len([each for each in world.kept() if each.document["verdict"] == "do"]) == len(world.names)


def test_what_is_no_longer_so_when_another_move_has_ended_is_not_done(world: World) -> None:
    world.names = ["shop", "mail"]

    def move() -> dict[str, Any]:
        world.at = {}  # of both
        return REPORT

    world.on_move = move
    world.run(FOLLOW, after=[1, 1, 1], then=lambda look: world.at.update(web1="west") if look == 2 else None)
    assert world.moved == [(1002.0, "shop", "west")]
    assert world.said() == [("follow", "do", "committed")]


@pytest.mark.parametrize("once", [True, False])
def test_what_is_still_so_when_another_move_has_ended_is_done_in_the_same_look(world: World, once: bool) -> None:
    world.names = ["shop", "mail", "wiki"]
    world.run(FOLLOW, after=[1])
    world.run(FOLLOW, after=[1] * 5, then=lambda _: world.at.update(web1="west"), once=once)
    assert [service for _, service, _ in world.moved] == ["shop", "mail", "wiki"]


def test_two_failovers_in_turn_do_not_share_the_room_that_one_needs(world: World) -> None:
    world.names = ["shop", "mail"]
    world.run(OVER, after=[1])
    world.lose_east()

    def failover() -> dict[str, Any]:
        plan = world.failed_over[-1]
        used = dict.fromkeys(plan.placement.values(), HostLoad(memory=2 << 30, cpu=2.0))
        free = {host.id: HostLoad(memory=0, cpu=0.0) for site in INFRASTRUCTURE.sites for host in site.hosts}
        world.seen = {"loads": {**free, **used}}
        return {"outcome": "failed-over", "problems": [], "lost": plan.lost, "placement": dict(plan.placement)}

    world.on_failover = failover
    world.run(OVER, after=[1])
    assert [plan.service for plan in world.failed_over] == ["shop"]


def test_a_database_that_is_gone_when_a_webhook_was_told_ends_the_run_with_one_message(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def told(_: int) -> dict[str, Any]:
        monkeypatch.setattr(world.records, "end", _fails)
        return {"outcome": "delivered", "attempts": 1}

    world.on_notify = told
    world.run(TELL, top=HOOK, after=[1, 1, 1], then=server_away(world))
    gc.collect()
    assert world.told
    assert caplog.messages == []  # such as "Task exception was never retrieved"
    assert world.said()[0] == ("tell", "do", None)


def _fails(*_: Any) -> None:
    raise RecordsError("a decision's outcome cannot be kept: disk full")


def test_a_thousand_changes_while_a_move_is_driven_are_decided_on_once_it_has_ended(world: World) -> None:
    def move() -> dict[str, Any]:
        for number in range(1000):
            world.at = {"web1": "west" if number % 2 else "east", "web2": "east" if number % 3 else "west"}
        world.at = dict.fromkeys(["rt", "fw", "lb", "web1", "web2"], "west")
        return REPORT

    world.on_move = move
    world.run(FOLLOW, after=[1, 1, 1, 1], then=lambda look: world.at.update(web1="west") if look == 2 else None)
    assert len(world.moved) == 1
    assert world.said() == [("follow", "do", "committed")]


def test_a_thousand_changes_in_a_second_are_looked_at_as_often_as_it_looks(world: World) -> None:
    held = FOLLOW.replace("do:", "hold: 200 ms, do:")

    def flap(look: int) -> None:
        for number in range(100):
            world.at = {"web1": "west"} if (look + number) % 2 else {}

    world.run(held, after=[0.1] * 10, then=flap)
    assert (world.looks, world.moved) == (10, [])
    assert len(world.said()) <= 10


def test_a_lab_that_is_gone_ends_the_run_with_its_message(world: World) -> None:
    def gone(look: int) -> None:
        if look == 3:
            raise LabError("lab lab1 is gone")

    with pytest.raises(LabError, match="lab lab1 is gone"):
        world.run(FOLLOW, after=[1] * 5, then=gone)

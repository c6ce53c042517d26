"""Rules at work: look, decide, act, and keep every decision. `entourage run` is this loop."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from entourage.drivers.decisions import DecisionRecords, KeptDecision
from entourage.drivers.records import RecordsError
from entourage.engine.known import KnownMove
from entourage.lab.agents import client
from entourage.lab.errors import BusyError, LabError
from entourage.lab.place import Lab, Place
from entourage.model.ids import ServiceId
from entourage.operations.deeds import notify, run_command
from entourage.operations.driving import is_being_driven
from entourage.operations.failing_over import fail_over, words_of_all
from entourage.operations.interruption import Interruption
from entourage.operations.moves import RefusedError, run_move
from entourage.operations.quorum import SitesSeen
from entourage.operations.recovering import all_moves, take_over_all
from entourage.operations.replicating import replicate
from entourage.operations.reports import write_failover, write_move
from entourage.operations.rule_files import keep_memory
from entourage.operations.switching import Shown
from entourage.operations.tell import Tell
from entourage.operations.watching import Watcher
from entourage.planner.failover import FailoverPlan, plan_from_json
from entourage.ports.errors import DriverError
from entourage.quorum.types import agent_of
from entourage.rules.deciding import Decided, Decision, Verdict, began, decide, ended
from entourage.rules.memory import Memory
from entourage.rules.rule import Act, RuleSet
from entourage.rules.view import View
from entourage.wiring import wire

LOOK_EVERY_S = 0.2  # a look that finds nothing new takes some 4 ms of a CPU
_ONLY_DECIDED = {"outcome": "only decided"}
_MOST_DEEDS = 50  # at once
_TRY_AGAIN_S = 5.0  # to keep replicas, when another process does
_DEEDS_END_WITHIN_S = 5.0
Told = Callable[[dict[str, Any]], None]  # each decision that is new, and each outcome


@dataclass(slots=True, kw_only=True)
class Ruling:
    """One run of the loop. `told` hears of what is new; `acts` False: decide, tell, and do nothing.

    `replicates`: keep the replicas of services that want some meanwhile.
    """

    lab: Lab
    rules: RuleSet
    records: DecisionRecords
    tell: Tell
    told: Told
    out: Path
    acts: bool = True
    replicates: bool = True
    memory: Memory = field(default_factory=Memory)
    _deeds: set[asyncio.Task[None]] = field(default_factory=set)
    _replicating: dict[ServiceId, asyncio.Task[None]] = field(default_factory=dict)
    _no_replicas: dict[ServiceId, str] = field(default_factory=dict)
    _last: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    async def run(self, interruption: Interruption, *, once: bool = False) -> None:
        """Look and act until somebody wants it to end; `once`: one look, and what it asks for.

        LabError if the lab or its database is gone.
        """
        self._remember(replace(self.memory, running={}))  # whoever ran them is gone
        if self.acts:
            await self._take_over()
        watcher = Watcher(self.lab)
        enough = asyncio.Event()
        try:
            with interruption.instead(lambda _: enough.set()):
                await self._look_again_and_again(watcher, interruption, enough, once=once)
        finally:
            await self._end_replicating()
            await self._end_deeds(within_s=None if once and not enough.is_set() else _DEEDS_END_WITHIN_S)

    async def _look_again_and_again(
        self, watcher: Watcher, interruption: Interruption, enough: asyncio.Event, *, once: bool
    ) -> None:
        while not enough.is_set():
            view = await watcher.look()
            decided = decide(view, self.rules, self.memory)
            self._remember(decided.memory)
            await self._act(decided, view, watcher, interruption, enough)
            if self.acts:
                await self._settle(decided, watcher.sites)
                self._replicate()
            if once:
                return
            await _wait(enough, LOOK_EVERY_S)

    async def _take_over(self) -> None:
        """Bring to its end what one before us has begun, and say so beside its decision."""
        unfinished = self.records.unfinished()
        await self._end_open_moves()
        moves = all_moves(self.lab)
        for kept in unfinished:
            match Act(kept.document["action"].partition(" ")[0]):
                case Act.FAIL_OVER:
                    self.tell.note(f"decision {kept.number} was begun by another run: it is gone on with")
                    self._end(kept.number, await self._failed_over(plan_from_json(kept.document["failover"])))
                case Act.NOTIFY:
                    self._begin_deed(kept.number, kept.document)  # told twice is better than never; its id is the same
                case Act.RUN:
                    self._end(kept.number, {"outcome": "interrupted", "reason": "its run was ended meanwhile"})
                case _:
                    self._end(kept.number, _outcome_of_move(kept, moves))

    async def _end_open_moves(self) -> None:
        """Whatever is open comes to its end: by us, or by whom the hosts' guards have called when its driver died."""
        while True:
            while is_being_driven(self.lab):  # noqa: ASYNC110 - another process's
                await asyncio.sleep(LOOK_EVERY_S)
            try:
                await take_over_all(self.lab, Shown(progress=self.tell.progress, phase=self.tell.phase))
            except BusyError:  # somebody was quicker than we
                continue
            return

    async def _act(
        self, decided: Decided, view: View, watcher: Watcher, interruption: Interruption, enough: asyncio.Event
    ) -> None:
        is_old = False  # what was seen: a move takes long, and gives and takes room
        for news in self._news(decided):
            if self._is_deed(news) and len(self._deeds) >= _MOST_DEEDS:
                continue  # nothing is remembered of it, so it is decided again when others have ended
            decision: Decision | None = news
            if is_old and self.acts and news.verdict is Verdict.DO and news.action.act.moves:
                view = await watcher.look()
                decision = self._decided_again(news, view)
            if decision is None:
                continue
            is_begun = decision.verdict is Verdict.DO and self.acts and not enough.is_set()
            document = {**decision.to_json(), "seen_at": view.taken_at}
            number = self._keep(decision, document, is_begun=is_begun)
            if not is_begun:
                continue
            if decision.action.act.moves:
                await self._do(decision, number, interruption)
                watcher.forget()
                is_old = True
            elif decision.action.act is Act.REFUSE:
                self._end(number, {"outcome": "in force"})
            else:
                self._remember(began(self.memory, decision, elapsed=time.monotonic()))
                self._begin_deed(number, document, of=decision)

    def _decided_again(self, decision: Decision, view: View) -> Decision | None:
        """What the same rule wants to be done with the service now; None if nothing any more."""
        again = decide(view, self.rules, self.memory, only=[decision.service])
        return next((each for each in again.to_do() if each.key == decision.key), None)

    def _remember(self, memory: Memory) -> None:
        if memory is not self.memory:
            self.memory = memory
            if self.acts:  # else another run may act meanwhile, and it is its memory that counts
                keep_memory(self.lab, memory)

    def _news(self, decided: Decided) -> list[Decision]:
        """What is to be done, and whatever else is decided otherwise than at the last look."""
        news = []
        for decision in decided.decisions:
            said = (decision.verdict.value, _without_numbers(decision.reasons))
            is_to_do = decision.verdict is Verdict.DO and self.acts and decision.action.act is not Act.REFUSE
            if is_to_do or self._last.get(decision.key) != said:
                news.append(decision)
            self._last[decision.key] = said
        now = {decision.key for decision in decided.decisions}
        self._last = {key: said for key, said in self._last.items() if key in now}
        return news

    def _is_deed(self, decision: Decision) -> bool:
        """Whether it is to be acted on beside everything else."""
        return self.acts and decision.verdict is Verdict.DO and decision.action.act in (Act.NOTIFY, Act.RUN)

    def _keep(self, decision: Decision, document: dict[str, Any], *, is_begun: bool) -> int:
        is_idle = decision.verdict is Verdict.DO and not is_begun  # said at once, or the next run takes it for begun
        number = self.records.keep(decision.service, document, outcome=_ONLY_DECIDED if is_idle else None)
        self.told({"number": number, "at": time.time(), **document})
        return number

    def _end(self, number: int, outcome: dict[str, Any]) -> None:
        self.records.end(number, outcome)
        self.told({"number": number, "at": time.time(), **outcome})

    async def _do(self, decision: Decision, number: int, interruption: Interruption) -> None:
        self._remember(began(self.memory, decision, elapsed=time.monotonic()))
        if decision.failover is not None:
            outcome = await self._failed_over(decision.failover)
        else:
            outcome = await self._move(decision, interruption)
        done = outcome["outcome"] in ("committed", "failed-over")
        self._remember(ended(self.memory, decision, elapsed=time.monotonic(), done=done))
        self._end(number, outcome)

    def _replicate(self) -> None:
        """Keep the replicas of services that want some; one whose loop has ended is begun again at the next look."""
        if not self.replicates:
            return
        for kept in self.lab.services:
            if kept.hosted.service.replicated() and kept.is_whole and kept.id not in self._replicating:
                place = self.lab.place(kept.id)
                task = asyncio.create_task(self._keep_replicas(place), name=f"replicas of {kept.id}")
                self._replicating[kept.id] = task

    async def _keep_replicas(self, place: Place) -> None:
        service = place.service.id
        try:
            await replicate(place, tell=lambda text: self.tell.note(f"replicas of {service}: {text}"))
        except LabError as error:  # another process keeps them, or the service was taken away
            if self._no_replicas.get(service) != str(error):
                self._no_replicas[service] = str(error)
                self.tell.note(f"replicas of {service}: {error}")
            await asyncio.sleep(_TRY_AGAIN_S)
        finally:
            self._replicating.pop(service, None)

    def _begin_deed(self, number: int, document: Mapping[str, Any], *, of: Decision | None = None) -> None:
        """Tell a webhook or run a command beside everything else: it may take long, or hang."""
        act, _, name = document["action"].partition(" ")

        async def work() -> None:
            if act == Act.RUN.value:
                outcome = await run_command(self.rules.commands[name], decision=document)
            elif name in self.rules.webhooks:
                outcome = await notify(self.rules.webhooks[name], lab=self.lab.name, number=number, decision=document)
            else:
                outcome = {"outcome": "failed", "reason": f"there is no webhook {name} any more"}
            with suppress(LabError, RecordsError):  # the loop finds that, too, and ends; the next one tells it again
                if of is not None:
                    is_done = outcome["outcome"] != "failed"
                    self._remember(ended(self.memory, of, elapsed=time.monotonic(), done=is_done))
                self._end(number, outcome)

        deed = asyncio.create_task(work(), name=f"deed {number}")
        self._deeds.add(deed)
        deed.add_done_callback(self._deeds.discard)

    async def _end_replicating(self) -> None:
        tasks = list(self._replicating.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end_deeds(self, *, within_s: float | None) -> None:
        """Give what is under way some time, or all that it takes; then end it. The next run finds what was not told."""
        if self._deeds:
            _, late = await asyncio.wait(self._deeds, timeout=within_s)
            for deed in late:
                deed.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _failed_over(self, plan: FailoverPlan) -> dict[str, Any]:
        try:
            report = await fail_over(self.lab, plan, tell=self.tell)
        except (LabError, DriverError, ConnectionError, ExceptionGroup) as error:
            return {"outcome": "failed", "reason": words_of_all(error)}
        write_failover(report, self.out)
        return {**report, "reason": "; ".join(report["problems"]) or None}

    async def _settle(self, decided: Decided, sites: SitesSeen) -> None:
        """What was won and has been carried out is said so to whoever has won it."""
        waiting = any(each.action.act is Act.FAIL_OVER for each in decided.decisions)
        for winner, lost, epoch in () if waiting else sites.won:
            with suppress(DriverError):
                await client(self.lab, agent_of(winner)).settled(lost, epoch=epoch)

    async def _move(self, decision: Decision, interruption: Interruption) -> dict[str, Any]:
        request = decision.request(self.lab.infrastructure)
        wired = wire(self.lab.place(decision.service))
        shown = Shown(progress=self.tell.progress, phase=self.tell.phase)
        try:
            document = await run_move(wired, request, shown=shown, interruption=interruption)
        except RefusedError as error:
            return {"outcome": "refused", "reason": str(error)}
        except (LabError, DriverError, ConnectionError) as error:
            return {"outcome": "failed", "reason": str(error)}
        finally:
            await wired.close()
        write_move(document, self.out)
        return {
            "outcome": document["outcome"],
            "reason": document["reason"],
            "move": document["move"],
            "total_s": document["total_s"],
            "predicted_s": document["predicted"]["total_s"],
        }


def _outcome_of_move(kept: KeptDecision, moves: Sequence[KnownMove]) -> dict[str, Any]:
    """What came of a decision to move: the end of the first move of its service that was begun after it.

    When a move was begun is known in whole seconds only.
    """
    began = math.floor(kept.at)
    later = [move for move in moves if move.began >= began and move.document["service"] == kept.service]
    if not later:
        return {"outcome": "nothing was begun", "interrupted": True, "move": None}
    first = later[-1]  # they are listed the latest first
    return {"outcome": (first.ended or {}).get("outcome", "open"), "interrupted": True, "move": first.move}


def _without_numbers(reasons: tuple[str, ...]) -> tuple[str, ...]:
    """The reasons without their figures: seconds that pass are no news."""
    return tuple("".join(each for each in reason if not each.isdigit()) for reason in reasons)


async def _wait(enough: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(enough.wait(), seconds)
    except TimeoutError:
        return

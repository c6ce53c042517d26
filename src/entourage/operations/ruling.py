"""Rules at work: look, decide, act, and keep every decision. `entourage run` is this loop."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entourage.drivers.decisions import DecisionRecords
from entourage.lab.errors import LabError
from entourage.lab.place import Place
from entourage.operations.interruption import Interruption
from entourage.operations.moves import RefusedError, run_move
from entourage.operations.recovering import all_moves, take_over
from entourage.operations.reports import write_move
from entourage.operations.rule_files import keep_memory
from entourage.operations.switching import Shown
from entourage.operations.tell import Tell
from entourage.operations.watching import Watcher
from entourage.planner import MoveRequest
from entourage.ports.errors import DriverError
from entourage.rules.deciding import Decided, Decision, Verdict, began, decide, ended
from entourage.rules.memory import Memory
from entourage.rules.rule import RuleSet
from entourage.rules.view import View
from entourage.wiring import wire

LOOK_EVERY_S = 0.4
Told = Callable[[dict[str, Any]], None]  # each decision that is new, and each outcome


@dataclass(slots=True, kw_only=True)
class Ruling:
    """One run of the loop. `told` hears of what is new; `acts` False: decide, tell, and do nothing."""

    place: Place
    rules: RuleSet
    records: DecisionRecords
    tell: Tell
    told: Told
    out: Path
    acts: bool = True
    memory: Memory = field(default_factory=Memory)
    _last: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    async def run(self, interruption: Interruption, *, once: bool = False) -> None:
        """Look and act until somebody wants it to end; `once`: one look, and what it asks for.

        LabError if the lab or its database is gone.
        """
        await self._take_over()
        watcher = Watcher(self.place)
        enough = asyncio.Event()
        with interruption.instead(lambda _: enough.set()):
            while not enough.is_set():
                view = await watcher.look()
                decided = decide(view, self.rules, self.memory)
                self._remember(decided.memory)
                await self._act(decided, view, watcher, interruption, enough)
                if once:
                    return
                await _wait(enough, LOOK_EVERY_S)

    async def _take_over(self) -> None:
        """Bring to its end what one before us has begun, and say so beside its decision."""
        unfinished = self.records.unfinished()
        wired = wire(self.place)
        try:
            await take_over(wired, Shown(progress=self.tell.progress, phase=self.tell.phase))
        finally:
            await wired.close()
        moves = all_moves(self.place)
        for kept in unfinished:
            later = [move for move in moves if move.began >= kept.at]
            last = later[-1] if later else None
            outcome = "nothing was begun" if last is None else (last.ended or {}).get("outcome", "open")
            self._end(
                kept.number, {"outcome": outcome, "interrupted": True, "move": None if last is None else last.move}
            )

    async def _act(
        self, decided: Decided, view: View, watcher: Watcher, interruption: Interruption, enough: asyncio.Event
    ) -> None:
        for decision in self._news(decided):
            number = self._keep(decision, view)
            if decision.verdict is Verdict.DO and self.acts and not enough.is_set():
                await self._do(decision, number, interruption)
                watcher.forget()

    def _remember(self, memory: Memory) -> None:
        if memory is not self.memory:
            self.memory = memory
            keep_memory(self.place, memory)

    def _news(self, decided: Decided) -> list[Decision]:
        """What is to be done, and whatever else is decided otherwise than at the last look."""
        news = []
        for decision in decided.decisions:
            said = (decision.verdict.value, _without_numbers(decision.reasons))
            if decision.verdict is Verdict.DO or self._last.get(decision.key) != said:
                news.append(decision)
            self._last[decision.key] = said
        now = {decision.key for decision in decided.decisions}
        self._last = {key: said for key, said in self._last.items() if key in now}
        return news

    def _keep(self, decision: Decision, view: View) -> int:
        document = {**decision.to_json(), "seen_at": view.taken_at}
        number = self.records.keep(decision.service, document)
        self.told({"number": number, "at": time.time(), **document})
        return number

    def _end(self, number: int, outcome: dict[str, Any]) -> None:
        self.records.end(number, outcome)
        self.told({"number": number, "at": time.time(), **outcome})

    async def _do(self, decision: Decision, number: int, interruption: Interruption) -> None:
        self._remember(began(self.memory, decision, elapsed=time.monotonic()))
        outcome = await self._move(decision, interruption)
        done = outcome["outcome"] == "committed"
        self._remember(ended(self.memory, decision, elapsed=time.monotonic(), done=done))
        self._end(number, outcome)

    async def _move(self, decision: Decision, interruption: Interruption) -> dict[str, Any]:
        assert decision.target is not None
        request = MoveRequest(service=decision.service, target=decision.target, members=decision.members)
        wired = wire(self.place)
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


def _without_numbers(reasons: tuple[str, ...]) -> tuple[str, ...]:
    """The reasons without their figures: seconds that pass are no news."""
    return tuple("".join(each for each in reason if not each.isdigit()) for reason in reasons)


async def _wait(enough: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(enough.wait(), seconds)
    except TimeoutError:
        return

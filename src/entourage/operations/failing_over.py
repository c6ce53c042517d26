"""A failover carried out: the right to act, the members from their replicas, the route, and its report.

Every step can be asked for again, so whoever finds a failover that was begun and did not end begins it again with the
same plan: the takeover is granted once, members that run are left alone, an announcement that is there stays.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from entourage.lab.agents import client
from entourage.lab.errors import LabError
from entourage.lab.place import Lab
from entourage.model.ids import HostId, MemberId
from entourage.operations.driving import driving
from entourage.operations.starting import give_promised, wait_all_ready
from entourage.operations.tell import Tell
from entourage.planner.failover import FailoverPlan
from entourage.ports.errors import TemporaryError
from entourage.ports.hypervisor import RunState
from entourage.quorum.types import agent_of
from entourage.wiring import Wired, replication_of, wire

SCHEMA = "entourage.failover-report/1"
_TAKEN_WITHIN_S, _ASK_AGAIN_S = 20.0, 0.5


class NotGrantedError(LabError):
    """The voters do not let this site act: the other one may still run the service. Nothing was started."""


@dataclass(slots=True)
class _Marks:
    """When each step was done, in seconds since the epoch."""

    at: dict[str, float] = field(default_factory=dict)

    def now(self, what: str) -> None:
        self.at[what] = time.time()


async def fail_over(lab: Lab, plan: FailoverPlan, *, tell: Tell) -> dict[str, Any]:
    """Start the service at the target, and return the report of it.

    NotGrantedError before anything is started; LabError or a DriverError if it does not serve in the end: what was
    started is left, and it may be asked for again.
    """
    marks = _Marks()
    marks.now("began")
    tell.phase(f"{plan.target} asks to act for {plan.lost}")
    epoch, silent_since = await _take_over(lab, plan)
    marks.now("granted")
    place = lab.place(plan.service)
    async with driving(place):
        wired = wire(place)
        try:
            if plan.ingress_first:
                await wired.ingress.activate(place.service, plan.target)
                marks.now("announced")
            data = await _start(wired, plan, tell)
            marks.now("started")
            booted = await wait_all_ready(place, plan.placement, tell.step)
            marks.now("booted")
            await give_promised(wired, plan.placement)
            if not plan.ingress_first:
                await wired.ingress.activate(place.service, plan.target)
                marks.now("announced")
            tell.phase("verifying")
            problems = await wired.drivers.verifier.problems(place.service)
            marks.now("verified")
        finally:
            await wired.close()
    report = _report(plan, marks=marks, booted=booted, problems=problems)
    return {**report, "epoch": epoch, **_ages(data, silent_since)}


def words_of_all(error: BaseException) -> str:
    """What went wrong, in a sentence, also if several things did at once."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(words_of_all(each) for each in error.exceptions)
    return str(error) or type(error).__name__


async def _take_over(lab: Lab, plan: FailoverPlan) -> tuple[int, float | None]:
    """The epoch of the target's takeover, and since when (seconds since 1970) the lost site was silent.

    The takeover names this service and those that were taken over before: the lost site, when it is back, removes
    these, and goes on with others.
    """
    agent = client(lab, agent_of(plan.target))
    answer: dict[str, Any] = {}
    silent_since: float | None = None
    try:
        async with asyncio.timeout(_TAKEN_WITHIN_S):
            while "won" not in answer:
                told = (await agent.status())["sites"][plan.lost]
                heard = [each["heard_s"] for each in told["seen"].values() if each["heard_s"] is not None]
                silent_since = time.time() - min(heard) if heard else None
                taken = told["taken"]
                if taken is not None and taken["by"] == plan.target and plan.service in taken["services"]:
                    return int(taken["epoch"]), silent_since
                answer = await agent.take_over(plan.lost, [plan.service])
                if "refused" in answer:
                    raise NotGrantedError("; ".join(answer["refused"]))
                if "pending" in answer:
                    await asyncio.sleep(_ASK_AGAIN_S)
    except TimeoutError:
        raise NotGrantedError(f"no majority has let {plan.target} act for {plan.lost} yet") from None
    except TemporaryError as error:
        raise NotGrantedError(str(error)) from error
    return int(answer["won"]["epoch"]), silent_since


async def _start(wired: Wired, plan: FailoverPlan, tell: Tell) -> dict[MemberId, float]:
    """Start all that does not run there yet; of which moment each disk is."""
    replication = replication_of(wired.place)
    tell.phase(f"starting {len(plan.placement)} members at {plan.target}")
    data = dict(plan.data)

    async def start(member: MemberId, host: HostId) -> None:
        if await wired.hypervisor.look(member, host) is RunState.RUNNING:
            return
        model = wired.place.service.member(member)
        if member in plan.data:
            data[member] = (await replication.start(model, host)).taken_at
        else:
            await wired.hypervisor.create(model, host)

    await asyncio.gather(*(start(member, host) for member, host in plan.placement.items()))
    return data


def _ages(data: Mapping[MemberId, float], silent_since: float | None) -> dict[str, Any]:
    """How old each disk's data was when the site fell silent: what was written since then is lost."""
    ages = {member: None if silent_since is None else max(0.0, silent_since - at) for member, at in data.items()}
    known = [age for age in ages.values() if age is not None]
    return {
        "silent_since": silent_since,
        "data_of": dict(data),
        "data_age_s": max(known, default=None),
        "data_ages_s": ages,
    }


def _report(
    plan: FailoverPlan, *, marks: _Marks, booted: Mapping[MemberId, float], problems: Sequence[str]
) -> dict[str, Any]:
    at = marks.at
    return {
        "schema": SCHEMA,
        "failover": f"{plan.service}-{datetime.fromtimestamp(at['began'], tz=UTC):%Y%m%d-%H%M%S}",
        "service": plan.service,
        "lost": plan.lost,
        "target": plan.target,
        "outcome": "failed-over" if not problems else "not-served",
        "problems": list(problems),
        "began": at["began"],
        "granted_s": at["granted"] - at["began"],
        "started_s": at["started"] - at["granted"],
        "boot_s": at["booted"] - at["started"],
        "announced_s": at["announced"] - at["began"],
        "total_s": at["verified"] - at["began"],
        "members": [
            {"name": member, "host": host, "boot_s": booted[member] - at["granted"]}
            for member, host in plan.placement.items()
        ],
        "placement": dict(plan.placement),
    }

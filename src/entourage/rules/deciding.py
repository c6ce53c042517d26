"""The decision: from one view, the rules and what is remembered, what is to be done, and what not yet or not at all.

Pure. Whoever acts tells the memory with `began` and `ended`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from entourage.model.ids import HostId, MemberId, ServiceId, SiteId, site_of
from entourage.model.world import Infrastructure
from entourage.planner import MoveRequest, Outlook, Plan, Refusal, off_host, plan
from entourage.planner.failover import FailoverPlan, FailoverRequest, plan_failover
from entourage.rules.condition import ConditionError
from entourage.rules.facts import Facts, Occurrence, World
from entourage.rules.memory import Failed, Memory, Placed, RuleKey
from entourage.rules.occurrences import occurrences
from entourage.rules.rule import Act, Action, Event, Rule, RuleSet
from entourage.rules.values import Value, context, values
from entourage.rules.view import SiteState, View

_HOUR_S = 3600.0
_MOST_PLANS = 50  # moves that are planned in one pass: when one is done, all is decided anew anyway
_NEVER: Mapping[str, float] = {}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 600.0  # after a failure; each further one doubles it


class Verdict(Enum):
    """What is decided of a rule whose condition is true."""

    DO = "do"  # now
    WAIT = "wait"  # it may be done later, without anybody doing anything about it
    CANNOT = "cannot"  # not as things are: somebody has to change something


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict, by which rule, on which service, for what reasons.

    `target` and `members` (None: all) are set for moves; `predicted_s` if there is a plan, `failover` if it is of one.
    `leaves`: the members that are on this host go to others of its site, and no others move.
    """

    rule: str
    service: ServiceId
    action: Action
    verdict: Verdict
    about: Occurrence
    reasons: tuple[str, ...] = ()
    target: SiteId | None = None
    members: frozenset[MemberId] | None = None
    leaves: HostId | None = None
    predicted_s: float | None = None
    failover: FailoverPlan | None = None

    @property
    def key(self) -> RuleKey:
        """The rule and the service."""
        return (self.rule, self.service)

    def request(self, infrastructure: Infrastructure) -> MoveRequest:
        """What is to be moved, for a decision to move it."""
        assert self.target is not None
        if self.leaves is not None:
            return off_host(infrastructure, self.service, self.leaves)
        return MoveRequest(service=self.service, target=self.target, members=self.members)

    def to_json(self) -> dict[str, Any]:
        """The decision as it is kept."""
        return {
            "rule": self.rule,
            "service": self.service,
            "action": str(self.action),
            "verdict": self.verdict.value,
            "about": str(self.about),
            "reasons": list(self.reasons),
            "target": self.target,
            "members": None if self.members is None else sorted(self.members),
            "leaves": self.leaves,
            "predicted_s": self.predicted_s,
            **({} if self.failover is None else {"failover": self.failover.to_json()}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """All decisions of one pass, in the order of services and rules, and what to remember for the next."""

    decisions: tuple[Decision, ...]
    memory: Memory

    def to_do(self) -> tuple[Decision, ...]:
        """Those to act on now."""
        return tuple(decision for decision in self.decisions if decision.verdict is Verdict.DO)


def decide(view: View, rules: RuleSet, memory: Memory, *, only: Iterable[ServiceId] | None = None) -> Decided:
    """What the rules say of the services in the view, or `only` of these. The memory is told of what was seen."""
    deciding = _Deciding(view, rules, memory)
    for service in view.services if only is None else only:
        if service in view.services:
            deciding.look_at(service)
    return Decided(decisions=tuple(deciding.decisions), memory=deciding.remembered())


def began(memory: Memory, decision: Decision, *, elapsed: float) -> Memory:
    """Somebody acts on the decision from now on."""
    recent = tuple(each for each in memory.acted.get(decision.rule, ()) if elapsed - each[0] < _HOUR_S)
    return replace(
        memory,
        acted={**memory.acted, decision.rule: (*recent, (elapsed, decision.service))},
        running={**memory.running, decision.key: elapsed},
        told=memory.told | {decision.key},
    )


def ended(memory: Memory, decision: Decision, *, elapsed: float, done: bool) -> Memory:
    """Whoever acted on the decision is ready; `done`: it is as it should be now."""
    failed = {key: each for key, each in memory.failed.items() if key != decision.key}
    if not done:
        times = memory.failed[decision.key].times if decision.key in memory.failed else 0
        failed[decision.key] = Failed(times=times + 1, last=elapsed)
    running = {key: at for key, at in memory.running.items() if key != decision.key}
    told = memory.told if done else memory.told - {decision.key}
    return replace(memory, failed=failed, running=running, told=told)


class _Prepared:
    """A rule for one pass: what its expression was found to be for observations that were met already is known."""

    __slots__ = ("condition", "known", "names", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.condition = rule.condition
        self.names = () if rule.condition is None else rule.condition.names
        self.known: dict[tuple[Value, ...], bool | str] = {}

    def found(self, facts: Facts, about: Occurrence) -> bool | str:
        """Whether the expression is true; a text says why it cannot be evaluated."""
        if self.condition is None:
            return True
        seen = values(facts, about, self.names)
        found = self.known.get(seen)
        if found is None:
            try:
                found = self.condition.holds(context(self.names, seen))
            except ConditionError as error:
                found = str(error)
            self.known[seen] = found
        return found


class _Deciding:
    """One pass."""

    def __init__(self, view: View, rules: RuleSet, memory: Memory) -> None:
        self.decisions: list[Decision] = []
        self._view, self._memory = view, memory
        self._world = World(view, rules.zone)
        self._now = self._world.now
        due = [rule for rule in rules.rules if rule.at is None or rule.at.has(self._now)]
        self._rules = [(event, [_Prepared(rule) for rule in due if rule.when is event]) for event in Event]
        self._order = {rule.name: number for number, rule in enumerate(rules.rules)}
        self._placed: dict[ServiceId, Placed] = {}
        self._since: dict[ServiceId, dict[str, float]] = {}  # of the services for which it is not as remembered
        self._doing: dict[str, int] = {}
        self._plans = 0

    def look_at(self, service: ServiceId) -> None:
        """Decide on one service by all rules that look at it."""
        remembered = self._memory.placed.get(service)
        facts = Facts(self._world, self._view.services[service], remembered)
        if facts.placed is not remembered:
            self._placed[service] = facts.placed
        true = self._true_of(facts)
        before = self._memory.since.get(service, _NEVER)
        if not true and not before:
            return
        since = {rule.name: before.get(rule.name, self._view.elapsed) for rule, _, _ in true}
        if since != before:
            self._since[service] = since
        if true:
            self._judge(facts, since, true)

    def remembered(self) -> Memory:
        """The memory with what this pass has seen."""
        memory = self._memory
        if self._placed:
            memory = replace(memory, placed={**memory.placed, **self._placed})
        if self._since:
            over = {
                (rule, service)
                for service, since in self._since.items()
                for rule in memory.since.get(service, _NEVER)
                if rule not in since
            }
            since = {service: each for service, each in {**memory.since, **self._since}.items() if each}
            failed = {key: each for key, each in memory.failed.items() if key not in over}
            memory = replace(memory, since=since, failed=failed, told=memory.told - over)
        return memory

    def _true_of(self, facts: Facts) -> list[tuple[Rule, Occurrence, str | None]]:
        """The rules that are true of the service, in their order: each with what it is about first.

        A rule whose expression cannot be evaluated is among them, with the reason.
        """
        true: list[tuple[Rule, Occurrence, str | None]] = []
        for event, prepared in self._rules:
            happened = occurrences(facts, event) if prepared else ()
            for about in happened:
                for each in prepared:
                    found = each.found(facts, about)
                    if found and each.rule.is_for(facts.service) and all(rule is not each.rule for rule, _, _ in true):
                        true.append((each.rule, about, found if isinstance(found, str) else None))
        if len(true) > 1:
            true.sort(key=lambda each: self._order[each[0].name])
        return true

    def _judge(self, facts: Facts, since: Mapping[str, float], true: list[tuple[Rule, Occurrence, str | None]]) -> None:
        lasted = {name: self._view.elapsed - at for name, at in since.items()}
        refusing = [
            rule
            for rule, _, wrong in true
            if rule.do.act is Act.REFUSE and wrong is None and not self._waits(rule, facts, lasted[rule.name])
        ]
        taken: str | None = None  # by which rule
        for rule, about, wrong in true:
            if wrong is not None:
                self.decisions.append(_decision(rule, facts, about, Verdict.CANNOT, wrong))
            elif rule in refusing:
                self.decisions.append(_decision(rule, facts, about, Verdict.DO, "other rules may not move it"))
            elif waits := self._waits(rule, facts, lasted[rule.name]) or self._cannot_move_yet(rule, facts, taken):
                self.decisions.append(_decision(rule, facts, about, Verdict.WAIT, *waits))
            elif refusing and rule.do.act.moves:
                reasons = [f"rule {each.name} refuses it: {each.when.value}" for each in refusing]
                self.decisions.append(_decision(rule, facts, about, Verdict.CANNOT, *reasons))
            else:
                taken = self._decide_now(rule, facts, about) or taken

    def _decide_now(self, rule: Rule, facts: Facts, about: Occurrence) -> str | None:
        """Nothing is to be waited for. The rule's name if it moves the service."""
        if rule.do.act is Act.FAIL_OVER:
            decision = self._failed_over(rule, facts, about)
        elif rule.do.act.moves:
            decision = self._planned(rule, facts, about)
        else:
            decision = _decision(rule, facts, about, Verdict.DO)
        self.decisions.append(decision)
        if decision.verdict is not Verdict.DO:
            return None
        self._doing[rule.name] = self._doing.get(rule.name, 0) + 1
        return rule.name if rule.do.act.moves else None

    def _cannot_move_yet(self, rule: Rule, facts: Facts, taken: str | None) -> list[str]:
        """Why nobody should move the service just now; nothing for a rule that does not."""
        if not rule.do.act.moves:
            return []
        if facts.seen.is_moving:
            return ["a move of it is under way"]
        if facts.wrong:
            return list(facts.wrong)
        if facts.missing and rule.do.act is not Act.FAIL_OVER:
            return [f"{member} runs nowhere" for member in facts.missing]
        if taken is not None:
            return [f"rule {taken} acts on it first"]
        return ["others are looked at first"] if self._plans >= _MOST_PLANS else []

    def _waits(self, rule: Rule, facts: Facts, lasted: float) -> list[str]:
        """What the rule itself waits for."""
        key = (rule.name, facts.service)
        waits = []
        if lasted < rule.hold_s:
            waits.append(f"it is so for {lasted:.1f} s, and must be for {rule.hold_s:g} s")
        if rule.within and not any(window.has(self._now) for window in rule.within):
            opens = min(window.opens(self._now) for window in rule.within)
            waits.append(f"its window opens {opens:%a %H:%M}")
        if key in self._memory.running:
            waits.append("it is being done")
        elif not rule.do.act.moves and key in self._memory.told:
            waits.append("it was done, and is done again only after it has not been so")
        failed = self._memory.failed.get(key)
        if failed is not None:
            pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (failed.times - 1))
            left = failed.last + pause - self._view.elapsed
            if left > 0:
                waits.append(f"it failed {failed.times} times; the next attempt is in {left:.0f} s")
        return waits + self._over_limit(rule)

    def _over_limit(self, rule: Rule) -> list[str]:
        waits = []
        running = sum(name == rule.name for name, _ in self._memory.running) + self._doing.get(rule.name, 0)
        if rule.limit.at_once is not None and running >= rule.limit.at_once:
            waits.append(f"it acts on {running} services now, at most {rule.limit.at_once} at once")
        recent = [at for at, _ in self._memory.acted.get(rule.name, ()) if self._view.elapsed - at < _HOUR_S]
        if rule.limit.per_hour is not None and len(recent) + self._doing.get(rule.name, 0) >= rule.limit.per_hour:
            waits.append(f"it acted {len(recent)} times in the last hour, at most {rule.limit.per_hour}")
        return waits

    def _planned(self, rule: Rule, facts: Facts, about: Occurrence) -> Decision:
        """The decision on a move, by the planner."""
        wishes, no_wish = self._wishes(rule, facts, about)
        reasons: list[str] = []
        is_hopeless = not wishes
        self._plans += 1
        for request in wishes:
            planned = plan(
                self._view.snapshot(facts.service, facts.where),
                request,
                loads=self._view.loads,
                capabilities={member.id: self._view.capabilities for member in facts.seen.service.members},
                stretched=facts.seen.stretched,
                resident=facts.seen.in_use,
            )
            if isinstance(planned, Plan):
                return replace(
                    _decision(rule, facts, about, Verdict.DO, *reasons, planned.strategy_reason),
                    target=request.target,
                    members=request.members,
                    leaves=None if request.onto is None else about.host,
                    predicted_s=planned.total_s,
                )
            reasons += _against(planned, to=_place_of(request))
            is_hopeless = is_hopeless or planned.verdict.code.outlook is not Outlook.NOTHING_TO_DO
        reasons += [no_wish] if no_wish else []
        return _decision(rule, facts, about, Verdict.CANNOT if is_hopeless else Verdict.WAIT, *reasons)

    def _failed_over(self, rule: Rule, facts: Facts, about: Occurrence) -> Decision:
        """The decision on a failover: who may act, and whether it can be done."""
        lost = about.site or facts.site
        may_act = self._view.may_act.get(lost, frozenset())
        targets = [rule.do.to] if rule.do.to is not None else sorted(may_act, key=lambda site: self._rtt(lost, site))
        self._plans += 1
        reasons: list[str] = []
        for target in targets:
            if target not in may_act:
                reasons += [each for each in self._view.why_not.get(lost, ()) if each.startswith(f"{target} ")]
                continue
            planned = plan_failover(
                self._view.snapshot(facts.service, facts.where),
                FailoverRequest(
                    service=facts.service,
                    lost=lost,
                    target=target,
                    without_data=rule.do.without_data,
                    ingress_first=rule.do.ingress_first,
                ),
                loads=self._view.loads,
                replicas=facts.seen.replicas,
            )
            if isinstance(planned, FailoverPlan):
                return replace(
                    _decision(rule, facts, about, Verdict.DO),
                    target=target,
                    predicted_s=planned.predicted_s,
                    failover=planned,
                )
            reasons += _against(planned, to=target)
        if not targets:
            reasons += self._view.why_not.get(lost, ()) or (f"nobody may act for {lost}",)
        return _decision(rule, facts, about, Verdict.CANNOT if may_act else Verdict.WAIT, *reasons)

    def _rtt(self, one: SiteId, other: SiteId) -> float:
        try:
            return self._view.infrastructure.link(one, other).rtt
        except KeyError:
            return math.inf

    def _wishes(self, rule: Rule, facts: Facts, about: Occurrence) -> tuple[list[MoveRequest], str | None]:
        """What the rule wants to be moved, the best first; and why no more than that, if it is so."""
        service = facts.service
        match rule.do.act:
            case Act.FOLLOW:
                sites = sorted({site_of(host) for host in facts.away.values()} or {facts.site})
                if len(sites) > 1:
                    return [], f"members went to {' and '.join(sites)}: it is not known whom to follow"
                return [MoveRequest(service=service, target=sites[0])], None
            case Act.BRING_BACK if facts.away:
                return [MoveRequest(service=service, target=facts.site, members=frozenset(facts.away))], None
            case Act.BRING_BACK:
                return [], "nothing is away"
        if rule.do.to is not None:
            return [MoveRequest(service=service, target=rule.do.to)], None
        # Of a host only those that are on it have to leave; users notice least if they stay at its site.
        near = []
        if about.host is not None and about.member is None:
            near = [off_host(self._view.infrastructure, service, about.host)]
        here = about.site or facts.site
        links = sorted(
            (link.rtt, other)
            for link in self._view.infrastructure.links
            if here in link.sites
            for other in link.sites
            if other != here and self._view.sites.get(other, SiteState.UP) is SiteState.UP
        )
        far = [MoveRequest(service=service, target=site) for _, site in links]
        return [*near, *far], None if far else f"no other site is up that {here} has a link to"


def _decision(rule: Rule, facts: Facts, about: Occurrence, verdict: Verdict, *reasons: str) -> Decision:
    return Decision(
        rule=rule.name, service=facts.service, action=rule.do, verdict=verdict, about=about, reasons=reasons
    )


def _place_of(request: MoveRequest) -> str:
    return request.target if request.onto is None else f"other hosts of {request.target}"


def _against(refusal: Refusal, *, to: str) -> list[str]:
    return [
        f"to {to}: {verdict.code.value}: {reason}"
        for verdict in refusal.verdicts
        for reason in verdict.reasons or ("no reason was given",)
    ]

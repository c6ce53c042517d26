"""What rules see of a service just now, and what they say of it."""

from dataclasses import dataclass
from typing import Any

from entourage.lab.place import Place
from entourage.model.ids import HostId, ServiceId, SiteId
from entourage.operations.rule_files import kept_memory
from entourage.operations.watching import Watcher
from entourage.rules.deciding import decide
from entourage.rules.facts import Facts, Occurrence, World
from entourage.rules.occurrences import occurrences
from entourage.rules.rule import Rule, RuleSet
from entourage.rules.values import Value, values


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRule:
    """One rule: what of its event is so, what its expression sees, and the verdict; that is empty if it is not true.

    `target` and `leaves`: as the decision has them.
    """

    rule: Rule
    about: tuple[str, ...]
    values: dict[str, Value]
    verdict: str
    reasons: tuple[str, ...]
    target: SiteId | None = None
    leaves: HostId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A service as all rules that look at it see it."""

    service: ServiceId
    site: SiteId
    wrong: tuple[str, ...]
    rules: tuple[ExplainedRule, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "service": self.service,
            "site": self.site,
            "odd": list(self.wrong),
            "rules": [
                {
                    "rule": each.rule.name,
                    "when": each.rule.when.value,
                    "so_now": list(each.about),
                    "if": None if each.rule.condition is None else each.rule.condition.text,
                    "sees": each.values,
                    "do": str(each.rule.do),
                    "verdict": each.verdict or None,
                    "target": each.target,
                    "leaves": each.leaves,
                    "reasons": list(each.reasons),
                }
                for each in self.rules
            ],
        }


async def explain_service(place: Place, rules: RuleSet) -> Explained:
    """Look once and decide, with what the running loop remembers, and change nothing."""
    view = await Watcher(place).look()
    memory = kept_memory(place)
    decided = decide(view, rules, memory)
    said = {each.rule: each for each in decided.decisions}
    facts = Facts(World(view, rules.zone), view.services[place.service.id], memory.placed.get(place.service.id))
    explained = []
    for rule in rules.rules:
        if not rule.is_for(facts.service):
            continue
        happened = occurrences(facts, rule.when)
        decision = said.get(rule.name)
        explained.append(
            ExplainedRule(
                rule=rule,
                about=tuple(about.subject or "it is so" for about in happened),
                values=_values(facts, rule, decision.about if decision else next(iter(happened), None)),
                verdict=decision.verdict.value if decision else "",
                reasons=decision.reasons if decision else (),
                target=decision.target if decision else None,
                leaves=decision.leaves if decision else None,
            )
        )
    return Explained(service=facts.service, site=facts.site, wrong=facts.wrong, rules=tuple(explained))


def _values(facts: Facts, rule: Rule, about: Occurrence | None) -> dict[str, Value]:
    """What the rule's expression names, with its value now."""
    if rule.condition is None:
        return {}
    names = rule.condition.names
    return dict(zip(names, values(facts, about or Occurrence(event=rule.when), names), strict=True))

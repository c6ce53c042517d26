"""Whether a rule that is in force forbids to move a service just now."""

from entourage.lab.errors import LabError
from entourage.lab.place import Lab
from entourage.operations.rule_files import has_rules, in_force, kept_memory
from entourage.operations.watching import Watcher
from entourage.planner import Code, MoveRequest, Refusal, Verdict
from entourage.rules.deciding import Verdict as Decided
from entourage.rules.deciding import decide
from entourage.rules.rule import Act


async def refused_by_rule(lab: Lab, request: MoveRequest) -> Refusal | None:
    """The refusal with the rules that say so; None if none does, or no rules are in force.

    LabError if the rules that are in force cannot be used any more: nobody knows what they would have forbidden.
    """
    if not has_rules(lab):
        return None
    try:
        rules = in_force(lab).parse(lab, tries=False)  # they were tried when they came into force
    except ValueError as error:
        raise LabError(f"the rules in force cannot be read any more; entourage rules says why ({error})") from error
    if not any(rule.do.act is Act.REFUSE for rule in rules.rules):
        return None
    decided = decide(await Watcher(lab).look(), rules, kept_memory(lab))
    verdicts = tuple(
        Verdict(code=Code.RULE, said_by=f"rule {each.rule}", reasons=(f"it refuses moves: {each.about}",))
        for each in decided.decisions
        if each.service == request.service and each.action.act is Act.REFUSE and each.verdict is Decided.DO
    )
    return Refusal(service=request.service, target=request.target, verdicts=verdicts) if verdicts else None

"""`entourage run`, `explain`, `rules` and `decisions`."""

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from entourage.cli.exits import need_root
from entourage.cli.output import show, show_json, show_json_line, table
from entourage.cli.rule_commands import Decisions, Explain, Rules, Run
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.drivers.decisions import DecisionRecords
from entourage.lab.leftovers import exclusive_rules
from entourage.lab.place import Lab, open_lab, open_place
from entourage.operations.deeds import check_deeds
from entourage.operations.explaining import Explained, explain_service
from entourage.operations.interruption import Interruption
from entourage.operations.rule_files import RuleText, in_force, kept_memory, put_in_force, read_rule_file
from entourage.operations.ruling import Ruling
from entourage.operations.tell import Tell
from entourage.rules.observations import OBSERVATIONS
from entourage.rules.rule import Rule, RuleSet

_STYLES = {"do": "bold cyan", "wait": "yellow", "cannot": "bold red", "committed": "green"}


def run_rules(wanted: Run) -> None:
    """Watch, decide and act."""
    need_root("run")
    lab = open_lab(wanted.lab)
    text = _rules_of(lab, wanted)
    rules = text.parse(lab)
    check_deeds(rules)
    # Who only decides may do so beside a run that acts, and leaves it its rules.
    alone = nullcontext() if wanted.only_decide else exclusive_rules(lab.name)
    with alone, telling(as_json=wanted.as_json) as tell:
        if not wanted.only_decide:
            put_in_force(lab, text)
        records = DecisionRecords(lab.moves_url)
        try:
            ruling = Ruling(
                lab=lab,
                rules=rules,
                records=records,
                tell=tell,
                told=show_json_line if wanted.as_json else lambda news: _tell_news(tell, news),
                out=wanted.out,
                acts=not wanted.only_decide,
                memory=kept_memory(lab),
            )
            services = ", ".join(kept.id for kept in lab.services) or "no service yet"
            tell.note(f"{len(rules.rules)} rules of {text.file} look at {services} in lab {lab.name}")

            async def work(interruption: Interruption) -> None:
                await ruling.run(interruption, once=wanted.once)

            run(work, heard=lambda why: tell.note(f"{why}: what has not committed is put back"))
        finally:
            records.close()


def explain(wanted: Explain) -> None:
    """Show what rules see."""
    need_root("explain")
    place = open_place(wanted.lab, service=wanted.service)
    rules = _rules_of(place, wanted).parse(place)
    explained = run(lambda _: explain_service(place, rules))
    if wanted.as_json:
        show_json(explained.to_json())
    else:
        show(*_explanation(explained))


def rules(wanted: Rules) -> None:
    """Show rules, or what they may name."""
    if wanted.observations:
        _show_observations(as_json=wanted.as_json)
        return
    lab = open_lab(wanted.lab)
    text = _rules_of(lab, wanted)
    found = text.parse(lab)
    if wanted.as_json:
        show_json({"file": text.file, "rules": [_rule_json(rule) for rule in found.rules]})
    else:
        show(_rule_table(found))


def decisions(wanted: Decisions) -> None:
    """List them."""
    need_root("decisions")
    lab = open_lab(wanted.lab)
    records = DecisionRecords(lab.moves_url)
    try:
        kept = records.latest(service=wanted.service, most=wanted.most)
    finally:
        records.close()
    if not kept and wanted.service is not None:
        lab.place(wanted.service)  # decisions outlive their service, so only a name without any may be a wrong one
    if wanted.as_json:
        show_json({"lab": lab.name, "decisions": [each.to_json() for each in kept]})
        return
    rows = []
    for each in kept:
        outcome = each.outcome or {}
        said = outcome.get("reason") or "; ".join(each.document["reasons"])
        verdict = str(each.document["verdict"])
        came = str(outcome.get("outcome", ""))
        rows.append(
            (
                f"{datetime.fromtimestamp(each.at).astimezone():%Y-%m-%d %H:%M:%S}",
                each.service,
                each.document["rule"],
                Text(verdict, style=_STYLES.get(verdict, "")),
                f"{each.document['action']}{_way(each.document, ' → ')}",
                Text(came, style=_STYLES.get(came, "bold red")),
                said,
            )
        )
    head = ("at", "service", "rule", "verdict", "action", "outcome", "why")
    show(table(head, rows) if rows else "nothing was decided yet")


def _rules_of(lab: Lab, wanted: Run | Explain | Rules) -> RuleText:
    return in_force(lab) if wanted.rules is None else read_rule_file(wanted.rules)


def _way(decision: Mapping[str, Any], to: str) -> str:
    """Where a decision moves to, if it is of a move."""
    if decision.get("leaves"):  # decisions that were kept by an earlier version do not say
        return f", off {decision['leaves']}{to}other hosts of {decision['target']}"
    return f"{to}{decision['target']}" if decision["target"] else ""


def _tell_news(tell: Tell, news: Mapping[str, Any]) -> None:
    if "verdict" not in news:
        took = ""
        if news.get("total_s") is not None:
            took = f" in {news['total_s']:.1f} s"
        if news.get("predicted_s") is not None:
            took += f", predicted {news['predicted_s']:.1f} s"
        if news.get("data_age_s") is not None:
            took += f", with data that was {news['data_age_s']:.1f} s old"
        because = f": {news['reason']}" if news.get("reason") else ""
        tell.note(f"decision {news['number']}: {news['outcome']}{took}{because}")
        return
    because = f" ({'; '.join(news['reasons'])})" if news["reasons"] else ""
    what = f"{news['action']} {news['service']}{_way(news, ' to ')}"
    tell.note(f"decision {news['number']}: rule {news['rule']}: {news['verdict']} {what}, for {news['about']}{because}")


def _explanation(explained: Explained) -> list[RenderableType]:
    lines: list[RenderableType] = [Text(f"{explained.service} is at {explained.site}", style="bold")]
    lines += [Text(f"odd: {each}", style="bold red") for each in explained.wrong]
    for each in explained.rules:
        style = _STYLES.get(each.verdict, "")
        head = Text(f"rule {each.rule.name}: ", style="bold").append(each.verdict or "not true", style=style)
        lines.append(head)
        lines.append(f"  when {each.rule.when.value}: {', '.join(each.about) or 'not so now'}")
        if each.rule.condition is not None:
            lines.append(f"  if   {each.rule.condition.text}")
            lines += [f"         {name} = {value!r}" for name, value in each.values.items()]
        lines.append(f"  do   {each.rule.do}{_way({'target': each.target, 'leaves': each.leaves}, ' to ')}")
        lines += [f"  {reason}" for reason in each.reasons]
    if not explained.rules:
        lines.append("no rule looks at it")
    return lines


def _rule_table(found: RuleSet) -> RenderableType:
    rows = [
        (
            rule.name,
            rule.when.value,
            "" if rule.condition is None else rule.condition.text,
            str(rule.do),
            "all" if rule.services is None else ", ".join(sorted(rule.services)),
            f"{rule.hold_s:g} s" if rule.hold_s else "",
        )
        for rule in found.rules
    ]
    return table(("rule", "when", "if", "do", "for", "hold"), rows)


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "line": rule.line,
        "when": rule.when.value,
        "if": None if rule.condition is None else rule.condition.text,
        "do": str(rule.do),
        "for": None if rule.services is None else sorted(rule.services),
        "hold_s": rule.hold_s,
    }


def _show_observations(*, as_json: bool) -> None:
    if as_json:
        show_json([{"name": each.path, "type": each.kind.value, "says": each.says} for each in OBSERVATIONS])
    else:
        show(table(("name", "type", "says"), [(each.path, each.kind.value, each.says) for each in OBSERVATIONS]))

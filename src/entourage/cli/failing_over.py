"""`entourage test-failover`."""

from pathlib import Path
from typing import Any

from rich.text import Text

from entourage.cli.exits import Exit, UsageError, need_root
from entourage.cli.output import show, show_json, table
from entourage.cli.rule_commands import TestFailover
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.lab.place import open_lab
from entourage.operations.reports import write_failover_test
from entourage.operations.trying_failover import clean_up, try_failover
from entourage.operations.words import site_named


def test_failover(wanted: TestFailover) -> Exit:
    """Try it, and show what came of it."""
    need_root("test-failover")
    lab = open_lab(wanted.lab)
    service = lab.place(wanted.service).service.id
    if wanted.clean_up:
        run(lambda _: clean_up(lab, service))
        if wanted.as_json:
            show_json({"service": service, "left_over": []})
        else:
            show(f"nothing of a test of {service} is there")
        return Exit.DONE
    if wanted.to is None:
        raise UsageError(f"where to? write --to SITE; sites are {', '.join(s.id for s in lab.infrastructure.sites)}")
    target = site_named(lab, wanted.to)
    with telling(as_json=wanted.as_json) as tell:
        report = run(lambda _: try_failover(lab, service, target, without_data=wanted.without_data, tell=tell))
    path = write_failover_test(report, wanted.out)
    if wanted.as_json:
        show_json(report)
    else:
        _show(report, path)
    return Exit.DONE if report["outcome"] == "served" else Exit.FAILED


test_failover.__test__ = False  # type: ignore[attr-defined] # for pytest its name looks like a test's


def _show(report: dict[str, Any], path: Path) -> None:
    served = report["outcome"] == "served"
    words = f"{report['service']} {'served' if served else 'did not serve'} at {report['target']} in a bubble"
    age = report["data_age_s"]
    rows = [
        ("answers after", f"{report['answers_s']:.1f} s"),
        ("data was", "none: no disk has a replica" if age is None else f"{age:.1f} s old"),
        ("requests answered", report["requests"]["answered"]),
        ("request p50", "" if report["requests"]["p50_ms"] is None else f"{report['requests']['p50_ms']:.1f} ms"),
        ("left over", ", ".join(report["left_over"]) or "nothing"),
    ]
    problems = [Text(f"problem: {each}", style="bold red") for each in report["problems"]]
    show(Text(words, style="bold green" if served else "bold red"), table(("", ""), rows), *problems, f"report: {path}")

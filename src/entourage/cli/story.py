"""`entourage demo`."""

from typing import Any

from rich.text import Text

from entourage.chaos.cases import Case
from entourage.chaos.lab import Lab
from entourage.chaos.noisy import noisy_story
from entourage.cli.commands import Demo
from entourage.cli.exits import Exit, need_root
from entourage.cli.output import files, show, show_json, table
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.lab.place import new_place
from entourage.operations.demo import run_demo
from entourage.operations.examples import example_texts
from entourage.operations.reports import DEMO, write_demo, write_noisy
from entourage.operations.users import Load
from entourage.report import demo_table
from entourage.report.values import ms


def demo(wanted: Demo) -> Exit:
    """Tell the story, and show its report."""
    need_root("demo")
    if wanted.kill:
        return _killed(wanted)
    if wanted.noisy:
        return _noisy(wanted)
    texts = example_texts()
    with telling(as_json=wanted.as_json) as tell:
        tell.phase(f"bringing lab {wanted.lab} up")
        place = new_place(wanted.lab, texts)

        async def work(_: object) -> dict[str, Any]:
            load = Load(sessions=wanted.sessions)
            return await run_demo(place=place, texts=texts, load=load, out=wanted.out / DEMO, tell=tell)

        document = run(work)
        kept = write_demo(document, wanted.out)
    if wanted.as_json:
        show_json(document)
    else:
        show(demo_table(document), *files(kept))
    moves = [move for act in document["acts"] for move in [act["move"], *(act.get("moves_back") or [])] if move]
    return Exit.DONE if all(move["outcome"] == "committed" for move in moves) else Exit.FAILED


def _killed(wanted: Demo) -> Exit:
    """Two moves whose orchestrators are killed: as all stand still, and when the commit is recorded."""
    cases = [Case(name=f"killed in {state}", state=state) for state in ("draining", "resuming")]
    load = Load(sessions=wanted.sessions)
    with telling(as_json=wanted.as_json) as tell:

        async def work(_: object) -> list[dict[str, Any]]:
            results = []
            async with Lab(wanted.lab, load=load, users=wanted.out / DEMO / "users", tell=tell) as lab:
                for number, case in enumerate(cases, 1):
                    tell.act(number, f"A move whose orchestrator is {case.name}")
                    results.append(await lab.try_case(case))
            return results

        results = run(work)
    if wanted.as_json:
        show_json({"moves": results})
    else:
        show(table(_KILL_COLUMNS, [_kill_row(result) for result in results]), Text(_KILL_WORDS, style="dim"))
    whole = all(r["ended"] != "halfway" and not r["left_over"] and not r["sessions"]["reset"] for r in results)
    return Exit.DONE if whole else Exit.FAILED


def _noisy(wanted: Demo) -> Exit:
    """The chain's latency beside noisy neighbours, nothing promised and then real-time CPU promised."""
    with telling(as_json=wanted.as_json) as tell:
        out = wanted.out / DEMO / "packets"
        out.mkdir(parents=True, exist_ok=True)
        document = run(lambda _: noisy_story(wanted.lab, out, for_s=_NOISY_S, tell=tell))
        kept = write_noisy(document, wanted.out)
    if wanted.as_json:
        show_json(document)
    else:
        show(table(_NOISY_COLUMNS, [_noisy_row(case) for case in document["cases"]]), *files(kept))
    return Exit.DONE


_NOISY_S = 20.0  # of each act: twenty packets are beyond p99.9 then
_NOISY_COLUMNS = ("the service is", "packets", "lost", "p50", "p99", "p99.9", "longest")


def _noisy_row(case: dict[str, Any]) -> tuple[str, ...]:
    figures = (ms(case[name]) for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms"))
    return (case["name"], str(case["packets"]), str(case["lost"]), *figures)


_KILL_COLUMNS = ("orchestrator", "the move is", "everything runs at", "longest gap", "sessions alive", "left over")
_KILL_WORDS = (
    "Killed before the commit everything goes back, after it everything goes on. While members stand still, a guard on"
    " each host runs them again within ms; what is left to do is done by whoever the guard starts, or the next command."
)


def _kill_row(result: dict[str, Any]) -> tuple[str, ...]:
    sessions, side = result["sessions"], result["ended"]
    return (
        result["name"],
        result["outcome"],
        f"{side} ({result[side]})" if side in result else "both sites: HALFWAY",
        ms(result["outage_s"] * 1000),
        f"{sessions['survived']} of {sessions['opened']}",
        ", ".join(result["left_over"]) or "nothing",
    )

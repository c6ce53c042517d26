"""`entourage demo`."""

from typing import Any

from entourage.cli.commands import Demo
from entourage.cli.exits import Exit, need_root
from entourage.cli.output import files, show, show_json
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.lab.place import new_place
from entourage.operations.demo import run_demo
from entourage.operations.examples import example_texts
from entourage.operations.reports import DEMO, write_demo
from entourage.operations.users import Load
from entourage.report import demo_table


def demo(wanted: Demo) -> Exit:
    """Tell the story, and show its report."""
    need_root("demo")
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

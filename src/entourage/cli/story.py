"""`entourage demo`."""

from __future__ import annotations

from typing import Any

from entourage.cli import options
from entourage.cli.exits import Exit
from entourage.cli.labs import read_specs
from entourage.cli.moving import OUT
from entourage.cli.options import DEMO_LAB

DEMO_EXAMPLES = options.epilog("entourage demo", "entourage demo --sessions 200 --out reports", "entourage demo --json")


def demo(
    out: options.Out = OUT,
    sessions: options.Sessions = 1000,
    lab: options.Lab = DEMO_LAB,
    as_json: options.Json = False,
) -> int:
    """The story: a service at one site; only its servers moved, as live migration does today; its whole path moved.

    Brings a lab of its own up, measures every act with the same live sessions, and takes the lab down.
    """
    options.need_root("demo")
    from entourage.cli.output import show, show_json
    from entourage.cli.running import run
    from entourage.cli.telling import telling
    from entourage.lab.place import new_place
    from entourage.operations.demo import run_demo
    from entourage.operations.reports import write_demo
    from entourage.operations.users import Load
    from entourage.report import demo_table

    texts = read_specs(None, None)
    with telling(as_json=as_json) as tell:
        place = new_place(lab, texts)

        async def work(_: object) -> dict[str, Any]:
            return await run_demo(place=place, texts=texts, load=Load(sessions=sessions), out=out / "demo", tell=tell)

        document = run(work)
        kept = write_demo(document, out)
    if as_json:
        show_json(document)
    else:
        show(demo_table(document), f"report: {kept.json}", f"page:   {kept.html.absolute().as_uri()}")
    return Exit.DONE if all(move["outcome"] == "committed" for move in _moves(document)) else Exit.FAILED


def _moves(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [move for act in document["acts"] for move in [act["move"], *(act.get("moves_back") or [])] if move]

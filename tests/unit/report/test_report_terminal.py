"""Terminal output: plain without a terminal, coloured with one, and never markup from a user's name."""

import io

from report_sample import demo_document, move
from rich.console import Console, RenderableType

from entourage.report import demo_table, move_table, path_strip, path_text


def printed(what: RenderableType, *, terminal: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=160, force_terminal=terminal, color_system="standard" if terminal else None
    )
    console.print(what)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


TROMBONE = demo_document()["acts"][1]["paths"][0]


def test_without_a_terminal_there_are_no_ansi_codes() -> None:
    for what in (demo_table(demo_document()), move_table(move()), path_text(TROMBONE), path_strip(TROMBONE)):
        assert "\x1b" not in printed(what)


def test_crossings_are_red_on_a_terminal() -> None:
    assert "\x1b[1;31m" in printed(path_strip(TROMBONE), terminal=True)


def test_a_strip_marks_each_crossing() -> None:
    assert printed(path_strip(TROMBONE)).strip() == (
        "users-east → provider-east → edge-east → rt → fw → lb ⇄ web1 ⇄ lb → fw → rt → edge-east → provider-east"
        " → users-east"
    )


def test_the_tree_marks_as_many_hops_as_there_are_crossings() -> None:
    text = printed(path_text(TROMBONE))
    assert text.count("⇄") == TROMBONE["inter_site_crossings"] == 2
    assert "⇄ web1 (server at west/h2)  inter-site 25 ms" in text


def test_a_demo_has_a_row_for_each_act_with_its_crossings() -> None:
    rows = printed(demo_table(demo_document())).splitlines()
    second = next(row for row in rows if "2 Only the servers move to west" in row)
    assert "⇄ 2" in second
    assert "57.4 ms" in second
    assert any("nothing left over" in row for row in rows)


def test_a_move_says_what_was_predicted_measured_and_left_over() -> None:
    text = printed(move_table(move(left_over=["tap lab-rt-0"], blackout_ms=None)))
    assert "WARNING: 1 thing left over" in text
    assert "tap lab-rt-0" in text
    blackout = next(row for row in text.splitlines() if row.strip().startswith("blackout"))
    assert blackout.strip().split(maxsplit=3)[1:] == ["262", "ms", "not measured"]


def test_names_are_never_read_as_markup() -> None:
    document = move()
    document["members"][0]["name"] = "[red]rt[/red]"
    assert "[red]rt[/red]" in printed(move_table(document))
    assert "[/x]" in printed(path_strip({**TROMBONE, "hops": [{**TROMBONE["hops"][0], "name": "[/x]"}]}))

"""Files that are written in one step, while others are."""

import os
from pathlib import Path

import pytest

from entourage.lab import kept


def test_two_that_write_a_report_and_its_page_at_once_write_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def the_other_comes(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        kept.write_whole(tmp_path / "move.html", "<p>")
        replace(source, target)

    monkeypatch.setattr(os, "replace", the_other_comes)
    kept.write_whole(tmp_path / "move.json", "{}")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"move.json": "{}", "move.html": "<p>"}

"""Moves that did not end stand in the way of others."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.engine.known import KnownMove
from entourage.lab.errors import LabError
from entourage.operations.interruption import Interruption
from entourage.operations.moves import run_admitted
from entourage.operations.switching import Shown


def test_nothing_is_moved_while_another_move_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    left = KnownMove(move="shop-1", began=0.0, document={}, ended=None, executor=None)
    ended = KnownMove(move="shop-0", began=0.0, document={}, ended={"outcome": "committed"}, executor=None)
    monkeypatch.setattr("entourage.operations.recovering.all_moves", lambda _: [left, ended])
    wired: Any = SimpleNamespace(place=SimpleNamespace(name="t-open"))
    nobody: Any = None
    shown = Shown(progress=lambda _: None, phase=lambda _: None)

    async def moved() -> None:
        await run_admitted(wired, nobody, nobody, shown=shown, interruption=Interruption())

    with pytest.raises(LabError, match=r"shop-1 did not end, .* before; entourage recover --lab t-open"):
        asyncio.run(moved())

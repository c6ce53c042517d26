"""The loop of rules keeps the replicas of services that want some."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruling_world import FOLLOW, MODULE, World

from entourage.lab.errors import LabError


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    made = World(monkeypatch, tmp_path)
    yield made
    made.records.close()


def test_replicas_are_kept_meanwhile_and_end_with_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    ended: list[str] = []

    async def replicate(place: Any, **_: Any) -> None:
        begun.append(place.service.id)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(place.service.id)

    monkeypatch.setattr(f"{MODULE}.replicate", replicate)
    world.run(FOLLOW, after=[1] * 5, replicates=True)
    assert (begun, ended) == (["shop"], ["shop"])


def test_that_another_process_keeps_replicas_is_said_once_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MODULE}._TRY_AGAIN_S", 0)
    tries: list[str] = []

    async def replicate(place: Any, **_: Any) -> None:
        tries.append(place.service.id)
        raise LabError("another process keeps them")

    monkeypatch.setattr(f"{MODULE}.replicate", replicate)
    world.run(FOLLOW, after=[1] * 10, replicates=True)
    assert len(tries) > 1
    assert world.notes.notes == ["replicas of shop: another process keeps them"]

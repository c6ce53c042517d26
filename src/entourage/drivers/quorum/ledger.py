"""An agent's durable memory: one small file, replaced whole and flushed before anybody is told what is in it."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from entourage.drivers.quorum.wire import takeover_from
from entourage.quorum.types import Entry, Ledger


def read_ledger(path: Path) -> Ledger:
    """What was kept; an empty one if there is no file. ValueError or KeyError if the file is damaged."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return Ledger()
    return Ledger(
        starts=data["starts"],
        entries={site: _entry(entry) for site, entry in data["entries"].items()},
        won=tuple(takeover_from(each) for each in data["won"]),
    )


def write_ledger(path: Path, ledger: Ledger) -> None:
    """Keep it: it is on the disk when this returns. OSError if it cannot be."""
    aside = path.with_suffix(".new")
    with aside.open("w") as file:
        json.dump(asdict(ledger), file)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _entry(data: dict[str, Any]) -> Entry:
    granted = data["granted"]
    return Entry(**{**data, "granted": None if granted is None else takeover_from(granted)})

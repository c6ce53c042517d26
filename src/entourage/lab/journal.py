"""A move's journal as a file: a JSON line for each entry, on stable storage when `write` returns."""

import asyncio
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class FileJournal:
    """`entourage.ports.journal.Journal` in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def write(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append an entry and wait for the disk (fsync)."""
        line = json.dumps({"at": time.time(), "kind": kind, **data}) + "\n"
        await asyncio.to_thread(self._append, line.encode())

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

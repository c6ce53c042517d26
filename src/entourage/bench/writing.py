"""Where a benchmark's document goes."""

import json
from pathlib import Path
from typing import Any


def keep(document: dict[str, Any], path: Path) -> None:
    """Write the document into its file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".part")
    half.write_text(json.dumps(document, indent=1))
    half.replace(path)


def show(document: dict[str, Any], path: Path) -> None:
    """Show its summary and where it is."""
    print(json.dumps(document["summary"], indent=1))  # noqa: T201
    print(f"written: {path}")  # noqa: T201

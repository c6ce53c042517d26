"""What is in a benchmark's document, and where it goes."""

import json
from pathlib import Path
from typing import Any


def ratio(value: float | None, to: float | None) -> float | None:
    """Of two figures, rounded; None without one of them, or to nothing."""
    return round(value / to, 3) if value is not None and to else None


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

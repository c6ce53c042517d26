"""Where a benchmark's document goes."""

import json
from pathlib import Path
from typing import Any


def write(document: dict[str, Any], path: Path) -> None:
    """Keep the document, and show its summary and where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1))
    print(json.dumps(document["summary"], indent=1))  # noqa: T201
    print(f"written: {path}")  # noqa: T201

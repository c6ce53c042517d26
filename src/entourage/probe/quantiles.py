"""Quantiles of measured values."""

from collections.abc import Iterable
from math import ceil


def quantile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least `share` (0 < share ≤ 1) of all are no greater than; None of no values.

    Nearest rank: always a value that was measured, never one between two.
    """
    ordered = sorted(values)
    return ordered[ceil(share * len(ordered)) - 1] if ordered else None

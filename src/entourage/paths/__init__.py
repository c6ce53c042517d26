"""Which way packets go, now or after a move, and what the detours cost. Pure: a snapshot in, a path out."""

from entourage.paths.path import Ending, Hop, HopKind, HopLink, Path, to_json
from entourage.paths.tracing import after_move, spanning_segments, trace

__all__ = ["Ending", "Hop", "HopKind", "HopLink", "Path", "after_move", "spanning_segments", "to_json", "trace"]

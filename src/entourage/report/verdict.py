"""What a document says in one sentence, and whether that is good news."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from entourage.report import values


class Verdict(NamedTuple):
    """A sentence with the numbers that matter; `good` is None where a needed figure was not measured."""

    text: str
    good: bool | None


def crossings(paths: Sequence[Mapping[str, Any]]) -> int | None:
    """The most inter-site crossings that any of the paths has; None without paths."""
    return max((int(path.get("inter_site_crossings") or 0) for path in paths), default=None)


def paths_of(paths: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The paths of all regions from one side ("before", "after") of a move report's `path`."""
    if not paths:
        return []
    regions = paths.get("regions")
    if regions:
        return [{"region": name, **path} for name, path in regions.items()]
    hops = paths.get("hops") or []
    if not hops:
        return []
    return [{"region": hops[0]["name"], "return_hops": [], **paths}]


def of_sessions(sessions: Mapping[str, Any] | None) -> str:
    """ "1,000 of 1,000 sessions alive"."""
    opened, survived = values.part(sessions or {}, "opened"), values.part(sessions or {}, "survived")
    if opened is None or survived is None:
        return f"sessions {values.NOT_MEASURED}"
    return f"{survived:,} of {opened:,} sessions alive"


def of_move(move: Mapping[str, Any], *, sessions: Mapping[str, Any] | None = None) -> Verdict:
    """The verdict on one move. `sessions` stand in for the move's own, where a whole story counts them."""
    counted = sessions or move.get("sessions")
    alive, blackout = of_sessions(counted), f"blackout {values.ms(move.get('blackout_ms'))}"
    left_over = move.get("left_over") or []
    if move.get("outcome") != "committed":
        return Verdict(f"Nothing moved: rolled back, {alive}, {blackout}", good=False)
    after = crossings(paths_of(values.part(move, "path", "after")))
    if move.get("source") == move.get("target"):  # the paths are as they were
        members = values.plural(len(move.get("members") or ()), "member")
        text = f"{members} moved within {move.get('target')}: {alive}, {blackout}"
        return _unless(left_over, text, counted)
    if after:
        members = values.plural(len(move.get("members") or ()), "member")
        times = values.plural(after, "time")
        return Verdict(
            f"Only {members} moved: every request now crosses the inter-site link {times}, {alive}", good=False
        )
    text = f"The whole path moved: {alive}, {blackout}" if after == 0 else f"Moved: {alive}, {blackout}"
    if move.get("split_ms"):
        return Verdict(f"{text}, but split over both sites for {values.ms(move['split_ms'])}", good=False)
    return _unless(left_over, text, counted)


def of_demo(document: Mapping[str, Any]) -> Verdict:
    """The verdict on a story: that of its group move, with the sessions of the whole story."""
    for act in document.get("acts") or ():
        if act.get("kind") == "group" and act.get("move"):
            return of_move(act["move"], sessions=document.get("sessions"))
    return Verdict("The story ended before the whole group moved", good=False)


def of_act(act: Mapping[str, Any]) -> Verdict:
    """The verdict on the paths of one act."""
    crossed = crossings(act.get("paths") or [])
    if crossed is None:
        return Verdict(f"paths {values.NOT_MEASURED}", good=None)
    lost = [path for path in act["paths"] if not path.get("return_hops")]
    if lost:
        return Verdict(f"not delivered from {lost[0]['region']}: {lost[0].get('ending')}", good=False)
    if crossed == 0:
        return Verdict("direct: 0 inter-site crossings", good=True)
    added = [path["added_ms"] for path in act["paths"] if path.get("added_ms") is not None]
    cost = f"+{values.ms(max(added))}" if added else f"added time {values.NOT_MEASURED}"
    return Verdict(f"trombone: {values.plural(crossed, 'inter-site crossing')}, {cost} per round trip", good=False)


def _unless(left_over: Sequence[object], text: str, sessions: Mapping[str, Any] | None) -> Verdict:
    if left_over:
        return Verdict(f"{text}, but something was left over", good=False)
    return Verdict(text, good=_unharmed(sessions))


def _unharmed(sessions: Mapping[str, Any] | None) -> bool | None:
    opened, survived = values.part(sessions or {}, "opened"), values.part(sessions or {}, "survived")
    return None if opened is None or survived is None else opened == survived

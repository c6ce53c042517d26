"""Whether a move finds the licences that it needs while both copies of its members exist."""

from collections.abc import Mapping

from entourage.licences import Shortage, admit, ways_of
from entourage.model.ids import HostId, MemberId, MoveId
from entourage.model.licences import LicensedMove
from entourage.model.units import format_seconds
from entourage.planner.plan import Caveat, CaveatCode
from entourage.planner.scope import Scope
from entourage.planner.verdict import Code, Verdict


def check_licences(
    scope: Scope, placement: Mapping[MemberId, HostId], together_s: float | None = None
) -> Verdict | None:
    """What stands against the move to `placement`; None if it finds its seats, or nobody counts them.

    `together_s`: how long both copies will exist, if that is known.
    """
    snapshot = scope.snapshot
    licences = snapshot.infrastructure.licences
    if licences is None:
        return None
    ways = ways_of(licences, snapshot.service, sources=snapshot.placement, targets=placement)
    move = LicensedMove(move=MoveId(""), began=snapshot.taken_at, is_open=True, ways=ways)
    found = admit(licences, snapshot.holdings, move, at=snapshot.taken_at, together_s=together_s)
    if isinstance(found, Shortage):
        return Verdict(code=Code.LICENCE, said_by="licences", reasons=found.reasons)
    return None


def grace_caveats(scope: Scope) -> list[Caveat]:
    """What a move that waits for somebody's approval cannot promise: to be over within the grace times."""
    licences = scope.snapshot.infrastructure.licences
    graces = {
        member.id: grace_s
        for member in scope.members
        if licences is not None
        and member.licence is not None
        and (grace_s := licences.product(member.licence).grace_s) is not None
    }
    if not graces:
        return []
    member, grace_s = min(graces.items(), key=lambda each: each[1])
    text = f"held for longer than {format_seconds(grace_s)}, {member} has two copies for longer than its vendor allows"
    return [Caveat(code=CaveatCode.LICENCE_GRACE, text=text)]

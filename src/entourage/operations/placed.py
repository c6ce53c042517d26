"""Where Entourage itself has put members: whoever is elsewhere was moved by somebody else."""

from dataclasses import dataclass

from entourage.drivers.decisions import DecisionRecords, KeptDecision
from entourage.drivers.records import RecordsError
from entourage.lab.errors import LabError
from entourage.lab.place import Lab, Place
from entourage.model.ids import HostId, MemberId, SiteId
from entourage.operations.recovering import all_moves


@dataclass(frozen=True, slots=True, kw_only=True)
class PastFailover:
    """A failover that was carried out: `at` (seconds since the epoch), from the site that was `lost`."""

    at: float
    lost: SiteId


def last_failover(place: Place) -> PastFailover | None:
    """The service's last one since it was made; None if there was none. LabError if nobody can tell."""
    for each in _kept(place, service=place.service.id):
        if each.outcome and each.outcome.get("outcome") == "failed-over" and each.at >= place.kept.created:
            return PastFailover(at=each.at, lost=SiteId(each.outcome["lost"]))
    return None


def put_by_us(lab: Lab) -> dict[MemberId, HostId]:
    """The last place of each member that a committed move or a failover gave it. LabError if nobody can tell."""
    found = [
        (move.began, move.document["group"]["targets"])
        for move in all_moves(lab)
        if (move.ended or {}).get("outcome") == "committed"
    ]
    decisions = _kept(lab)
    found += [(e.at, e.outcome["placement"]) for e in decisions if e.outcome and e.outcome.get("placement")]
    put: dict[MemberId, HostId] = {}
    for _, placement in sorted(found, key=lambda each: each[0]):
        put.update(placement)
    return put


def _kept(lab: Lab, *, service: str | None = None) -> list[KeptDecision]:
    try:
        records = DecisionRecords(lab.moves_url)
    except RecordsError as error:
        raise LabError(str(error)) from error
    try:
        return records.latest(service=service, most=None, ended=True)
    except RecordsError as error:
        raise LabError(str(error)) from error
    finally:
        records.close()

"""Where Entourage itself has put members: whoever is elsewhere was moved by somebody else."""

from entourage.drivers.decisions import DecisionRecords
from entourage.drivers.records import RecordsError
from entourage.lab.errors import LabError
from entourage.lab.place import Lab
from entourage.model.ids import HostId, MemberId
from entourage.operations.recovering import all_moves


def put_by_us(lab: Lab) -> dict[MemberId, HostId]:
    """The last place of each member that a committed move or a failover gave it. LabError if nobody can tell."""
    found = [
        (move.began, move.document["group"]["targets"])
        for move in all_moves(lab)
        if (move.ended or {}).get("outcome") == "committed"
    ]
    try:
        records = DecisionRecords(lab.moves_url)
    except RecordsError as error:
        raise LabError(str(error)) from error
    try:
        kept = records.latest(most=1000)
    except RecordsError as error:
        raise LabError(str(error)) from error
    finally:
        records.close()
    found += [(each.at, each.outcome["placement"]) for each in kept if each.outcome and each.outcome.get("placement")]
    put: dict[MemberId, HostId] = {}
    for _, placement in sorted(found, key=lambda each: each[0]):
        put.update(placement)
    return put

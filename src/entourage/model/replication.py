"""What is known of the copies of members' disks that are kept at another site."""

from dataclasses import dataclass

from entourage.model.ids import HostId, MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One whole copy of a member's disk: as it was at the host `source` at the moment `taken_at`.

    Times in seconds since the epoch: the round began at `began_at`, and had come whole at `valid_at`. `bytes` were sent
    for it. `id` is its own among all of all members, `number` counts those of one replica.
    """

    id: str
    number: int
    member: MemberId
    source: HostId
    began_at: float
    taken_at: float
    valid_at: float
    bytes: int

    @property
    def took_s(self) -> float:
        """How long the round took."""
        return self.valid_at - self.began_at

    def age_s(self, now: float) -> float:
        """How old its data is."""
        return now - self.taken_at

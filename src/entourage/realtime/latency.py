"""What a chain of appliances may add to a request and its answer, from the longest that each thread may wait."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entourage.model.ids import MemberId

# Of every passage: the I/O thread takes a packet in, the virtual CPU forwards it, the I/O thread sends it out; and
# every appliance is passed twice, by the request and by its answer.
_CPU_TIMES, _IO_TIMES = 2, 4

Responses = Mapping[MemberId, tuple[int, ...]]  # µs, of each of a member's threads: `Kept.responses_us`


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLatency:
    """The most that the appliances add there and back. `parts_us`: of each stage's slowest member, in order."""

    parts_us: Mapping[MemberId, int]

    @property
    def total_us(self) -> int:
        """Of the whole chain."""
        return sum(self.parts_us.values())

    @property
    def largest(self) -> MemberId | None:
        """Who adds most; None if there is nobody."""
        return max(self.parts_us, key=lambda member: (self.parts_us[member], member), default=None)


def chain_latency(stages: Sequence[Sequence[MemberId]], responses: Responses) -> ChainLatency:
    """The sum over the stages. KeyError for a member that `responses` does not have.

    It holds as long as what a thread does for the packets of a period fits into its budget: then none waits longer than
    the thread may wait for all of that. Source: Tindell and Clark, "Holistic Schedulability Analysis for
    Distributed Hard Real-Time Systems", 1994, without their jitter: budgets are had in every period, whenever asked.
    """
    parts = {}
    for stage in stages:
        of = {member: _passages_us(responses[member]) for member in stage}
        slowest = max(of, key=lambda member: (of[member], member))
        parts[slowest] = of[slowest]
    return ChainLatency(parts_us=parts)


def _passages_us(responses: Sequence[int]) -> int:
    cpu, io = responses
    return _CPU_TIMES * cpu + _IO_TIMES * io

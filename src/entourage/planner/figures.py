"""Predicted figures of a move, from sizes, dirty rates and links.

Pre-copy is a geometric series: a pass over V bytes at rate R takes V/R seconds, in which a guest that dirties D
bytes/s makes VD/R more to send, so passes shrink by the ratio D/R (Clark et al., "Live Migration of Virtual
Machines", NSDI 2005; as a model: Liu et al., "Performance and Energy Modeling for Live Migration of Virtual
Machines", HPDC 2011). `docs/design/0004-planner.md` says what is left out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from entourage.model.ids import MemberId
from entourage.model.world import InterSiteLink

LINK_EFFICIENCY = 0.9  # TCP payload in a full link: 1448 of 1538 bytes a frame are 0.94, the rest is slow start
SEGMENT_BYTES = 1448  # TCP payload of a 1500-byte packet with timestamps
ENOUGH_S = 0.02  # a group is stopped when all that is left passes the link in this time ...
MAX_REFRESHES = 8  # ... or after so many refreshes
DOWNTIME_LIMIT_S = 0.3  # QEMU's default `downtime-limit`: its own migration stops when this much is left
FLOOR_BYTES = 200_000  # still unsent when a refreshed member is stopped, device state included
STOP_EACH_MS = 0.4  # from one member's stop to the next one's: trial of five members, 1 to 2 ms in all
AHEAD_TRIPS = 5  # round trips until a member's memory flows, the ends' proof of who they are included ...
DISK_TRIPS = 5  # ... and for its disk: moves of the lab at 50 ms, 0.23 to 0.3 s and 0.25 s
DISK_RATE = 12.5e6  # bytes/s of a disk, which is copied at no more than this while the member works
PROTOCOL_SHARE = 0.02  # of the memory's bytes for encryption and empty pages: same moves, 0.019 to 0.032
RESUME_EACH_MS = 2.5  # from one member's resume to the next one's: same trial, 8 to 12 ms in all
HANDOVER_MS = 60.0  # device state and the hypervisor's own work for one member ...
HANDOVER_EACH_MS = 10.0  # ... and for each more: same trial, five members complete after 93 to 111 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob:
    """What is to be copied of one member: `size` bytes at least once, `dirty_rate` bytes/s again, over `link`.

    `ahead_s`: seconds before its memory flows, in which ends find each other and its disk is copied.
    """

    member: MemberId
    size: float
    dirty_rate: float
    link: InterSiteLink
    ahead_s: float = 0.0
    has_disk: bool = False
    is_realtime: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberForecast:
    """One member's part. `bytes` over the link; times in seconds since copying began."""

    member: MemberId
    bytes: float
    copy_s: float  # how long its own copying takes, up to its pause or hold
    paused_at: float
    resumed_at: float

    @property
    def pause_ms(self) -> float:
        """How long it runs nowhere."""
        return 1000 * (self.resumed_at - self.paused_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The figures of a move, of one member at least, as its report has them."""

    members: tuple[MemberForecast, ...]  # in the order of copying
    refresh_s: float = 0.0  # from the last hold to the first stop

    @property
    def bytes(self) -> float:
        """All bytes of memory that are copied."""
        return sum(member.bytes for member in self.members)

    @property
    def copy_s(self) -> float:
        """From the first byte to the last member running at the target."""
        return max(member.resumed_at for member in self.members)

    @property
    def blackout_ms(self) -> float:
        """First member paused to last member running at the target."""
        return 1000 * (self.copy_s - min(member.paused_at for member in self.members))

    @property
    def pause_skew_ms(self) -> float:
        """First member paused to last member paused."""
        return _spread_ms([member.paused_at for member in self.members])

    @property
    def resume_skew_ms(self) -> float:
        """First member running at the target to last."""
        return _spread_ms([member.resumed_at for member in self.members])

    @property
    def split_ms(self) -> float:
        """How long, during the move, some members run at the target while others that move run at the source."""
        first_resumed = min(member.resumed_at for member in self.members)
        return 1000 * max(0.0, max(member.paused_at for member in self.members) - first_resumed)


def usable_rate(link: InterSiteLink) -> float:
    """Bytes/s that one migration stream gets of an otherwise idle link.

    LINK_EFFICIENCY of the link, or what TCP reaches with the link's loss p and round trip T, if that is less:
    a mean window of sqrt(3/2p) segments (Mathis et al., "The Macroscopic Behavior of the TCP Congestion
    Avoidance Algorithm", 1997) or CUBIC's 1.054 (T/p)^(3/4) (RFC 9438, section 5.1), whichever is larger.
    """
    whole = LINK_EFFICIENCY * link.rate / 8
    rtt = link.rtt / 1000
    if link.loss <= 0 or rtt <= 0:
        return whole
    window = max(math.sqrt(1.5 / link.loss), 1.054 * math.pow(rtt / link.loss, 0.75))
    return min(whole, window * SEGMENT_BYTES / rtt)


def ahead_s(link: InterSiteLink, *, disk: int) -> float:
    """Seconds before a member's memory flows over the link; `disk`: bytes of its disk, 0 for none."""
    if not disk:
        return AHEAD_TRIPS * link.rtt / 1000
    return (AHEAD_TRIPS + DISK_TRIPS) * link.rtt / 1000 + disk / min(DISK_RATE, usable_rate(link))


def copy_order(jobs: Iterable[CopyJob]) -> tuple[CopyJob, ...]:
    """The order of copying and holding that sends the fewest bytes: what dirties most for its copy time last.

    A member that is copied before another of copy time T dirties D*T more. So of two neighbours the one with the
    smaller D/T goes first, and no other order is better: Smith's ratio rule ("Various Optimizers for
    Single-Stage Production", 1956). Exact for members that share one link; ties are broken by name.
    """
    return tuple(sorted(jobs, key=lambda job: (_smith_ratio(job), job.member)))


def forecast_group(jobs: Sequence[CopyJob]) -> Forecast:
    """Copied once and held in the order given, refreshed together, then stopped, drained and resumed together.

    What a member dirtied since its copy began is its backlog. Every refresh of all takes sum(backlogs)/R, in which
    each dirties its next backlog, until all together have at most ENOUGH_S of the link's rate left; the drain
    carries the last ones.
    """
    starts, clock = [], 0.0
    for job in jobs:
        starts.append(clock + job.ahead_s)
        clock += job.ahead_s + _pass_s(job, job.size)
    backlogs = [job.dirty_rate * (clock - start) for job, start in zip(jobs, starts, strict=True)]
    sent = [job.size for job in jobs]
    stop_at = clock
    for _ in range(MAX_REFRESHES):
        round_s = sum(map(_pass_s, jobs, backlogs))
        if round_s <= ENOUGH_S:
            break
        sent = [before + backlog for before, backlog in zip(sent, backlogs, strict=True)]
        backlogs = [job.dirty_rate * round_s for job in jobs]
        stop_at += round_s
    drains = [backlog + FLOOR_BYTES for backlog in backlogs]
    last_stop = stop_at + STOP_EACH_MS / 1000 * (len(jobs) - 1)
    resume_at = last_stop + sum(map(_pass_s, jobs, drains)) + _handover_s(jobs)
    members = tuple(
        MemberForecast(
            member=job.member,
            bytes=sent[index] + drains[index],
            copy_s=job.ahead_s + _pass_s(job, job.size),
            paused_at=stop_at + STOP_EACH_MS / 1000 * index,
            resumed_at=resume_at + RESUME_EACH_MS / 1000 * index,
        )
        for index, job in enumerate(jobs)
    )
    return Forecast(members=members, refresh_s=stop_at - clock)


def forecast_serial(jobs: Iterable[CopyJob]) -> Forecast:
    """The hypervisor's own migration of one member after another.

    The longest goes first: bytes are the same in any order, and the group is split while the rest is copied.
    """
    alone = [_precopy(job) for job in jobs]
    alone.sort(key=lambda member: (-member.resumed_at, member.member))
    members, clock = [], 0.0
    for each in alone:
        members.append(
            MemberForecast(
                member=each.member,
                bytes=each.bytes,
                copy_s=each.copy_s,
                paused_at=clock + each.paused_at,
                resumed_at=clock + each.resumed_at,
            )
        )
        clock += each.resumed_at
    return Forecast(members=tuple(members))


def forecast_parallel(jobs: Sequence[CopyJob]) -> Forecast:
    """The hypervisor's own migration of all members at once, each with an equal share of its link."""
    by_link: dict[InterSiteLink, list[CopyJob]] = {}
    for job in jobs:
        by_link.setdefault(job.link, []).append(job)
    members = [member for sharing in by_link.values() for member in _shared(sharing)]
    return Forecast(members=tuple(sorted(members, key=lambda member: (member.paused_at, member.member))))


def too_slow_together(jobs: Iterable[CopyJob]) -> dict[InterSiteLink, float]:
    """The links whose members dirty together as much as the link carries or more, with that sum in bytes/s.

    Copying them so that all are nearly complete at the same moment then never ends.
    """
    sums: dict[InterSiteLink, float] = {}
    for job in jobs:
        sums[job.link] = sums.get(job.link, 0.0) + job.dirty_rate
    return {link: total for link, total in sums.items() if total >= usable_rate(link)}


def too_slow_alone(jobs: Iterable[CopyJob]) -> tuple[CopyJob, ...]:
    """The members that dirty as much as their link carries or more, even if they are copied alone."""
    return tuple(job for job in jobs if job.dirty_rate >= usable_rate(job.link))


def resident_or_memory(member: MemberId, memory: int, resident: Mapping[MemberId, int]) -> float:
    """Bytes of the first pass: what is known to be in use, or all memory as the upper bound."""
    return float(min(resident.get(member, memory), memory)) * (1 + PROTOCOL_SHARE)


def _smith_ratio(job: CopyJob) -> float:
    lasts = job.ahead_s + _pass_s(job, job.size)
    return job.dirty_rate / lasts if lasts else math.inf


def _precopy(job: CopyJob) -> MemberForecast:
    """One member alone: n = ceil(log(threshold/size) / log(D/R)) passes, then a pause for what is left."""
    rate = usable_rate(job.link)
    ratio = job.dirty_rate / rate
    threshold = DOWNTIME_LIMIT_S * rate
    passes = 1
    if ratio > 0 and job.size > threshold:
        passes = max(1, math.ceil(math.log(threshold / job.size) / math.log(ratio)))
    left = job.size * ratio**passes
    sent = job.size * (1 - ratio**passes) / (1 - ratio)
    paused_at = job.ahead_s + sent / rate
    return MemberForecast(
        member=job.member,
        bytes=sent + left,
        copy_s=paused_at,
        paused_at=paused_at,
        resumed_at=paused_at + left / rate + _handover_s([job]),
    )


def _shared(jobs: Sequence[CopyJob]) -> list[MemberForecast]:
    """Members on one link at once, as a fluid: what is left of each shrinks by its share less its dirty rate.

    That is the geometric series in the limit of many short passes. Of members that share R equally the one that
    dirties least always gains ground while sum(D) < R, so every turn of the loop completes one.
    """
    rate = usable_rate(jobs[0].link)
    left = {job: max(0.0, job.size - DOWNTIME_LIMIT_S * rate / len(jobs)) for job in jobs}
    sent = dict.fromkeys(jobs, 0.0)
    members, clock = [], 0.0
    while left:
        share = rate / len(left)
        gaining = [job for job in left if job.dirty_rate < share]
        lasts = {job: left[job] / (share - job.dirty_rate) for job in gaining}
        done = min(gaining, key=lambda job: (lasts[job], job.member))
        step, clock = lasts[done], clock + lasts[done]
        for job, before in left.items():
            left[job] = min(job.size, max(0.0, before - (share - job.dirty_rate) * step))
            sent[job] += share * step
        del left[done]
        rest = min(done.size, DOWNTIME_LIMIT_S * rate / len(jobs))
        paused_at = done.ahead_s + clock
        members.append(
            MemberForecast(
                member=done.member,
                bytes=sent[done] + rest,
                copy_s=paused_at,
                paused_at=paused_at,
                resumed_at=paused_at + rest / share + _handover_s([done]),
            )
        )
    return members


def _handover_s(jobs: Sequence[CopyJob]) -> float:
    """From the last byte sent to the targets being complete: one round trip, and the hypervisors' own work."""
    rtt_ms = max(job.link.rtt for job in jobs)
    return (rtt_ms + HANDOVER_MS + HANDOVER_EACH_MS * (len(jobs) - 1)) / 1000


def _pass_s(job: CopyJob, count: float) -> float:
    return count / usable_rate(job.link)


def _spread_ms(times: Sequence[float]) -> float:
    return 1000 * (max(times) - min(times))

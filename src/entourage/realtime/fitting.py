"""Schedulability: whether reservations can all be kept on the CPUs of a host, whenever their threads want to run.

Every test here is sufficient: what passes never misses. Exact ones say so. `limit` is the share of each CPU that real
time may have at all; Linux keeps 5 % for the rest by default (`sched_rt_runtime_us` 950000 of 1000000).
"""

from collections.abc import Sequence
from fractions import Fraction

from entourage.model.realtime import Reservation

NOTHING = Fraction(0)


def edf_excess(reservations: Sequence[Reservation], *, limit: Fraction) -> Fraction:
    """How much of one CPU is asked for beyond what earliest deadline first can keep on it; 0 if all is kept.

    Exact with a limit of 1: deadlines are the periods' ends. Source: Liu and Layland, "Scheduling Algorithms for
    Multiprogramming in a Hard-Real-Time Environment", 1973, theorem 7.
    """
    return max(NOTHING, sum((each.share for each in reservations), NOTHING) - limit)


def global_edf_excess(reservations: Sequence[Reservation], *, cpus: int, limit: Fraction) -> Fraction:
    """As `edf_excess`, in CPUs, where the kernel lets every thread run on any of `cpus`, as SCHED_DEADLINE does.

    The sum of the shares must not be above m - (m - 1) times the largest. Source: Goossens, Funk and Baruah,
    "Priority-Driven Scheduling of Periodic Task Systems on Multiprocessors", 2003, theorem 5. The kernel's own test
    asks for less, a sum of at most m times the limit, and promises a bounded delay only
    (Documentation/scheduler/sched-deadline.rst, 4.2); both have to pass.
    """
    if not reservations:
        return NOTHING
    shares = [each.share for each in reservations]
    total, largest = sum(shares, NOTHING), max(shares)
    return max(NOTHING, total - min(cpus - (cpus - 1) * largest, cpus * limit))


def response_time(each: Reservation, above: Sequence[Reservation]) -> int | None:
    """The longest that a thread may wait for all of its budget, in µs, on one CPU with fixed priorities.

    `above`: all others there whose priority is not lower. None if it may miss its deadline, the end of its period.
    Exact where all that is above is released together with it. Source: Joseph and Pandya, "Finding Response Times in a
    Real-Time System", 1986: the least R with R = C + the sum over all j above of ceil(R / T_j) C_j.
    """
    response = each.budget_us
    while response <= each.period_us:
        longer = each.budget_us + sum(-(-response // j.period_us) * j.budget_us for j in above)
        if longer == response:
            return response
        response = longer
    return None


def response_times(reservations: Sequence[Reservation]) -> list[int] | None:
    """`response_time` of each, in the order given, the highest priority first; None if one may miss."""
    found = [response_time(each, reservations[:number]) for number, each in enumerate(reservations)]
    return None if None in found else [each for each in found if each is not None]

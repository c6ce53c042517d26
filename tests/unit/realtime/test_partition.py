"""First fit against exhaustive search on small sets: never more than can be, and never less than is proven."""

from fractions import Fraction
from itertools import product
from math import sqrt

from hypothesis import given
from hypothesis import strategies as st

from entourage.model.ids import MemberId
from entourage.model.realtime import Promise, RealtimeCpus, Reservation
from entourage.realtime import Kept, keep, priority, response_time

WHOLE = Fraction(1)
# Of what first fit always places where each CPU is scheduled by rate-monotonic priorities. Source: Oh and Baker,
# "Utilization Bounds for N-Processor Rate Monotone Scheduling with Static Processor Assignment", 1998.
SURE = sqrt(2) - 1


def of(budget_us: int, period_us: int) -> Reservation:
    return Reservation(budget_us=budget_us, period_us=period_us)


@st.composite
def promise(draw: st.DrawFn) -> Promise:
    period = draw(st.sampled_from([500, 1000, 1100, 1500, 4000]))
    tenths = st.integers(1, 6)
    return Promise(cpu=of(period * draw(tenths) // 10, period), io=of(period * draw(tenths) // 10, period))


SETS = st.lists(promise(), min_size=1, max_size=3).map(
    lambda made: {MemberId(f"m{number}"): each for number, each in enumerate(made)}
)
HOSTS = st.sampled_from([(0,), (0, 1), (0, 1, 2)]).map(lambda cpus: RealtimeCpus(cpus=cpus, limit=WHOLE))


def fit_on_one(threads: list[Reservation]) -> bool:
    def above(which: int) -> list[Reservation]:
        own = priority(threads[which].period_us)
        return [t for number, t in enumerate(threads) if number != which and priority(t.period_us) >= own]

    return all(response_time(each, above(which)) is not None for which, each in enumerate(threads))


def fit_somehow(host: RealtimeCpus, promises: dict[MemberId, Promise]) -> bool:
    threads = [thread for each in promises.values() for thread in each.threads]
    return any(
        all(fit_on_one([t for t, on in zip(threads, chosen, strict=True) if on == cpu]) for cpu in host.cpus)
        for chosen in product(host.cpus, repeat=len(threads))
    )


@given(HOSTS, SETS)
def test_what_is_kept_can_be_kept_and_what_surely_can_is(host: RealtimeCpus, promises: dict[MemberId, Promise]) -> None:
    is_kept = isinstance(keep(host, promises), Kept)
    assert not is_kept or fit_somehow(host, promises)
    if sum(each.share for each in promises.values()) <= SURE * len(host.cpus):
        assert is_kept


def test_exhaustive_search_finds_what_first_fit_misses() -> None:
    """Two CPUs are filled only by 0.5 + 0.3 + 0.2 and 0.4 + 0.3 + 0.3; first fit puts 0.5 and 0.4 together."""
    promises = {
        MemberId("a"): Promise(cpu=of(500, 1000), io=of(400, 1000)),
        MemberId("b"): Promise(cpu=of(300, 1000), io=of(300, 1000)),
        MemberId("c"): Promise(cpu=of(300, 1000), io=of(200, 1000)),
    }
    host = RealtimeCpus(cpus=(0, 1), limit=WHOLE)
    assert fit_somehow(host, promises)
    assert not isinstance(keep(host, promises), Kept)


@given(SETS)
def test_the_order_of_promising_is_no_matter(promises: dict[MemberId, Promise]) -> None:
    host = RealtimeCpus(cpus=(0, 1))
    assert keep(host, promises) == keep(host, dict(reversed(promises.items())))

"""What a host says that it keeps it keeps, in an exact schedule; and how what it cannot keep is said."""

from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from entourage.model.ids import MemberId
from entourage.model.realtime import PERIOD_MAX_US, PERIOD_MIN_US, Policy, Promise, RealtimeCpus, Reservation
from entourage.realtime import Keeper, Kept, Shortage, keep, priorities, priority
from entourage.realtime.schedule import run_edf, run_fixed

PERIODS = (400, 500, 800, 1000, 2000)  # µs: all that can happen has happened after 4000
UNTIL_US = 8000


def of(budget_us: int, period_us: int) -> Reservation:
    return Reservation(budget_us=budget_us, period_us=period_us)


@st.composite
def promise(draw: st.DrawFn) -> Promise:
    period = draw(st.sampled_from(PERIODS))
    cpu = of(draw(st.integers(1, period // 2)), period)
    io = draw(st.sampled_from([cpu, of(draw(st.integers(1, period // 2)), period)]))
    pin = st.sampled_from([None, None, None, 0, 5])
    return Promise(cpu=cpu, io=io, pins=(draw(pin), draw(pin)), apart=draw(st.sampled_from([False, False, True])))


SETS = st.lists(promise(), min_size=1, max_size=4).map(
    lambda promises: {MemberId(f"m{number}"): each for number, each in enumerate(promises)}
)
HOSTS = st.builds(
    RealtimeCpus,
    cpus=st.sampled_from([(0,), (0, 1), (3, 5, 6)]),
    policy=st.sampled_from(Policy),
    limit=st.sampled_from([Fraction(95, 100), Fraction(1)]),
)


@given(HOSTS, SETS, st.data())
def test_what_is_kept_never_misses(host: RealtimeCpus, promises: dict[MemberId, Promise], data: st.DataObject) -> None:
    kept = keep(host, promises)
    if isinstance(kept, Shortage):
        return
    threads = [(m, n, thread) for m, p in promises.items() for n, thread in enumerate(p.threads)]
    offsets = data.draw(st.lists(st.integers(0, 1000), min_size=len(threads), max_size=len(threads)))
    if host.policy is Policy.DEADLINE:
        ran = run_edf([t for *_, t in threads], cpus=len(host.cpus), until_us=UNTIL_US, offsets_us=offsets)
        assert ran.missed is None
        return
    for cpu in host.cpus:
        here = [(m, n, t, o) for (m, n, t), o in zip(threads, offsets, strict=True) if kept.cpus[m][n] == cpu]
        for order in list(permutations(here))[:24]:  # those of one priority may run in any order
            ranked = sorted(order, key=lambda each: -priorities(promises[each[0]])[each[1]])
            ran = run_fixed([t for *_, t, _ in ranked], until_us=UNTIL_US, offsets_us=[o for *_, o in ranked])
            assert ran.missed is None
            for (member, number, _, _), response in zip(ranked, ran.responses, strict=True):
                assert response <= kept.responses_us[member][number]


@given(HOSTS, SETS)
def test_no_cpu_has_more_than_the_hosts_limit(host: RealtimeCpus, promises: dict[MemberId, Promise]) -> None:
    kept = keep(host, promises)
    if isinstance(kept, Shortage):
        return
    assert sum(promise.share for promise in promises.values()) <= host.limit * len(host.cpus)
    for cpu in host.cpus:
        shares = [t.share for m, p in promises.items() for n, t in enumerate(p.threads) if kept.cpus[m][n] == cpu]
        assert sum(shares) <= host.limit


@given(HOSTS, SETS)
def test_every_thread_has_the_cpu_that_it_is_to_have(host: RealtimeCpus, promises: dict[MemberId, Promise]) -> None:
    kept = keep(host, promises)
    if isinstance(kept, Shortage):
        return
    for member, promise in promises.items():
        cpus = kept.cpus[member]
        assert all(pin in (None, cpu) for pin, cpu in zip(promise.pins, cpus, strict=True))
        assert not (promise.apart and cpus[0] == cpus[1])


@given(HOSTS, SETS)
def test_what_is_left_and_what_is_needed_is_said(host: RealtimeCpus, promises: dict[MemberId, Promise]) -> None:
    kept = keep(host, promises)
    if isinstance(kept, Shortage):
        others = sum((p.share for m, p in promises.items() if m != kept.member), Fraction(0))
        assert kept.left == host.limit * len(host.cpus) - others
        assert kept.needs == promises[kept.member].share


SMALL = st.builds(
    lambda budget, periods: Promise(cpu=of(budget, periods[0]), io=of(1 + budget // 2, periods[1])),
    st.integers(1, 120),
    st.sampled_from([(400, 400), (1000, 1000), (1000, 2000), (400, 500)]),
)


@given(HOSTS, st.lists(st.one_of(promise(), SMALL), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_a_host_that_was_promised_one_after_another_keeps_what_it_keeps_of_all_at_once(
    host: RealtimeCpus, promises: list[Promise], chance: Random
) -> None:
    """Whichever came first; so what a planner lets pass is what the host's own look at all finds."""
    named = {MemberId(f"m{number}"): each for number, each in enumerate(promises)}
    keeper = Keeper(host)
    for member in chance.sample(sorted(named), len(named)):
        before = dict(keeper.promised)
        added = keeper.add(member, named[member])
        at_once = keep(host, {**before, member: named[member]})
        assert added is isinstance(at_once, Kept)
        assert keeper.kept() == (at_once if added else keep(host, before))


def test_threads_are_spread_over_the_cpus_where_that_keeps_all_of_them() -> None:
    alone = Promise(cpu=of(200, 1000), io=of(100, 1000))
    kept = keep(RealtimeCpus(cpus=(2, 3)), {MemberId("fw"): alone, MemberId("rt"): alone})
    assert isinstance(kept, Kept)
    assert kept.cpus == {"fw": (2, 3), "rt": (3, 2)}
    large = Promise(cpu=of(600, 1000), io=of(340, 1000))
    tight = {MemberId("a"): large, MemberId("b"): large}
    assert isinstance(keep(RealtimeCpus(cpus=(2, 3)), tight), Kept)


def test_what_is_short_is_said_with_numbers_and_with_what_stands_against_it_beside_them() -> None:
    fw = MemberId("fw")
    half = Promise(cpu=of(500, 1000), io=of(500, 1000))
    short = keep(RealtimeCpus(cpus=(0,)), {fw: half})
    assert isinstance(short, Shortage)
    assert short.words("west/h1") == "west/h1 has 0.95 of a CPU left for real time, fw needs 1"
    elsewhere = keep(RealtimeCpus(cpus=(0, 1)), {fw: replace(half, pins=(7, None))})
    assert isinstance(elsewhere, Shortage)
    assert elsewhere.words("h1").endswith("; it is to have CPU 7, and CPU 0, 1 are for real time there")
    pinned = keep(RealtimeCpus(cpus=(0, 1), policy=Policy.DEADLINE), {fw: replace(half, pins=(0, None))})
    assert isinstance(pinned, Shortage)
    assert "with SCHED_DEADLINE they have to be free to run on all" in pinned.words("h1")


def test_a_shorter_period_never_has_a_lower_priority() -> None:
    periods = [PERIOD_MIN_US, 101, 1000, 1100, 2000, 5000, 100_000, PERIOD_MAX_US]
    levels = [priority(period) for period in periods]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] == 40
    assert levels[-1] == 10
    assert priority(1000) > priority(2000)


def test_an_empty_host_keeps_nothing_promised() -> None:
    assert keep(RealtimeCpus(cpus=(0,)), {}) == Kept(cpus={}, responses_us={})

"""What is let in is kept: every schedulability test against an exact schedule, and against what is known of it."""

from fractions import Fraction
from math import lcm

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.model.realtime import Reservation, ReservationError
from entourage.realtime import edf_excess, global_edf_excess, response_times
from entourage.realtime.schedule import run_edf, run_fixed

ALL = Fraction(1)
PERIODS = (4, 5, 6, 8, 10, 12, 20)  # µs, so that all that can happen has happened after 240


def of(budget_us: int, period_us: int) -> Reservation:
    return Reservation(budget_us=budget_us, period_us=period_us)


@st.composite
def reservation(draw: st.DrawFn) -> Reservation:
    period = draw(st.sampled_from(PERIODS))
    return of(draw(st.integers(1, period)), period)


SETS = st.lists(reservation(), min_size=1, max_size=5)
UNTIL_US = 2 * lcm(*PERIODS)


@given(SETS)
def test_edf_keeps_on_one_cpu_exactly_what_is_let_in(reservations: list[Reservation]) -> None:
    fits = edf_excess(reservations, limit=ALL) == 0
    assert fits == (run_edf(reservations, until_us=UNTIL_US).missed is None)


@given(SETS, st.integers(1, 3), st.data())
def test_what_is_let_in_on_several_cpus_never_misses(
    reservations: list[Reservation], cpus: int, data: st.DataObject
) -> None:
    offsets = data.draw(st.lists(st.integers(0, 20), min_size=len(reservations), max_size=len(reservations)))
    if global_edf_excess(reservations, cpus=cpus, limit=ALL) == 0:
        assert run_edf(reservations, cpus=cpus, until_us=UNTIL_US, offsets_us=offsets).missed is None


@given(SETS)
def test_response_times_are_those_of_the_schedule(reservations: list[Reservation]) -> None:
    ran = run_fixed(reservations, until_us=UNTIL_US)
    assert response_times(reservations) == (ran.responses if ran.missed is None else None)


@given(SETS, st.data())
def test_no_response_is_longer_whenever_threads_begin(reservations: list[Reservation], data: st.DataObject) -> None:
    offsets = data.draw(st.lists(st.integers(0, 20), min_size=len(reservations), max_size=len(reservations)))
    longest = response_times(reservations)
    if longest is not None:
        seen = run_fixed(reservations, until_us=UNTIL_US, offsets_us=offsets)
        assert seen.missed is None
        assert all(one <= bound for one, bound in zip(seen.responses, longest, strict=True))


def test_the_kernels_share_is_not_given_away() -> None:
    assert edf_excess([of(96, 100)], limit=Fraction(95, 100)) == Fraction(1, 100)
    assert global_edf_excess([of(95, 100), of(95, 100)], cpus=2, limit=Fraction(95, 100)) == Fraction(85, 100)


def test_one_large_and_many_small_are_too_much_for_several_cpus_although_the_sum_is_small() -> None:
    """Dhall's effect: the large one has the latest deadline, and finds every CPU taken."""
    small = [of(1, 5), of(1, 5)]
    assert global_edf_excess([*small, of(6, 6)], cpus=2, limit=ALL) > 0
    assert run_edf([*small, of(6, 6)], cpus=2, until_us=UNTIL_US).missed == 2


def test_nothing_fits_everywhere() -> None:
    assert edf_excess([], limit=ALL) == global_edf_excess([], cpus=1, limit=ALL) == 0
    assert response_times([]) == []


@pytest.mark.parametrize(
    ("budget_us", "period_us", "words"),
    [(0, 10, "more than 0"), (1, 0, "more than 0"), (-1, 10, "more than 0"), (11, 10, "longer than the period")],
)
def test_what_nobody_could_keep_is_refused(budget_us: int, period_us: int, words: str) -> None:
    with pytest.raises(ReservationError, match=words):
        of(budget_us, period_us)

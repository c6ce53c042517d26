"""Windows: hours of some days, over midnight and the week's end, against counting minute by minute."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from entourage.rules.rule import Window

DAY, WEEK = 1440, 10080
MONDAY = datetime(2026, 6, 29, tzinfo=UTC)
MINUTES = st.integers(0, DAY - 1)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start, end = draw(MINUTES), draw(MINUTES)
    assume(start != end)
    return Window(days=draw(st.frozensets(st.integers(0, 6), min_size=1)), start=start, end=end)


def minutes_in(window: Window) -> Iterator[int]:
    """The minutes of the week that are in it, by counting from each beginning to the end."""
    for day in window.days:
        minute = day * DAY + window.start
        while minute % DAY != window.end:
            yield minute % WEEK
            minute += 1


def at(minute: int, second: int = 0) -> datetime:
    return MONDAY + timedelta(minutes=minute, seconds=second)


@given(windows(), st.integers(0, WEEK - 1), st.integers(0, 59))
def test_a_moment_is_in_the_window_as_counted(window: Window, minute: int, second: int) -> None:
    assert window.has(at(minute, second)) is (minute in set(minutes_in(window)))


@given(windows())
def test_at_its_edges_too(window: Window) -> None:
    inside = set(minutes_in(window))
    for day in range(7):
        for edge in (window.start, window.end, 0):
            for minute in (edge - 1, edge, edge + 1):
                moment = day * DAY + minute
                assert window.has(at(moment)) is (moment % WEEK in inside)


@given(windows(), st.integers(0, WEEK - 1), st.integers(0, 59))
def test_it_opens_next_at_its_first_beginning_after_the_moment(window: Window, minute: int, second: int) -> None:
    beginnings = {day * DAY + window.start for day in window.days}
    wanted = next(later for later in range(minute + 1, minute + WEEK + 1) if later % WEEK in beginnings)
    assert window.opens(at(minute, second)) == at(wanted)


@given(windows(), st.integers(0, WEEK - 1))
def test_when_it_opens_it_is_open_and_nothing_opened_before(window: Window, minute: int) -> None:
    opens = window.opens(at(minute))
    assert window.has(opens)
    assert window.opens(opens - timedelta(minutes=1)) == opens


@pytest.mark.parametrize(
    ("days", "start", "end", "moment", "is_in"),
    [
        ({0}, 1320, 300, "Mon 21:59", False),
        ({0}, 1320, 300, "Mon 22:00", True),
        ({0}, 1320, 300, "Tue 04:59", True),
        ({0}, 1320, 300, "Tue 05:00", False),
        ({0}, 1320, 300, "Mon 04:59", False),  # that would be Sunday's
        ({6}, 1320, 300, "Mon 04:59", True),
        ({6}, 1320, 0, "Sun 23:59", True),
        ({6}, 1320, 0, "Mon 00:00", False),
    ],
)
def test_a_window_belongs_to_the_day_on_which_it_begins(
    days: set[int], start: int, end: int, moment: str, is_in: bool
) -> None:
    day, _, time = moment.partition(" ")
    hour, _, minute = time.partition(":")
    number = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun").index(day)
    window = Window(days=frozenset(days), start=start, end=end)
    assert window.has(at(number * DAY + int(hour) * 60 + int(minute))) is is_in


def test_when_the_clocks_change_a_window_is_where_the_local_clock_shows_it() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    window = Window(days=frozenset({6}), start=3 * 60, end=4 * 60)
    spring = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # 1:30 there; at 2:00 it becomes 3:00
    assert not window.has(spring.astimezone(berlin))
    assert window.has((spring + timedelta(minutes=30)).astimezone(berlin))
    assert window.opens(spring.astimezone(berlin)).astimezone(UTC) == spring + timedelta(minutes=30)

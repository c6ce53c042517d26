from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.probe.analysis import (
    Ending,
    Message,
    ProbeLog,
    Request,
    Session,
    Stream,
    merge,
    summarise_requests,
    summarise_sessions,
    summarise_stream,
)


def message(number: int, sent_at: float, until: float, ending: Ending = Ending.ANSWERED) -> Message:
    return Message(number=number, sent_at=sent_at, until=until, ending=ending)


def session(
    *messages: Message, number: int = 1, reset_at: float | None = None, duplicates: Sequence[float] = ()
) -> Session:
    return Session(
        region="users-east",
        number=number,
        opened_at=100.0,
        reset_at=reset_at,
        messages=messages,
        duplicates=tuple(duplicates),
    )


def log_of(*sessions: Session) -> ProbeLog:
    return ProbeLog(sessions=sessions, requests=(), streams=())


def stream(sent: Sequence[float], echoes: Sequence[tuple[float, int]], until: float = 1000.0) -> ProbeLog:
    packets = tuple((t, sequence) for sequence, t in enumerate(sent))
    one = Stream(region="users-east", packets=packets, echoes=tuple(echoes), observed_until=until)
    return ProbeLog(sessions=(), requests=(), streams=(one,))


def test_a_session_answered_throughout_survives() -> None:
    summary = summarise_sessions(log_of(session(message(1, 101, 101.1), message(2, 106, 106.3))), start=100, end=110)
    assert (summary.opened, summary.survived, summary.reset, summary.lost) == (1, 1, 0, 0)
    assert summary.longest_stall_ms == pytest.approx(300)


def test_a_reset_session_did_not_survive_and_its_outstanding_message_is_lost() -> None:
    broken = session(message(1, 101, 101.1), message(2, 106, 107, Ending.RESET), reset_at=107)
    summary = summarise_sessions(log_of(broken), start=100, end=110)
    assert (summary.opened, summary.survived, summary.reset, summary.lost) == (1, 0, 1, 1)


def test_a_session_reset_before_the_window_is_not_of_it() -> None:
    summary = summarise_sessions(log_of(session(message(1, 101, 101.1), reset_at=104)), start=105, end=110)
    assert (summary.opened, summary.survived, summary.reset) == (0, 0, 0)


def test_a_session_reset_after_the_window_survived_it() -> None:
    summary = summarise_sessions(log_of(session(message(1, 106, 106.1), reset_at=115)), start=105, end=110)
    assert (summary.opened, summary.survived, summary.reset) == (1, 1, 0)


def test_a_wrong_reply_loses_its_message_and_the_session_did_not_survive() -> None:
    hurt = session(message(1, 101, 101.1, Ending.WRONG), message(2, 106, 106.1))
    summary = summarise_sessions(log_of(hurt), start=100, end=110)
    assert (summary.lost, summary.survived, summary.reset) == (1, 0, 0)


def test_a_late_reply_is_reordered_not_lost() -> None:
    summary = summarise_sessions(log_of(session(message(1, 101, 106, Ending.LATE))), start=100, end=110)
    assert (summary.reordered, summary.lost, summary.survived) == (1, 0, 1)


def test_duplicates_are_counted_in_the_window_in_which_they_came() -> None:
    log = log_of(session(message(1, 101, 101.1), duplicates=(101.2, 112)))
    assert summarise_sessions(log, start=100, end=110).duplicated == 1


@pytest.mark.parametrize(
    ("start", "end", "stalled"),
    [(100, 110, 1), (102, 103, 1), (100, 102, 1), (90, 101, 0), (103.5, 110, 0)],
    ids=["all of it", "its middle", "its beginning", "before it", "after it"],
)
def test_a_wait_over_a_second_counts_where_any_part_of_it_lies_in_the_window(
    start: float, end: float, stalled: int
) -> None:
    summary = summarise_sessions(log_of(session(message(1, 101, 103.5))), start=start, end=end)
    assert summary.stalled_over_1s == stalled
    assert summary.longest_stall_ms == 2500 * stalled


def test_a_wait_of_just_a_second_is_no_stall() -> None:
    assert summarise_sessions(log_of(session(message(1, 101, 102))), start=100, end=110).stalled_over_1s == 0


def test_a_session_that_stalls_twice_counts_once() -> None:
    twice = session(message(1, 101, 103), message(2, 104, 106))
    assert summarise_sessions(log_of(twice), start=100, end=110).stalled_over_1s == 1


def test_a_message_unanswered_for_a_second_at_the_end_of_the_log_is_lost() -> None:
    summary = summarise_sessions(log_of(session(message(1, 101, 102.5, Ending.OPEN))), start=100, end=110)
    assert (summary.lost, summary.survived, summary.stalled_over_1s) == (1, 0, 1)


def test_a_message_sent_just_before_the_end_of_the_log_is_not_lost() -> None:
    young = session(message(1, 101, 101.1), message(2, 106, 106.4, Ending.OPEN))
    summary = summarise_sessions(log_of(young), start=100, end=110)
    assert (summary.lost, summary.survived) == (0, 1)


def test_a_message_lost_before_the_window_does_not_count_against_it() -> None:
    log = log_of(session(message(1, 101, 101.1, Ending.WRONG), message(2, 106, 106.1)))
    summary = summarise_sessions(log, start=105, end=110)
    assert (summary.lost, summary.survived) == (0, 1)


def test_a_message_that_waits_as_the_window_begins_and_is_then_lost_counts_against_survival() -> None:
    log = log_of(session(message(1, 104, 106, Ending.WRONG), message(2, 108, 108.1)))
    assert summarise_sessions(log, start=105, end=110).survived == 0


def test_a_session_without_a_reply_since_the_start_has_not_shown_that_it_survived() -> None:
    assert summarise_sessions(log_of(session(message(1, 101, 101.1))), start=105, end=110).survived == 0


def test_a_reply_after_the_window_shows_that_a_quiet_session_survived() -> None:
    quiet = session(message(1, 101, 101.1), message(2, 111, 111.1))
    assert summarise_sessions(log_of(quiet), start=105, end=110).survived == 1


def test_a_window_without_sessions_has_zeros() -> None:
    summary = summarise_sessions(log_of(), start=0, end=1)
    assert set(summary.to_json().values()) == {0}


def test_failed_requests_are_counted_and_kept_out_of_the_latencies() -> None:
    outcomes = [(1.0, "ok"), (2.0, "ok"), (5000.0, "no response within 5 s"), (3.0, "status 503"), (9.0, "unfinished")]
    requests = tuple(Request(scheduled_at=100.0 + i, latency_ms=ms, outcome=o) for i, (ms, o) in enumerate(outcomes))
    summary = summarise_requests(ProbeLog(sessions=(), requests=requests, streams=()), start=100, end=110)
    assert summary.to_json() == {"count": 4, "failed": 2, "p50_ms": 1.0, "p99_ms": 2.0}


def test_a_request_belongs_to_the_window_in_which_it_was_due() -> None:
    requests = tuple(Request(scheduled_at=t, latency_ms=1.0, outcome="ok") for t in (99.9, 100.0, 109.9, 110.0))
    assert summarise_requests(ProbeLog(sessions=(), requests=requests, streams=()), start=100, end=110).count == 2


def test_p99_of_a_hundred_requests_is_the_last_but_one() -> None:
    requests = tuple(Request(scheduled_at=100, latency_ms=float(ms), outcome="ok") for ms in range(1, 101))
    summary = summarise_requests(ProbeLog(sessions=(), requests=requests, streams=()), start=100, end=110)
    assert (summary.p50_ms, summary.p99_ms) == (50.0, 99.0)


def test_a_window_without_requests_has_no_quantiles() -> None:
    summary = summarise_requests(ProbeLog(sessions=(), requests=(), streams=()), start=0, end=1)
    assert summary.to_json() == {"count": 0, "failed": 0, "p50_ms": None, "p99_ms": None}


def test_stream_packets_without_echo_are_lost() -> None:
    summary = summarise_stream(stream([1, 2, 3, 4], [(1.1, 0), (4.1, 3)]), start=0, end=10)
    assert (summary.sent, summary.lost, summary.reordered, summary.duplicated) == (4, 2, 0, 0)
    assert summary.p50_ms == pytest.approx(100)


def test_stream_echoes_out_of_order_are_reordered() -> None:
    summary = summarise_stream(stream([1, 2, 3], [(3.1, 2), (3.2, 0), (3.3, 1)]), start=0, end=10)
    assert (summary.lost, summary.reordered, summary.duplicated) == (0, 2, 0)


def test_stream_echoes_that_come_again_are_duplicated_not_reordered() -> None:
    summary = summarise_stream(stream([1, 2], [(1.1, 0), (2.1, 1), (2.2, 0)]), start=0, end=10)
    assert (summary.lost, summary.reordered, summary.duplicated) == (0, 0, 1)


def test_a_packet_on_its_way_when_the_log_ends_is_not_lost() -> None:
    summary = summarise_stream(stream([1, 2, 3], [(1.1, 0)], until=3.2), start=0, end=10)
    assert (summary.sent, summary.lost) == (3, 1)


@pytest.mark.parametrize(("start", "end"), [(0, 10), (2, 10), (0, 2), (2, 3)])
def test_a_gap_over_the_edges_of_the_window_is_seen_whole(start: float, end: float) -> None:
    summary = summarise_stream(stream([1, 2, 3, 4], [(1.1, 0), (4.1, 3)]), start=start, end=end)
    assert summary.longest_gap_ms == pytest.approx(3000)
    assert summary.gap_start == 1.1


def test_a_gap_outside_the_window_is_not_seen() -> None:
    log = stream([1, 2, 3, 4, 4.5], [(1.1, 0), (4.1, 3), (4.6, 4)])
    assert summarise_stream(log, start=4.2, end=10).longest_gap_ms == pytest.approx(500)


def test_a_stream_that_never_comes_back_is_a_gap_up_to_its_last_packet() -> None:
    summary = summarise_stream(stream([1, 2, 3, 4], [(1.1, 0)]), start=0, end=10)
    assert summary.longest_gap_ms == pytest.approx(2900)
    assert summary.gap_start == 1.1


def test_a_stream_without_any_echo_is_one_gap() -> None:
    summary = summarise_stream(stream([1, 2, 3], []), start=0, end=10)
    assert (summary.lost, summary.longest_gap_ms, summary.gap_start, summary.p50_ms) == (3, 2000, 1, None)


def test_the_probes_own_gap_in_sending_is_told_apart() -> None:
    summary = summarise_stream(stream([1, 2, 5], [(1.1, 0), (2.1, 1), (5.1, 2)]), start=0, end=10)
    assert summary.longest_gap_ms == pytest.approx(3000)
    assert summary.longest_send_gap_ms == pytest.approx(3000)


def test_a_window_without_a_stream_has_no_gap() -> None:
    summary = summarise_stream(ProbeLog(sessions=(), requests=(), streams=()), start=0, end=1)
    assert (summary.sent, summary.longest_gap_ms, summary.gap_start, summary.longest_send_gap_ms) == (
        0,
        None,
        None,
        None,
    )


def test_merged_logs_count_all_and_look_for_gaps_region_by_region() -> None:
    east = stream([1, 2, 3], [(1.1, 0), (3.1, 2)])
    west = stream([1, 2, 3], [(1.5, 0), (2.1, 1), (3.5, 2)])
    hello = log_of(session(message(1, 1, 1.1)))
    both = merge([merge([east, hello]), merge([west, hello])])
    summary = summarise_stream(both, start=0, end=10)
    assert (summary.sent, summary.lost) == (6, 1)
    assert summary.longest_gap_ms == pytest.approx(2000)  # east's silence, though west's echoes came within it
    assert len(both.sessions) == 2


_times = st.lists(st.integers(0, 400), min_size=1, max_size=30).map(lambda ms: sorted(t / 100 for t in ms))


@st.composite
def _streams(draw: st.DrawFn) -> ProbeLog:
    sent = draw(_times)
    echoed = draw(st.lists(st.integers(0, len(sent) - 1), max_size=40))
    arrivals = sorted(draw(st.integers(0, 600)) / 100 for _ in echoed)
    return stream(sent, list(zip(arrivals, echoed, strict=True)), until=100)


@given(_streams())
def test_stream_counts_agree_with_their_definitions_by_brute_force(log: ProbeLog) -> None:
    (one,) = log.streams
    order = [sequence for _, sequence in one.echoes]
    firsts = [s for i, s in enumerate(order) if s not in order[:i]]
    summary = summarise_stream(log, start=-1, end=1000)
    assert summary.sent == len(one.packets)
    assert summary.lost == len(one.packets) - len(firsts)
    assert summary.duplicated == len(order) - len(firsts)
    assert summary.reordered == sum(any(other > s for other in firsts[:i]) for i, s in enumerate(firsts))
    if len(one.echoes) > 1:
        assert summary.longest_gap_ms is not None
        assert summary.longest_gap_ms >= max(b - a for (a, _), (b, _) in pairwise(one.echoes)) * 1000 - 1e-6


@given(_streams(), st.integers(0, 600))
def test_stream_counts_of_two_adjoining_windows_add_up(log: ProbeLog, cut: int) -> None:
    first = summarise_stream(log, start=-1, end=cut / 100)
    second = summarise_stream(log, start=cut / 100, end=1000)
    whole = summarise_stream(log, start=-1, end=1000)
    for name in ("sent", "lost", "reordered", "duplicated"):
        assert getattr(first, name) + getattr(second, name) == getattr(whole, name), name
    # A gap of no length on the cut itself is in neither window.
    assert (whole.longest_gap_ms or 0) == max(first.longest_gap_ms or 0, second.longest_gap_ms or 0)


@st.composite
def _sessions(draw: st.DrawFn) -> Session:
    moments = sorted(draw(st.lists(st.integers(0, 3000), min_size=2, max_size=16, unique=True)))
    endings = st.sampled_from([Ending.ANSWERED, Ending.ANSWERED, Ending.ANSWERED, Ending.WRONG, Ending.LATE])
    pairs = zip(moments[::2], moments[1::2], strict=False)
    messages = [message(n, a / 100, b / 100, draw(endings)) for n, (a, b) in enumerate(pairs, start=1)]
    reset_at = None
    if draw(st.booleans()):
        reset_at = messages[-1].until
        messages[-1] = message(len(messages), messages[-1].sent_at, reset_at, Ending.RESET)
    return Session(region="r", number=1, opened_at=0, reset_at=reset_at, messages=tuple(messages))


@given(st.lists(_sessions(), max_size=6), st.integers(0, 3000))
def test_session_counts_of_two_adjoining_windows_add_up(sessions: list[Session], cut: int) -> None:
    log = log_of(*sessions)
    first = summarise_sessions(log, start=-1, end=cut / 100)
    second = summarise_sessions(log, start=cut / 100, end=1000)
    whole = summarise_sessions(log, start=-1, end=1000)
    for name in ("reset", "lost", "reordered"):
        assert getattr(first, name) + getattr(second, name) == getattr(whole, name), name
    assert whole.longest_stall_ms == max(first.longest_stall_ms, second.longest_stall_ms)


@given(st.lists(_sessions(), max_size=6))
def test_what_survived_was_opened_and_neither_reset_nor_hurt(sessions: list[Session]) -> None:
    whole = summarise_sessions(log_of(*sessions), start=-1, end=1000)
    hurt = sum(s.reset_at is not None or any(m.lost for m in s.messages) for s in sessions)
    assert whole.opened == len(sessions)
    assert whole.survived == len(sessions) - hurt

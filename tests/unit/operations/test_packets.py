"""What is made of packets that were timed."""

from entourage.operations.packets import LOST, figures


def test_lost_packets_are_counted_and_are_in_no_latency() -> None:
    trips = [0.001 * number for number in range(1, 1001)] + [LOST]
    found = figures(trips)
    assert (found["packets"], found["lost"]) == (1001, 1)
    assert (found["p50_ms"], found["max_ms"]) == (500.0, 1000.0)
    assert 998.0 <= found["p999_ms"] <= 1000.0
    assert [share for share, _ in found["quantiles"]] == [0.5, 0.9, 0.99, 0.999, 0.9999]


def test_nothing_is_made_of_nothing() -> None:
    found = figures([LOST])
    assert (found["lost"], found["p999_ms"], found["max_ms"]) == (1, None, None)

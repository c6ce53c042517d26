"""`realtime`: what it prints of promises that are kept, and of those that are not."""

import json
from dataclasses import replace

import pytest
from cli_world import FakePlace, entourage, example_world

from entourage.model.ids import HostId, MemberId
from entourage.model.realtime import Reservation
from entourage.operations.realtime import Forwarded, RealtimeView, Watched
from entourage.ports.hypervisor import PromisedThread

world = pytest.fixture(autouse=True)(example_world)

THREAD = PromisedThread(
    name="CPU 0/TCG",
    promise=Reservation(budget_us=1000, period_us=5000),
    wanted="SCHED_FIFO 29 on CPU 0",
    found="SCHED_FIFO 29 on CPU 0",
    is_kept=True,
    ran_us=0,
    waited_us=0,
)
KEPT = Watched(member=MemberId("fw"), host=HostId("east/h1"), thread=THREAD, ran=0.125, waited=0.0004)
CHANGED = replace(KEPT, thread=replace(THREAD, name="fw", found="SCHED_OTHER on CPU 0", is_kept=False))
GREEDY = replace(KEPT, ran=0.5)
GONE = replace(KEPT, thread=replace(THREAD, found=None, is_kept=False))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[RealtimeView]:
    """What there is to see: the last of the list."""
    views = [RealtimeView(threads=(KEPT,), problems=())]

    async def watch(_: FakePlace, *, for_s: float, probes: bool) -> RealtimeView:
        assert for_s == 1
        assert probes is (views[-1].forwarded is not None)
        return views[-1]

    monkeypatch.setattr("entourage.cli.realtime.watch", watch)
    return views


def test_what_is_kept_is_shown_with_what_was_used(shown: list[RealtimeView]) -> None:
    result = entourage("realtime")
    assert result.exit_code == 0
    assert "all is kept" in result.stdout
    row = next(line for line in result.stdout.splitlines() if "CPU 0/TCG" in line)
    for part in ("fw", "east/h1", "1000 µs in 5000 µs (20.0%)", "SCHED_FIFO 29 on CPU 0", "12.5%", "0.04%"):
        assert part in row
    assert shown


def test_what_packets_took_is_shown_beside_what_is_promised(shown: list[RealtimeView]) -> None:
    figures = {"packets": 1000, "lost": 1, "p50_ms": 1.5, "p99_ms": 3.0, "p999_ms": 12.0}
    shown.append(RealtimeView(threads=(KEPT,), problems=(), forwarded=Forwarded(figures=figures, promised_s=0.012)))
    result = entourage("realtime", "--probe")
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "1000 packets from the edge to a server and back, 1 lost: p50 1.5 ms, p99 3 ms, p99.9 12 ms" in said
    shown.append(replace(shown[-1], forwarded=Forwarded(figures=figures, promised_s=0.011)))
    late = entourage("realtime", "--probe", "--json")
    assert late.exit_code == 1
    assert json.loads(late.stdout)["verdicts"] == [
        "0.1 % of the packets took longer than 12 ms, and 11 ms are promised"
    ]


def test_a_fallback_is_told_and_nothing_is_wrong(shown: list[RealtimeView]) -> None:
    instead = "the kernel refuses SCHED_DEADLINE 1000 µs in 5000 µs: not permitted"
    shown.append(RealtimeView(threads=(replace(KEPT, thread=replace(THREAD, instead=instead)),), problems=()))
    result = entourage("realtime")
    assert result.exit_code == 0
    assert "east/h1 has taken its fallback: the kernel refuses SCHED_DEADLINE" in " ".join(result.stdout.split())
    assert json.loads(entourage("realtime", "--json").stdout)["threads"][0]["instead"] == instead


@pytest.mark.parametrize(
    ("watched", "verdict"),
    [
        (CHANGED, "fw on east/h1, fw: promised SCHED_FIFO 29 on CPU 0, applied SCHED_OTHER on CPU 0"),
        (GREEDY, "fw on east/h1, CPU 0/TCG: it used 50.0% of a CPU, more than the 20.0% it is promised"),
        (
            replace(KEPT, waited=0.85),
            "fw on east/h1, CPU 0/TCG: it waited for a CPU 85.0% of the time: it has missed budgets",
        ),
        (GONE, "fw on east/h1, CPU 0/TCG: it has ended"),
    ],
)
def test_what_is_not_as_promised_is_said_and_is_a_failure(
    watched: Watched, verdict: str, shown: list[RealtimeView]
) -> None:
    shown.append(RealtimeView(threads=(KEPT, watched), problems=("rt has nothing of what it is promised",)))
    result = entourage("realtime", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["verdicts"] == ["rt has nothing of what it is promised", verdict]
    assert entourage("realtime").exit_code == 1


def test_a_lab_without_promises_says_how_to_have_them(shown: list[RealtimeView]) -> None:
    shown.append(RealtimeView(threads=(), problems=()))
    result = entourage("realtime")
    assert result.exit_code == 0
    assert "nothing is promised" in result.stdout

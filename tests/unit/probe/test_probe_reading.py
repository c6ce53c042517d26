from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.probe.analysis import Ending, ProbeLog, summarise_sessions, summarise_stream
from entourage.probe.rawlog import LogWriter
from entourage.probe.reading import ProbeLogError, read_log


def write_everything(path: Path) -> None:
    """A log with every kind of record: one session per thing that can happen to it."""
    with LogWriter(str(path)) as log:
        log.begin(100.0, {"region": "users-east"})
        for session in range(1, 6):
            log.open(101.0, session)
            log.send(101.0, session, 1)
            log.reply(101.1, session, 1)
            log.send(102.0, session, 2)
        log.reply(102.2, 1, 2)
        log.wrong(102.2, 2, instead_of=2, text='status 503, "sorry"')
        log.stray(102.9, 2, 2)
        log.stray(102.1, 3, 1)
        log.reply(102.2, 3, 2)
        log.wrong(102.3, 3, instead_of=None, text="for someone else")
        log.reset(103.0, 4, "Connection reset by peer")
        log.request(102.0, latency_ms=12.345, text="ok")
        for sequence in range(4):
            log.packet(102.0 + sequence / 100, sequence)
        log.echo(102.051, 3)
        log.echo(102.050, 0)
        log.step(102.5, -3.5)
        log.end(106.0, {"opened": 5})


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    path = tmp_path / "raw.jsonl"
    write_everything(path)
    return path


def endings(log: ProbeLog, session: int) -> list[Ending]:
    return [m.ending for s in log.sessions if s.number == session for m in s.messages]


def test_each_record_ends_up_where_it_belongs(everything: Path) -> None:
    log = read_log(everything)
    assert [s.number for s in log.sessions] == [1, 2, 3, 4, 5]
    assert endings(log, 1) == [Ending.ANSWERED, Ending.ANSWERED]
    assert endings(log, 2) == [Ending.ANSWERED, Ending.LATE]
    assert endings(log, 3) == [Ending.ANSWERED, Ending.ANSWERED]
    assert log.sessions[2].duplicates == (102.1,)
    assert endings(log, 4) == [Ending.ANSWERED, Ending.RESET]
    assert log.sessions[3].reset_at == 103.0
    assert endings(log, 5) == [Ending.ANSWERED, Ending.OPEN]
    assert log.sessions[4].messages[1].until == 106.0
    assert [(r.scheduled_at, r.latency_ms, r.outcome) for r in log.requests] == [(102.0, 12.345, "ok")]
    assert log.streams[0].region == "users-east"
    assert log.streams[0].echoes == ((102.05, 0), (102.051, 3))


def test_what_was_read_is_summed_up(everything: Path) -> None:
    log = read_log(everything)
    sessions = summarise_sessions(log, start=100, end=110)
    assert (sessions.opened, sessions.survived, sessions.reset, sessions.lost) == (5, 3, 1, 2)
    assert (sessions.stalled_over_1s, sessions.reordered, sessions.duplicated) == (1, 1, 1)
    assert sessions.longest_stall_ms == 4000
    assert summarise_stream(log, start=100, end=110).lost == 2


def test_a_set_clock_is_warned_of(everything: Path) -> None:
    (warning,) = read_log(everything).warnings
    assert "the clock was set by -3.5 ms" in warning


def test_a_cut_off_last_line_is_left_out_and_said(everything: Path) -> None:
    whole = everything.read_bytes()
    cut = whole.index(b'["reset"') + 12
    everything.write_bytes(whole[:cut])
    log = read_log(everything)
    assert any("cut off" in warning for warning in log.warnings)
    assert any("did not end cleanly" in warning for warning in log.warnings)
    assert endings(log, 4) == [Ending.ANSWERED, Ending.OPEN]


@given(st.data())
def test_a_log_cut_off_anywhere_after_its_first_line_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "raw.jsonl"
    write_everything(path)
    whole = path.read_bytes()
    cut = data.draw(st.integers(whole.index(b"\n") + 1, len(whole) - 1))
    path.write_bytes(whole[:cut])
    log = read_log(path)
    assert any("did not end cleanly" in warning for warning in log.warnings)
    assert any("cut off" in warning for warning in log.warnings) == (whole[cut - 1 : cut] != b"\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "raw.jsonl:1: empty"),
        ("hello\n", "raw.jsonl:1: not a record"),
        ('{"a": 1}\n', "raw.jsonl:1: not a record"),
        ('["open",1,1]\n', "raw.jsonl:1: not a record of a probe's log: a log has one beginning"),
        ('["begin",1,{"format":"other/9","region":"r"}]\n', "the format is 'other/9'"),
        ('["begin",1,{"format":"entourage.probe-log/1","region":"r"}]\n["tea",1]\n', "raw.jsonl:2: not a record"),
        ('["begin",1,{"format":"entourage.probe-log/1","region":"r"}]\n["send",1,7,1]\n', "raw.jsonl:2: not a record"),
        ('["begin",1,{"format":"entourage.probe-log/1","region":"r"}]\n["packet",1]\n', "raw.jsonl:2: not a record"),
    ],
    ids=["empty", "text", "object", "no beginning", "format", "unknown record", "unopened session", "short record"],
)
def test_what_is_no_log_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_text(text)
    with pytest.raises(ProbeLogError) as caught:
        read_log(path)
    assert message in str(caught.value)

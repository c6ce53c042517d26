"""What is remembered survives being written down."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules_world import FOLLOW, Loop, after_being_whole, lies, placed, rules, view

from entourage.model.ids import HostId, MemberId, ServiceId
from entourage.rules.deciding import decide
from entourage.rules.memory import Failed, Memory, Placed, memory_from_json, memory_to_json

RULES = rules(FOLLOW)
NAMES = st.text(max_size=5)
SERVICES = NAMES.map(ServiceId)
TIMES = st.floats(allow_nan=False, allow_infinity=False)
WHERE = st.dictionaries(NAMES.map(MemberId), NAMES.map(HostId), max_size=3)
KEYS = st.tuples(NAMES, SERVICES)
MEMORIES = st.builds(
    Memory,
    placed=st.dictionaries(
        SERVICES, st.builds(Placed, where=WHERE, since=TIMES, whole=st.none() | WHERE, before=WHERE), max_size=3
    ),
    since=st.dictionaries(SERVICES, st.dictionaries(NAMES, TIMES, max_size=3), max_size=3),
    acted=st.dictionaries(NAMES, st.lists(st.tuples(TIMES, SERVICES), max_size=3).map(tuple), max_size=3),
    running=st.dictionaries(KEYS, TIMES, max_size=3),
    failed=st.dictionaries(KEYS, st.builds(Failed, times=st.integers(1, 10**6), last=TIMES), max_size=3),
    told=st.frozensets(KEYS, max_size=3),
)


def written_and_read(memory: Memory) -> Memory:
    return memory_from_json(json.loads(json.dumps(memory_to_json(memory))))


@given(MEMORIES)
def test_what_was_written_down_is_read_as_it_was(memory: Memory) -> None:
    assert written_and_read(memory) == memory


def test_a_loop_that_begins_anew_goes_on_with_what_the_last_one_remembered() -> None:
    moved = lies(placed(web1="west"))
    rule = FOLLOW.replace("}", ", hold: 5 s, limit: {at-once: 1, per-hour: 1}}")
    one = after_being_whole(rule)
    one.sees(moved)
    other = Loop(one.rules, elapsed=one.elapsed, memory=written_and_read(one.memory))
    for after in (1.0, 4.0, 10.0, 3600.0):
        decisions = one.sees(moved, after=after)
        assert other.sees(moved, after=after) == decisions
        for loop in (one, other):
            if decisions[0].verdict.value == "do":
                loop.does(decisions[0], done=False)
        assert one.memory == other.memory
        other.memory = written_and_read(other.memory)
    assert one.memory.failed


NOTHING = memory_to_json(Memory())


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"placed": 3},
        {**NOTHING, "placed": {"shop": {}}},
        {**NOTHING, "since": [["follow", "shop", 3.0]]},  # as an earlier version wrote it
        {**NOTHING, "since": {"shop": {"follow": None}}},
        {**NOTHING, "acted": {"follow": [3.0]}},
    ],
)
def test_what_is_no_memory_or_one_of_another_version_is_an_error_that_readers_know(data: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        memory_from_json(data)


ANYTHING = st.recursive(
    st.none() | st.integers(0, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(ANYTHING, st.sampled_from(sorted(NOTHING)))
def test_with_a_part_of_anything_else_it_is_an_error_that_readers_know_or_a_memory(part: object, key: str) -> None:
    try:
        memory = memory_from_json({**NOTHING, key: part})
    except (KeyError, TypeError, ValueError):
        return
    assert decide(view(lies()), RULES, memory).memory.placed

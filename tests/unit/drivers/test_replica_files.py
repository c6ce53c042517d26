"""A replica's files have one whole generation at every moment, wherever whoever writes them is killed."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.drivers.qemu.replica import ReplicaFiles, Standing, standing
from entourage.model.ids import HostId, MemberId
from entourage.model.replication import Generation

BLOCKS = 6  # of one byte; what a generation has written is its number


def generation(number: int) -> Generation:
    return Generation(
        id=f"{number}-x",
        number=number,
        member=MemberId("web1"),
        source=HostId("east/h1"),
        began_at=number,
        taken_at=number,
        valid_at=number + 0.5,
        bytes=1,
    )


def write(path: Path, number: int, content: dict[int, int]) -> Iterator[None]:
    """A round as it comes: a stand-in for the qcow2 image, block after block."""
    arrived: dict[int, int] = {}
    path.write_text("{}")
    yield
    for block, value in content.items():
        arrived[block] = value
        path.write_text(json.dumps(arrived))
        yield
    assert number


def shows(files: ReplicaFiles) -> tuple[int, bytes] | None:
    """What the last valid generation is, by the files alone: its number and its content."""
    seen = files.standing()
    if seen.generation is None:
        return None
    content = bytearray(files.disk.read_bytes())
    if seen.is_to_be_merged:
        for block, value in json.loads(files.round.read_text()).items():
            content[int(block)] = value
    return seen.generation.number, bytes(content)


def merge(files: ReplicaFiles) -> Iterator[None]:
    """Block after block into the disk."""
    for block, value in json.loads(files.round.read_text()).items():
        content = bytearray(files.disk.read_bytes())
        content[int(block)] = value
        files.disk.write_bytes(content)
        yield
    files.merged()
    yield


def one_round(files: ReplicaFiles, number: int, content: dict[int, int]) -> Iterator[None]:
    """All steps of a round, in the driver's order; whoever drives it may be killed after each."""
    files.make_folder()
    yield
    if files.standing().is_to_be_merged:
        yield from merge(files)
    files.prepare(size=BLOCKS)
    yield
    yield from write(files.round, number, content)
    files.accept(generation(number))
    yield
    yield from merge(files)


ROUNDS = st.lists(
    st.tuples(st.sets(st.integers(0, BLOCKS - 1)), st.integers(0, 40)), min_size=1, max_size=6
)  # which blocks each one brings, and after how many steps it is killed


@given(rounds=ROUNDS)
def test_there_is_one_whole_generation_after_every_step_of_every_round(
    rounds: list[tuple[set[int], int]],
) -> None:
    with TemporaryDirectory() as folder:
        files = ReplicaFiles(Path(folder) / "web1.replica")
        disk = bytearray(BLOCKS)  # at the source
        generations = {0: bytes(BLOCKS)}
        valid = 0
        for number, (blocks, killed_after) in enumerate(rounds, 1):
            since = generations[valid]
            for block in blocks:
                disk[block] = number
            generations[number] = bytes(disk)
            changed = {block: disk[block] for block in range(BLOCKS) if disk[block] != since[block]}
            for step, _ in enumerate(one_round(files, number, changed)):
                found = shows(files)
                if found is None:
                    assert valid == 0
                else:
                    assert found[0] in (valid, number)
                    assert found[1] == generations[found[0]], f"round {number}, step {step}"
                    valid = found[0]
                if step == killed_after:
                    break


@given(
    files=st.sets(st.sampled_from(["disk", "round", "lock", "record.new", "blocks.pid"])),
    layers=st.sampled_from([["disk"], ["disk", "round"], []]),
)
def test_only_what_a_record_names_and_what_is_there_counts(files: set[str], layers: list[str]) -> None:
    record = json.dumps({"generation": _plain(generation(3)), "layers": layers})
    seen = standing(record, files)
    images = files & {"disk", "round"}
    if layers and set(layers) <= images:
        assert seen == Standing(generation(3), tuple(layers), frozenset(images - set(layers)))
    else:
        assert seen == Standing(None, (), frozenset(images))
    assert standing(None, files) == Standing(None, (), frozenset(images))


@pytest.mark.parametrize("record", ["", "{}", "[]", "no JSON", '{"generation": {"id": 1}, "layers": ["disk"]}'])
def test_a_record_that_is_none_counts_for_nothing(record: str) -> None:
    assert standing(record, ["disk", "round"]).generation is None


def test_a_replica_of_another_size_begins_anew(tmp_path: Path) -> None:
    files = ReplicaFiles(tmp_path / "web1.replica")
    for _ in one_round(files, 1, {0: 1}):
        pass
    files.prepare(size=2 * BLOCKS)
    assert files.standing().generation is None
    assert files.disk.read_bytes() == bytes(2 * BLOCKS)


def _plain(of: Generation) -> dict[str, object]:
    return {name: getattr(of, name) for name in of.__slots__}

"""Finding a guest's memory among what a QEMU process has mapped."""

import pytest

from entourage.drivers.qemu.sampling import _memory

MIB = 1 << 20
MAPS = """\
55d0c8a00000-55d0c9200000 r-xp 00300000 fe:01 1234                       /usr/bin/qemu-system-x86_64
55d0cb000000-55d0cb800000 rw-p 00000000 00:00 0                          [heap]
7f2a00000000-7f2a08000000 rw-p 00000000 00:00 0
7f2a10000000-7f2a18000000 r--p 00000000 00:00 0
7f2a20000000-7f2a28002000 rw-s 00000000 00:01 77                         /memfd:ram (deleted)
7f2a30000000-7f2a3c000000 ---p 00000000 00:00 0
7ffd0a000000-7ffd0a021000 rw-p 00000000 00:00 0                          [stack]
"""


def mapped(begin: int, length: int, flags: str = "rw-p") -> str:
    return f"{begin:x}-{begin + length:x} {flags} 00000000 00:00 0\n"


def test_it_is_the_writable_mapping_of_the_memorys_size() -> None:
    assert _memory(MAPS, 128 * MIB) == (0x7F2A00000000, 128 * MIB)


def test_a_mapping_that_was_rounded_up_is_taken_and_the_closest_of_several() -> None:
    maps = mapped(0x7000_0000_0000, 129 * MIB) + mapped(0x7100_0000_0000, 128 * MIB + 8192)
    assert _memory(maps, 128 * MIB + 4096) == (0x7100_0000_0000, 128 * MIB + 8192)


@pytest.mark.parametrize(
    "maps",
    [
        "",
        "nonsense\n",
        mapped(0x7000_0000_0000, 128 * MIB, "r--p"),
        mapped(0x7000_0000_0000, 128 * MIB, "---p"),
        mapped(0x7000_0000_0000, 128 * MIB - 4096),
        mapped(0x7000_0000_0000, 129 * MIB + 4096),
    ],
    ids=["nothing", "nonsense", "not writable", "not there", "too small", "too large"],
)
def test_without_such_a_mapping_it_cannot_be_told(maps: str) -> None:
    with pytest.raises(ValueError, match="no mapping is of the memory's size"):
        _memory(maps, 128 * MIB)


def test_a_mapping_shared_between_processes_counts_too() -> None:
    assert _memory(mapped(0x7000_0000_0000, 64 * MIB, "rw-s"), 64 * MIB) == (0x7000_0000_0000, 64 * MIB)

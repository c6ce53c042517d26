"""Memory, CPU and rates that are no quantities or fit no host.

Each case is an edit of the example and exactly what is said about it.
"""

import pytest
from spec_edits import SHOP, Said, replaced, service_problems

CASES = [
    pytest.param(
        "memory: 128 MiB",
        "memory: 4 GiB",
        [
            (
                "16:13",
                "'4 GiB' is more memory than any host has",
                "the largest host, east/h1, has 2048 MiB and 2 cores",
            ),
        ],
        id="too much memory",
    ),
    pytest.param(
        "memory: 128 MiB",
        "memory: 64 MiB",
        [
            ("16:13", "'64 MiB' is too little memory", "a member needs at least 128 MiB"),
        ],
        id="too little memory",
    ),
    pytest.param(
        "cpu: 0.25",
        "cpu: 8",
        [
            ("17:10", "'8' is more CPU than any host has", "the largest host, east/h1, has 2048 MiB and 2 cores"),
        ],
        id="too much CPU",
    ),
    pytest.param(
        "memory: 128 MiB",
        "memory: 0 MiB",
        [
            ("16:13", "'0 MiB' is zero", "write a positive quantity, such as 128 MiB"),
        ],
        id="zero memory",
    ),
    pytest.param(
        "memory: 128 MiB",
        "memory: -1 GiB",
        [
            ("16:13", "'-1 GiB' is negative", "write a positive quantity, such as 128 MiB"),
        ],
        id="negative memory",
    ),
    pytest.param(
        "memory: 128 MiB",
        "memory: 128",
        [
            ("16:13", "'128' has no unit", "add one of B, kB, MB, GB, KiB, MiB, GiB, TiB: 128 MiB"),
        ],
        id="memory without unit",
    ),
    pytest.param(
        "memory: 128 MiB",
        "memory: 128 MiBs",
        [
            ("16:13", "unknown unit 'MiBs'", "use one of B, kB, MB, GB, KiB, MiB, GiB, TiB: 128 MiB"),
        ],
        id="unknown unit",
    ),
    pytest.param(
        "memory: 128 MiB",
        "memory: lots",
        [
            ("16:13", "'lots' is not a quantity", "write a number and a unit, such as 128 MiB"),
        ],
        id="no quantity",
    ),
    pytest.param(
        "memory: 128 MiB",
        "memory: 9999999999999999999999999999999999999999999999999999999999999999999999 MiB",
        [
            (
                "16:13",
                "'999999999999999999999999999999999999999999999999999999999999…' is not a quantity",
                "write it like 128 MiB",
            ),
        ],
        id="endless quantity",
    ),
    pytest.param(
        "cpu: 0.25",
        "cpu: 0",
        [
            ("17:10", "'0' is zero", "write a positive number of cores, such as 0.25"),
        ],
        id="zero CPU",
    ),
    pytest.param(
        "cpu: 0.25",
        "cpu: -0.5",
        [
            ("17:10", "'-0.5' is negative", "write a positive number of cores, such as 0.25"),
        ],
        id="negative CPU",
    ),
    pytest.param(
        "cpu: 0.25",
        "cpu: 2 cores",
        [
            ("17:10", "'2 cores' is not a number of cores", "write a plain number, such as 0.25"),
        ],
        id="CPU with unit",
    ),
    pytest.param(
        "cpu: 0.25",
        "cpu: " + "9" * 400,
        [
            (
                "17:10",
                "'999999999999999999999999999999999999999999999999999999999999…' is not a number of cores",
                "write a plain number, such as 0.25",
            ),
        ],
        id="endless CPU",
    ),
    pytest.param(
        "1 MB/s",
        "-1 MB/s",
        [
            ("40:17", "'-1 MB/s' is negative", "write a positive quantity, such as 1 MB/s"),
        ],
        id="negative dirty rate",
    ),
    pytest.param(
        "1 MB/s",
        "8 Mbit/s",
        [
            ("40:17", "unknown unit 'Mbit/s'", "use one of B/s, kB/s, MB/s, KiB/s, MiB/s: 1 MB/s"),
        ],
        id="dirty rate in bits",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_edit_of_the_example_is_refused_with_exactly(old: str, new: str, expected: list[Said]) -> None:
    assert service_problems(replaced(SHOP, old, new)) == expected

"""What is said about sites, hosts, links and regions.

Each case is an edit of the example and exactly what is said about it.
"""

import pytest
from spec_edits import SITES, Said, infrastructure_problems, replaced

CASES = [
    pytest.param(
        "east:\n    hosts",
        "east:\n    network: {rtt: 1 ms}\n    hosts",
        [
            ("4:14", "missing key 'rate' in the network of site 'east'", "add rate: 1 Gbit/s"),
        ],
        id="network of a site without a rate",
    ),
    pytest.param(
        "east:\n    hosts",
        "east:\n    network: 1 Gbit/s\n    hosts",
        [
            (
                "4:14",
                "network must be a mapping, not a single value",
                "write it like {rtt: 0.2 ms, rate: 1 Gbit/s}",
            ),
        ],
        id="network of a site that is no mapping",
    ),
    pytest.param(
        "[east, west]",
        "[east, wets]",
        [
            ("13:21", "unknown site 'wets'", "did you mean 'west'?"),
        ],
        id="unknown site in link",
    ),
    pytest.param(
        "[east, west]",
        "[east, east]",
        [
            ("13:14", "a link between 'east' and itself", "name two different sites"),
        ],
        id="link to itself",
    ),
    pytest.param(
        "[east, west]",
        "[east]",
        [
            ("13:14", "a link joins two sites, not 1", "write it like between: [east, west]"),
        ],
        id="link with one end",
    ),
    pytest.param(
        "links:\n",
        "links:\n  - {between: [west, east], rtt: 1 ms, rate: 1 Gbit/s}\n",
        [
            (
                "14:5",
                "duplicate link between 'east' and 'west', first on line 13",
                "describe the link between two sites once",
            ),
        ],
        id="duplicate link, other way round",
    ),
    pytest.param(
        "0 %",
        "101 %",
        [
            ("16:11", "loss '101 %' is over 100 %", "write 0 % to 100 %"),
        ],
        id="loss over 100 %",
    ),
    pytest.param(
        "loss: 0 %",
        "loss: 0",
        [
            ("16:11", "'0' has no unit", "add one of %: 0.1 %"),
        ],
        id="loss without unit",
    ),
    pytest.param(
        "loss: 0 %",
        "loss: -1 %",
        [
            ("16:11", "'-1 %' is negative", "write a positive quantity, such as 0.1 %"),
        ],
        id="negative loss",
    ),
    pytest.param(
        "50 ms",
        "50",
        [
            ("14:10", "'50' has no unit", "add one of us, µs, ms, s, min: 50 ms"),
        ],
        id="RTT without unit",
    ),
    pytest.param(
        "50 ms",
        "0 ms",
        [
            ("14:10", "'0 ms' is zero", "write a positive quantity, such as 50 ms"),
        ],
        id="zero RTT",
    ),
    pytest.param(
        "200 Mbit/s",
        "200 MB/s",
        [
            ("15:11", "unknown unit 'MB/s'", "use one of bit/s, kbit/s, Mbit/s, Gbit/s: 200 Mbit/s"),
        ],
        id="rate in bytes",
    ),
    pytest.param(
        "200 Mbit/s",
        "-200 Mbit/s",
        [
            ("15:11", "'-200 Mbit/s' is negative", "write a positive quantity, such as 200 Mbit/s"),
        ],
        id="negative rate",
    ),
    pytest.param(
        "    rtt: 50 ms\n",
        "",
        [
            ("13:5", "missing key 'rtt' in a link", "add rtt: 50 ms"),
        ],
        id="missing RTT",
    ),
    pytest.param(
        "near: east",
        "near: north",
        [
            ("19:22", "unknown site 'north'", "use one of east, west"),
        ],
        id="region near unknown site",
    ),
    pytest.param(
        "{near: west, rtt: 5 ms}",
        "{near: west}",
        [
            ("20:3", "missing key 'rtt' in region 'users-west'", "add rtt: 5 ms"),
        ],
        id="region without RTT",
    ),
    pytest.param(
        "{near: west, rtt: 5 ms}",
        "west",
        [
            (
                "20:15",
                "region 'users-west' must be a mapping, not a single value",
                "write it like {near: east, rtt: 5 ms}",
            ),
        ],
        id="region of the wrong kind",
    ),
    pytest.param(
        "users-west",
        "users-east",
        [
            ("20:3", "duplicate region 'users-east', first on line 19", "give every region a name of its own"),
        ],
        id="duplicate region",
    ),
    pytest.param(
        "users-west",
        "users_west",
        [
            ("20:3", "'users_west' is not a name for a region", "use 1 to 15 of a-z, 0-9 and -, a letter first"),
        ],
        id="region name",
    ),
    pytest.param(
        "  west:\n    hosts:\n",
        "  east:\n    hosts:\n",
        [
            ("7:3", "duplicate site 'east', first on line 3", "give every site a name of its own"),
            ("13:21", "unknown site 'west'", "was one of the two 'east' meant to be it?"),
            ("20:22", "unknown site 'west'", "was one of the two 'east' meant to be it?"),
        ],
        id="duplicate site",
    ),
    pytest.param(
        "h2:",
        "h1:",
        [
            ("6:7", "duplicate host 'h1', first on line 5", "give every host a name of its own"),
        ],
        id="duplicate host",
    ),
    pytest.param(
        "    hosts:\n",
        "    host:\n",
        [
            ("4:5", "unknown key 'host' in site 'east'", "did you mean 'hosts'?"),
        ],
        id="mistyped hosts",
    ),
    pytest.param(
        "links:",
        "  north: {hosts: {}}\nlinks:",
        [
            ("12:18", "site 'north' has no host", "define at least one, such as {h1: {memory: 2 GiB, cpu: 2}}"),
        ],
        id="site without hosts",
    ),
    pytest.param(
        "memory: 2 GiB",
        "memory: -2 GiB",
        [
            ("5:20", "'-2 GiB' is negative", "write a positive quantity, such as 2 GiB"),
        ],
        id="negative host memory",
    ),
    pytest.param(
        "cpu: 2",
        "cpu: two",
        [
            ("5:32", "'two' is not a number of cores", "write a plain number, such as 2"),
        ],
        id="host CPU",
    ),
    pytest.param(
        SITES[: SITES.index("links:")],
        "sites: [east, west]\n",
        [
            (
                "1:8",
                "sites must be a mapping, not a list",
                "write it like {east: {hosts: {h1: {memory: 2 GiB, cpu: 2}}}}",
            ),
        ],
        id="sites of the wrong kind have no follow-up",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_edit_of_the_example_is_refused_with_exactly(old: str, new: str, expected: list[Said]) -> None:
    assert infrastructure_problems(replaced(SITES, old, new)) == expected

"""MAC addresses, addresses, subnets and gateways that do not fit.

Each case is an edit of the example and exactly what is said about it.
"""

import pytest
from spec_edits import SHOP, Said, replaced, service_problems

CASES = [
    pytest.param(
        "52:54:00:20:01:02",
        "52:54:00:20:00:02",
        [
            ("26:53", "duplicate MAC address 52:54:00:20:00:02, first on line 19", "every interface needs its own"),
        ],
        id="duplicate MAC",
    ),
    pytest.param(
        "mac: 52:54:00:20:00:02",
        "mac: 52:54:00:AA:00:02}\n      - {segment: inside, address: 10.20.3.99, mac: 52:54:00:aa:00:02",
        [
            ("20:53", "duplicate MAC address 52:54:00:aa:00:02, first on line 19", "every interface needs its own"),
        ],
        id="duplicate MAC in another case",
    ),
    pytest.param(
        "10.20.1.2,",
        "10.20.1.1,",
        [
            ("26:37", "duplicate address 10.20.1.1, first on line 20", "every interface needs its own"),
        ],
        id="duplicate address",
    ),
    pytest.param(
        "52:54:00:20:01:02",
        "52:54:00:20:01:ZZ",
        [
            (
                "26:53",
                "'52:54:00:20:01:ZZ' is not a MAC address",
                "write six pairs of hex digits with colons, such as 52:54:00:20:03:11",
            ),
        ],
        id="MAC with bad digits",
    ),
    pytest.param(
        "52:54:00:20:01:02",
        "52-54-00-20-01-02",
        [
            (
                "26:53",
                "'52-54-00-20-01-02' is not a MAC address",
                "write six pairs of hex digits with colons, such as 52:54:00:20:03:11",
            ),
        ],
        id="MAC with dashes",
    ),
    pytest.param(
        "52:54:00:20:01:02",
        "52:54:00:20:01",
        [
            (
                "26:53",
                "'52:54:00:20:01' is not a MAC address",
                "write six pairs of hex digits with colons, such as 52:54:00:20:03:11",
            ),
        ],
        id="short MAC",
    ),
    pytest.param(
        "52:54:00:20:01:02",
        "53:54:00:20:01:02",
        [
            ("26:53", "'53:54:00:20:01:02' is a multicast MAC address", "make the first pair even: 52:54:00:20:03:11"),
        ],
        id="multicast MAC",
    ),
    pytest.param(
        "52:54:00:20:01:02",
        "00:00:00:00:00:00",
        [
            ("26:53", "'00:00:00:00:00:00' is no interface's MAC address", "write one like 52:54:00:20:03:11"),
        ],
        id="zero MAC",
    ),
    pytest.param(
        "10.20.1.2,",
        "10.20.1.256,",
        [
            ("26:37", "'10.20.1.256' is not an IPv4 address", "write it like 10.20.3.11"),
        ],
        id="bad address",
    ),
    pytest.param(
        "10.20.1.2,",
        "10.20.1.2/24,",
        [
            ("26:37", "'10.20.1.2/24' is not an IPv4 address", "write it without the prefix length"),
        ],
        id="address with length",
    ),
    pytest.param(
        "address: 203.0.113.10",
        "address: 127.0.0.1",
        [
            (
                "4:10",
                "'127.0.0.1' cannot be used: 127.0.0.0/8 is for loopback",
                "choose unicast addresses, such as from 10.0.0.0/8",
            ),
        ],
        id="loopback address",
    ),
    pytest.param(
        "subnet: 10.20.1.0/24",
        "subnet: 10.20.1.1/24",
        [
            ("9:21", "'10.20.1.1/24' has host bits set", "did you mean 10.20.1.0/24?"),
        ],
        id="subnet with host bits",
    ),
    pytest.param(
        "subnet: 10.20.1.0/24",
        "subnet: 10.20.1.0",
        [
            ("9:21", "'10.20.1.0' is not an IPv4 network", "write address/length, such as 10.20.3.0/24"),
        ],
        id="subnet without length",
    ),
    pytest.param(
        "subnet: 10.20.1.0/24",
        "subnet: 10.20.1.0/33",
        [
            ("9:21", "'10.20.1.0/33' is not an IPv4 network", "write address/length, such as 10.20.3.0/24"),
        ],
        id="subnet too long",
    ),
    pytest.param(
        "subnet: 10.20.1.0/24",
        "subnet: 10.20.1.0/31",
        [
            ("9:21", "subnet 10.20.1.0/31 is too small", "use a prefix length up to 30"),
        ],
        id="subnet too small",
    ),
    pytest.param(
        "subnet: 10.20.1.0/24",
        "subnet: 224.0.1.0/24",
        [
            (
                "9:21",
                "'224.0.1.0/24' cannot be used: 224.0.0.0/4 is for multicast",
                "choose unicast addresses, such as from 10.0.0.0/8",
            ),
        ],
        id="multicast subnet",
    ),
    pytest.param(
        "10.20.1.2,",
        "10.20.9.2,",
        [
            (
                "26:37",
                "address 10.20.9.2 is outside segment 'outside', 10.20.1.0/24",
                "choose one from 10.20.1.1 to 10.20.1.254",
            ),
        ],
        id="address outside segment",
    ),
    pytest.param(
        "10.20.1.2,",
        "10.20.1.0,",
        [
            (
                "26:37",
                "address 10.20.1.0 is the network address of segment 'outside'",
                "choose one from 10.20.1.1 to 10.20.1.254",
            ),
        ],
        id="network address",
    ),
    pytest.param(
        "10.20.1.2,",
        "10.20.1.255,",
        [
            (
                "26:37",
                "address 10.20.1.255 is the broadcast address of segment 'outside'",
                "choose one from 10.20.1.1 to 10.20.1.254",
            ),
        ],
        id="broadcast address",
    ),
    pytest.param(
        "10.20.0.2,",
        "10.20.0.1,",
        [
            (
                "19:37",
                "address 10.20.0.1 is the gateway of segment 'transit'",
                "the site's edge has this address; choose another",
            ),
        ],
        id="gateway's address",
    ),
    pytest.param(
        "gateway: 10.20.0.1",
        "gateway: 10.20.9.1",
        [
            (
                "8:44",
                "gateway 10.20.9.1 is outside segment 'transit', 10.20.0.0/24",
                "choose one from 10.20.0.1 to 10.20.0.254",
            ),
        ],
        id="gateway outside segment",
    ),
    pytest.param(
        "gateway: 10.20.0.1",
        "gateway: 10.20.0.255",
        [
            (
                "8:44",
                "gateway 10.20.0.255 is the broadcast address of segment 'transit'",
                "choose one from 10.20.0.1 to 10.20.0.254",
            ),
        ],
        id="gateway is broadcast",
    ),
    pytest.param(
        "address: 203.0.113.10",
        "address: 203.0.113.99",
        [
            (
                "4:10",
                "address 203.0.113.99 is outside the prefix 203.0.113.0/28",
                "users can reach only addresses inside the announced prefix",
            ),
        ],
        id="service address outside prefix",
    ),
    pytest.param(
        "prefix: 203.0.113.0/28",
        "prefix: 203.0.113.10/28",
        [
            ("3:9", "'203.0.113.10/28' has host bits set", "did you mean 203.0.113.0/28?"),
        ],
        id="prefix with host bits",
    ),
    pytest.param(
        "subnet: 10.20.1.0/24",
        "subnet: 10.20.0.0/23",
        [
            (
                "9:21",
                "subnet 10.20.0.0/23 overlaps 10.20.0.0/24 of segment 'transit' on line 8",
                "give every segment a subnet of its own",
            ),
        ],
        id="overlapping subnets",
    ),
    pytest.param(
        ", gateway: 10.20.0.1",
        "",
        [
            (
                "7:1",
                "no segment has a gateway",
                "add gateway: 10.20.0.1 to the segment on which the site's edge is attached",
            ),
        ],
        id="no gateway",
    ),
    pytest.param(
        "10.20.1.0/24}",
        "10.20.1.0/24, gateway: 10.20.1.9}",
        [
            (
                "9:44",
                "segment 'outside' is the second with a gateway, the first is 'transit' on line 8",
                "only the segment on which the site's edge is attached has a gateway",
            ),
        ],
        id="two gateways",
    ),
    pytest.param(
        "{segment: dmz, address: 10.20.2.2,",
        "{segment: inside, address: 10.20.3.2,",
        [
            (
                "34:19",
                "member 'lb' is on segment 'inside' twice, first on line 33",
                "a member has one interface on a segment",
            ),
            (
                "51:17",
                "'lb' has no segment in common with 'fw', the stage before it",
                "give both an interface on one segment, or change the order of the chain",
            ),
        ],
        id="two interfaces on a segment",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_edit_of_the_example_is_refused_with_exactly(old: str, new: str, expected: list[Said]) -> None:
    assert service_problems(replaced(SHOP, old, new)) == expected

"""Unknown, missing, duplicate and wrongly made keys and names, and YAML that a spec must not have.

Each case is an edit of the example and exactly what is said about it.
"""

import pytest
from spec_edits import CHAIN, SHOP, Said, replaced, service_problems

CASES = [
    pytest.param(
        "role: firewall",
        "role: fireawll",
        [
            ("22:11", "unknown role 'fireawll'", "did you mean 'firewall'?"),
        ],
        id="unknown role",
    ),
    pytest.param(
        "role: firewall",
        "role: NO",
        [
            ("22:11", "unknown role 'NO'", "use one of server, load-balancer, firewall, router"),
        ],
        id="boolean word as role",
    ),
    pytest.param(
        "segment: dmz",
        "segment: dzm",
        [
            ("27:19", "unknown segment 'dzm'", "did you mean 'dmz'?"),
        ],
        id="unknown segment",
    ),
    pytest.param(
        "home: east",
        "home: eats",
        [
            ("5:7", "unknown site 'eats'", "did you mean 'east'?"),
        ],
        id="unknown home site",
    ),
    pytest.param(
        CHAIN,
        "chain: [rt, fw, lb, [web1, web3]]",
        [
            ("51:28", "unknown member 'web3'", "did you mean 'web2'?"),
        ],
        id="unknown member in chain",
    ),
    pytest.param(
        "home: east\n",
        "home: east\nprfx: 1\n",
        [
            ("6:1", "unknown key 'prfx' in the file", "did you mean 'prefix'?"),
        ],
        id="unknown top key",
    ),
    pytest.param(
        "role: firewall",
        "rol: firewall",
        [
            ("22:5", "unknown key 'rol' in member 'fw'", "did you mean 'role'?"),
        ],
        id="mistyped key is not also missing",
    ),
    pytest.param(
        "members:",
        "membres:",
        [
            ("13:1", "unknown key 'membres' in the file", "did you mean 'members'?"),
        ],
        id="mistyped section has no follow-up",
    ),
    pytest.param(
        "    role: firewall\n",
        "",
        [
            ("21:3", "missing key 'role' in member 'fw'", "add role: server"),
        ],
        id="missing key",
    ),
    pytest.param(
        "home: east\n",
        "",
        [
            ("2:1", "missing key 'home' in the file", "add home: east"),
        ],
        id="missing section",
    ),
    pytest.param(
        "home: east",
        "home:",
        [
            ("5:1", "home has no value", "write it like east"),
        ],
        id="value missing",
    ),
    pytest.param(
        "cpu: 0.25",
        "cpu: ~",
        [
            ("17:10", "cpu has no value", "write it like 0.25"),
        ],
        id="null value",
    ),
    pytest.param(
        "home: east",
        "home: [east]",
        [
            ("5:7", "home must be a single value, not a list", "write it like east"),
        ],
        id="list for a single value",
    ),
    pytest.param(
        CHAIN,
        "chain: rt",
        [
            ("51:8", "chain must be a list, not a single value", "write it like [rt, fw, lb, [web1, web2]]"),
        ],
        id="value for a list",
    ),
    pytest.param(
        "{subnet: 10.20.1.0/24}  ",
        "10.20.1.0/24",
        [
            ("9:12", "segment 'outside' must be a mapping, not a single value", "write it like {subnet: 10.20.3.0/24}"),
        ],
        id="value for a mapping",
    ),
    pytest.param(
        CHAIN,
        "chain: [rt, fw, {lb: web1}, web2]",
        [
            (
                "51:17",
                "a stage of the chain must be a single value, not a mapping",
                "write it like [rt, fw, lb, [web1, web2]]",
            ),
        ],
        id="mapping for a stage",
    ),
    pytest.param(
        "home: east\n",
        "home: east\nhome: west\n",
        [
            ("6:1", "duplicate key 'home' in the file, first on line 5", "remove one of the two"),
        ],
        id="duplicate key",
    ),
    pytest.param(
        "  web2:\n",
        "  web1:\n",
        [
            ("43:3", "duplicate member 'web1', first on line 35", "give every member a name of its own"),
            ("51:28", "unknown member 'web2'", "was one of the two 'web1' meant to be it?"),
        ],
        id="duplicate member",
    ),
    pytest.param(
        "  dmz: {subnet: 10.20.2.0/24}",
        "  outside: {subnet: 10.20.2.0/24}",
        [
            ("10:3", "duplicate segment 'outside', first on line 9", "give every segment a name of its own"),
            ("27:19", "unknown segment 'dmz'", "was one of the two 'outside' meant to be it?"),
            ("33:19", "unknown segment 'dmz'", "was one of the two 'outside' meant to be it?"),
        ],
        id="duplicate segment",
    ),
    pytest.param(
        "service: shop",
        "service: Shop",
        [
            ("2:10", "'Shop' is not a name for a service", "use 1 to 15 of a-z, 0-9 and -, a letter first"),
        ],
        id="service name",
    ),
    pytest.param(
        "web2:\n",
        "web2-in-the-back:\n",
        [
            ("43:3", "'web2-in-the-back' is not a name for a member", "use 1 to 15 of a-z, 0-9 and -, a letter first"),
            ("43:3", "member 'web2-in-the-back' is not in the chain", "add it to the chain, or remove the member"),
            ("51:28", "unknown member 'web2'", "did you mean 'web1'?"),
        ],
        id="member name too long",
    ),
    pytest.param(
        "  dmz: {",
        "  DMZ: {",
        [
            ("10:3", "'DMZ' is not a name for a segment", "use 1 to 15 of a-z, 0-9 and -, a letter first"),
            ("27:19", "unknown segment 'dmz'", "did you mean 'DMZ'?"),
            ("33:19", "unknown segment 'dmz'", "did you mean 'DMZ'?"),
        ],
        id="segment name, and who uses it",
    ),
    pytest.param(
        "chain:",
        "---\nchain:",
        [
            (
                "51:1",
                "a second document begins here",
                "keep one document in a file: remove this line, or write what follows to another file",
            ),
        ],
        id="second document",
    ),
    pytest.param(
        "    interfaces:\n",
        "    interfaces: *ports\n    was:\n",
        [
            ("18:17", "alias '*ports' is not allowed", "write the value out where it is needed"),
            (
                "19:5",
                "unknown key 'was' in member 'rt'",
                "use one of role, memory, cpu, interfaces, dirty-rate, disk, realtime, licence",
            ),
        ],
        id="alias",
    ),
    pytest.param(
        "memory: 128 MiB",
        "memory: !!str 128 MiB",
        [
            ("16:13", "tag '!!str' is not allowed", "write the value without a tag"),
        ],
        id="tag",
    ),
    pytest.param(
        "chain: [",
        "chain: [[",
        [
            (
                "52:1",
                "not YAML: expected ',' or ']', but got '<stream end>'",
                "found while parsing a flow sequence that begins on line 51, column 8",
            ),
        ],
        id="open bracket",
    ),
    pytest.param(
        "    role: router",
        "\trole: router",
        [
            (
                "15:1",
                "not YAML: found character '\\t' that cannot start any token",
                "check indentation, quotes and brackets here and on the line before",
            ),
        ],
        id="tab",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_edit_of_the_example_is_refused_with_exactly(old: str, new: str, expected: list[Said]) -> None:
    assert service_problems(replaced(SHOP, old, new)) == expected

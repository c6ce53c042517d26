"""Chains that packets could not pass.

Each case is an edit of the example and exactly what is said about it.
"""

import pytest
from spec_edits import CHAIN, SHOP, Said, replaced, service_problems

CASES = [
    pytest.param(
        CHAIN,
        "chain: [rt, fw, lb, fw, [web1, web2]]",
        [
            (
                "51:21",
                "member 'fw' is in the chain twice, first on line 51, column 13",
                "packets pass every member once: remove one of the two",
            ),
        ],
        id="member twice in chain",
    ),
    pytest.param(
        CHAIN,
        "chain: [rt, lb, [web1, web2]]",
        [
            ("21:3", "member 'fw' is not in the chain", "add it to the chain, or remove the member"),
        ],
        id="member left out",
    ),
    pytest.param(
        CHAIN,
        "chain: [rt, fw, lb]",
        [
            ("35:3", "member 'web1' is not in the chain", "add it to the chain, or remove the member"),
            ("43:3", "member 'web2' is not in the chain", "add it to the chain, or remove the member"),
            ("51:1", "the chain has no server", "end it with the servers: [rt, fw, lb, [web1, web2]]"),
        ],
        id="no server",
    ),
    pytest.param(
        CHAIN,
        "chain: []",
        [
            ("51:8", "the chain is empty", "list the members in the order of the packets: [rt, fw, lb, [web1, web2]]"),
        ],
        id="empty chain",
    ),
    pytest.param(
        CHAIN,
        "chain: [rt, fw, lb, []]",
        [
            ("51:21", "a stage of the chain is empty", "name its members: [rt, fw, lb, [web1, web2]]"),
        ],
        id="empty stage",
    ),
    pytest.param(
        CHAIN,
        "chain: [rt, lb, fw, [web1, web2]]",
        [
            (
                "51:13",
                "'lb' has no segment in common with 'rt', the stage before it",
                "give both an interface on one segment, or change the order of the chain",
            ),
            (
                "51:22",
                "'web1' has no segment in common with 'fw', the stage before it",
                "give both an interface on one segment, or change the order of the chain",
            ),
            (
                "51:28",
                "'web2' has no segment in common with 'fw', the stage before it",
                "give both an interface on one segment, or change the order of the chain",
            ),
        ],
        id="stage not adjacent",
    ),
    pytest.param(
        CHAIN,
        "chain: [fw, rt, lb, [web1, web2]]",
        [
            (
                "51:9",
                "'fw' is first in the chain, but not on the ingress segment 'transit'",
                "begin the chain with the member that has an interface where the gateway is",
            ),
        ],
        id="first not at ingress",
    ),
    pytest.param(
        CHAIN,
        "chain: [rt, fw, [web1, web2], lb]",
        [
            (
                "51:18",
                "server 'web1' is not in the last stage of the chain",
                "servers end the chain: [rt, fw, lb, [web1, web2]]",
            ),
            (
                "51:24",
                "server 'web2' is not in the last stage of the chain",
                "servers end the chain: [rt, fw, lb, [web1, web2]]",
            ),
        ],
        id="servers not last",
    ),
    pytest.param(
        CHAIN,
        "chain: [rt, fw, [lb, web1, web2]]",
        [
            (
                "51:18",
                "'lb' is no server, but shares the last stage with servers",
                "give it a stage of its own before the servers",
            ),
        ],
        id="appliance among servers",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_edit_of_the_example_is_refused_with_exactly(old: str, new: str, expected: list[Said]) -> None:
    assert service_problems(replaced(SHOP, old, new)) == expected

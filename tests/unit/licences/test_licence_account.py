"""What is used, reserved and free, and what vendors do not allow, from which copies exist and which moves are open."""

from dataclasses import replace
from pathlib import Path

import licences_world as world
import pytest
from licences_world import NOW, copy, licences, member, move, product, taken

from entourage.licences import Violation, ViolationCode, account, copies_of, observations, ways_of
from entourage.model.ids import HostId, MemberId, ProductId
from entourage.model.licences import Binding, Holdings, Licences
from entourage.model.units import format_seconds
from entourage.spec import load_infrastructure, load_licences, load_service

EXAMPLES = Path(__file__).parents[3] / "examples"
SITES = load_infrastructure(EXAMPLES / "sites.yaml")
BOUGHT = load_licences(EXAMPLES / "licences.yaml", SITES)
SHOP = load_service(EXAMPLES / "shop-licensed.yaml", replace(SITES, licences=BOUGHT))
RT, FW, WEB = MemberId("rt"), MemberId("fw"), MemberId("web1")
EAST_H1, WEST_H1 = HostId("east/h1"), HostId("west/h1")
NO_SECOND = product(second=False)


def violations(found: Licences, holdings: Holdings) -> tuple[Violation, ...]:
    return account(found, holdings, at=NOW).violations


def test_a_copy_takes_a_seat_of_its_sites_pool_and_what_that_has_not_of_the_floating_one() -> None:
    bought = licences(east=1, floating=2)
    copies = (copy("east/h1"), copy("east/h2", member("fw2")), copy("west/h1", member("fw3")))
    assert taken(bought, Holdings(copies=copies)) == {"vfw at east": (1, 0), "vfw floating": (2, 0)}
    assert violations(bought, Holdings(copies=copies)) == ()


@pytest.mark.parametrize("runs", [True, False], ids=["running", "waiting"])
def test_a_copy_that_waits_for_state_takes_a_seat_like_one_that_runs(runs: bool) -> None:
    both = Holdings(copies=(copy("east/h1"), copy("west/h1", runs=runs)))
    assert taken(licences(east=1, west=1), both) == {"vfw at east": (1, 0), "vfw at west": (1, 0)}


def test_a_second_copy_takes_no_seat_where_one_licence_covers_both() -> None:
    both = Holdings(copies=(copy("east/h1", runs=False), copy("west/h1")))
    bought = licences(NO_SECOND, east=1, west=1)
    assert taken(bought, both) == {"vfw at east": (0, 0), "vfw at west": (1, 0)}  # by the one that runs


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (True, [{"vfw floating": (1, 1)}, {"vfw floating": (2, 0)}, {"vfw floating": (1, 1)}]),
        (False, [{"vfw floating": (1, 0)}, {"vfw floating": (1, 0)}, {"vfw floating": (1, 0)}]),
    ],
)
def test_an_open_move_keeps_its_seats_whatever_copies_are_there(
    second: bool, expected: list[dict[str, tuple[int, int]]]
) -> None:
    moments = [
        (copy("east/h1"),),  # before anything is made
        (copy("east/h1", runs=False), copy("west/h1")),  # committed
        (copy("west/h1"),),  # cleaned up
    ]
    bought = licences(product(second=second), floating=2)
    seen = [taken(bought, Holdings(copies=copies, moves=(move("east/h1", "west/h1"),))) for copies in moments]
    assert seen == expected


def test_a_member_that_needs_one_licence_keeps_a_seat_at_both_sites_while_it_moves() -> None:
    bought = licences(NO_SECOND, east=1, west=1)
    moving = (move("east/h1", "west/h1"),)
    before = Holdings(copies=(copy("east/h1"), copy("west/h1", runs=False)), moves=moving)
    after = Holdings(copies=(copy("east/h1", runs=False), copy("west/h1")), moves=moving)
    assert taken(bought, before) == {"vfw at east": (1, 0), "vfw at west": (0, 1)}
    assert taken(bought, after) == {"vfw at east": (0, 1), "vfw at west": (1, 0)}
    assert taken(bought, replace(after, moves=(move("east/h1", "west/h1", is_open=False),))) == {
        "vfw at east": (0, 0),
        "vfw at west": (1, 0),
    }


def test_more_copies_than_seats_are_a_violation_that_names_them() -> None:
    (found,) = violations(licences(east=1), Holdings(copies=(copy("east/h1"), copy("east/h2", member("fw2")))))
    assert (found.code, found.site) == (ViolationCode.TOO_MANY_SEATS, world.EAST)
    assert found.reason == (
        "vfw at east: 2 seats are used, and there are 1; by fw of shop on east/h1, fw2 of shop on east/h2"
    )


def test_a_copy_where_nothing_was_bought_is_a_violation() -> None:
    (found,) = violations(licences(east=1), Holdings(copies=(copy("west/h2"),)))
    assert (found.code, found.site) == (ViolationCode.NO_POOL, world.WEST)
    assert found.reason == (
        "fw of shop on west/h2 needs a seat of vfw, and there is no pool of it at west, nor one that floats"
    )
    not_yet = Holdings(copies=(copy("east/h2"),), moves=(move("east/h2", "west/h2"),))
    assert violations(licences(east=1), not_yet) == ()


TWO = (copy("east/h1"), copy("west/h1", runs=False))
GRACE = licences(product(grace_s=1800), east=1, west=1)


@pytest.mark.parametrize(("age_s", "is_violated"), [(1800.0, False), (1800.5, True)])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_second_copy_may_be_there_for_its_grace_time(age_s: float, is_violated: bool, is_open: bool) -> None:
    earlier = move("west/h1", "east/h1", began=NOW - 9e4, is_open=False, name="shop-0")
    now = move("east/h1", "west/h1", began=NOW - age_s, is_open=is_open)
    found = violations(GRACE, Holdings(copies=TWO, moves=(now, earlier)))
    assert [each.code for each in found] == [ViolationCode.SECOND_COPY] * is_violated
    assert all("have had one uuid for 30 min, and vfw allows 30 min" in each.reason for each in found)


def test_a_second_copy_of_which_nobody_knows_since_when_is_beyond_its_grace_time() -> None:
    (found,) = violations(GRACE, Holdings(copies=TWO))
    assert (found.code, found.site) == (ViolationCode.SECOND_COPY, None)
    assert found.reason == (
        "fw of shop on east/h1 and fw of shop on west/h1 have had one uuid, nobody knows since when,"
        " and vfw allows 30 min"
    )


def test_without_a_grace_time_second_copies_may_stay() -> None:
    assert violations(licences(east=1, west=1), Holdings(copies=TWO)) == ()


def test_what_a_licence_is_bound_to_decides_which_copies_are_one() -> None:
    """Two services with the same inner addresses: their firewalls are one for a vendor that looks at the MAC."""
    blog = replace(SHOP, id=type(SHOP.id)("blog"))
    for bound_to, count in ((Binding.MAC, 1), (Binding.UUID, 0)):
        bought = replace(licences(product(bound_to=bound_to, grace_s=60), floating=5), pools=licences(floating=5).pools)
        bought = replace(bought, products=(*bought.products, *(product(name=name) for name in ("vrouter", "vlb"))))
        copies = [c for s, host in ((SHOP, EAST_H1), (blog, WEST_H1)) for c in copies_of(bought, s, {(FW, host): True})]
        found = violations(bought, Holdings(copies=tuple(copies)))
        assert [each.code for each in found] == [ViolationCode.SECOND_COPY] * count
        assert all("have had one MAC 52:54:00:20:01:02, nobody knows" in each.reason for each in found)


def test_only_members_with_a_licence_hold_seats() -> None:
    copies = copies_of(BOUGHT, SHOP, {(FW, EAST_H1): True, (WEB, EAST_H1): True, (FW, WEST_H1): False})
    assert [(c.licensed.product, c.host, c.runs) for c in copies] == [("vfw", EAST_H1, True), ("vfw", WEST_H1, False)]
    ways = ways_of(BOUGHT, SHOP, sources={FW: EAST_H1, WEB: EAST_H1, RT: EAST_H1}, targets={WEB: WEST_H1, RT: WEST_H1})
    assert [(way.licensed.member, way.source, way.target) for way in ways] == [(RT, EAST_H1, WEST_H1)]


def test_rules_observe_the_account_as_plain_data() -> None:
    """As many of each as they need: seats by pool, and violations also where there is no pool."""
    copies = (copy("east/h1"), copy("east/h2", member("fw2")), copy("west/h1", member("fw3")))
    seen = observations(account(licences(east=1), Holdings(copies=copies), at=NOW))
    vfw = ProductId("vfw")
    assert list(seen) == [
        {"name": "licence.used", "product": vfw, "site": "east", "value": 2},
        {"name": "licence.reserved", "product": vfw, "site": "east", "value": 0},
        {"name": "licence.free", "product": vfw, "site": "east", "value": 0},
        {"name": "licence.violated", "product": vfw, "site": "east", "value": 1},
        {"name": "licence.violated", "product": vfw, "site": "west", "value": 1},
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 days")],
)
def test_times_are_told_in_the_largest_unit_of_which_there_are_two(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text

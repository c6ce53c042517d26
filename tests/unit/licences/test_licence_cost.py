"""What licences of dedicated and of shared appliances cost, worked out by hand, and honest both ways."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from entourage.licences import account, compare, copies_of, ways_of
from entourage.model.ids import HostId, MoveId, ProductId, ServiceId, SiteId
from entourage.model.licences import Holdings, LicensedMove, Pool
from entourage.model.world import Service
from entourage.spec import load_infrastructure, load_licences, load_service

EXAMPLES = Path(__file__).parents[3] / "examples"
SITES = load_infrastructure(EXAMPLES / "sites.yaml")
BOUGHT = load_licences(EXAMPLES / "licences.yaml", SITES)
SHOP = load_service(EXAMPLES / "shop-licensed.yaml", replace(SITES, licences=BOUGHT))
AT = [site.id for site in SITES.sites]


def services(count: int) -> list[Service]:
    return [replace(SHOP, id=ServiceId(f"shop{number}")) for number in range(count)]


def test_one_service_alone_is_cheaper_with_its_own_set() -> None:
    costs = compare(BOUGHT, [SHOP], AT)
    found = [
        (c.product, c.dedicated_seats, c.spare_seats, c.dedicated, c.shared_seats, c.shared) for c in costs.products
    ]
    assert found == [
        ("vfw", 2, 1, Decimal(120 + 150), 2, Decimal(120 + 150)),  # a spare one at west, where a move brings it
        ("vlb", 2, 1, Decimal(199), 2, Decimal(199)),  # both copies take one of the floating pool
        ("vrouter", 1, 0, Decimal(40), 2, Decimal(80)),  # one covers both
    ]  # fmt: skip
    assert (costs.dedicated, costs.shared) == (Decimal(509), Decimal(549))
    assert costs.equal_from == 2


@pytest.mark.parametrize(("count", "dedicated"), [(2, "768.50"), (10, "2844.50")])
def test_several_services_cost_more_with_sets_of_their_own_and_shared_ones_as_before(
    count: int, dedicated: str
) -> None:
    costs = compare(BOUGHT, services(count), AT)
    assert (costs.dedicated, costs.shared) == (Decimal(dedicated), Decimal(549))
    assert costs.equal_from == 2  # whatever number is asked about


def test_the_number_from_which_dedicated_sets_cost_as_much_is_the_first_one() -> None:
    cheap = replace(BOUGHT, pools=tuple(replace(p, price=Decimal(1)) if p.site == "east" else p for p in BOUGHT.pools))
    turns = compare(cheap, [SHOP], AT).equal_from
    assert turns is not None
    for count in range(1, turns + 2):
        costs = compare(cheap, services(count), AT)
        assert (costs.dedicated >= costs.shared) == (count >= turns)


def test_dedicated_seats_are_those_that_the_account_takes_while_the_service_moves() -> None:
    appliances = [m.id for m in SHOP.members if m.licence]
    sources = {member: HostId("east/h1") for member in appliances}
    ways = ways_of(BOUGHT, SHOP, sources=sources, targets={member: HostId("west/h1") for member in appliances})
    moving = LicensedMove(move=MoveId("shop-1"), began=0.0, is_open=True, ways=ways)
    copies = copies_of(BOUGHT, SHOP, dict.fromkeys(sources.items(), True))
    found = account(BOUGHT, Holdings(copies=copies, moves=(moving,)), at=0.0)
    taken = sum(use.taken for use in found.pools)
    assert sum(cost.dedicated_seats for cost in compare(BOUGHT, [SHOP], AT).products) == taken == 5


def test_where_nothing_was_bought_the_price_is_not_known_and_that_is_said() -> None:
    without = replace(BOUGHT, pools=tuple(pool for pool in BOUGHT.pools if pool.site != "west"))
    costs = compare(without, [SHOP], AT)
    assert costs.unpriced == (("vfw", "west"),)
    assert costs.shared == Decimal(120 + 199 + 80)


def test_a_move_from_a_sites_own_pool_to_the_floating_one_needs_a_spare_seat_of_that() -> None:
    pools = (
        Pool(product=ProductId("vrouter"), site=SiteId("east"), seats=1, price=Decimal(10)),
        Pool(product=ProductId("vrouter"), site=None, seats=1, price=Decimal(7)),
    )
    (cost,) = [c for c in compare(replace(BOUGHT, pools=pools), [SHOP], AT).products if c.product == "vrouter"]
    assert (cost.spare_seats, cost.dedicated, cost.shared) == (1, Decimal(17), Decimal(17))


def test_servers_and_services_without_licences_are_not_in_the_comparison() -> None:
    web = replace(
        SHOP, members=tuple(replace(m, licence=ProductId("vfw") if m.id == "web1" else None) for m in SHOP.members)
    )
    costs = compare(BOUGHT, [web], AT)
    assert not costs.products
    assert costs.dedicated == costs.shared == Decimal(0)
    assert costs.equal_from is None

"""What licences of dedicated and of shared appliances cost, worked out by hand, and honest both ways."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.licences import account, compare, copies_of, ways_of
from entourage.model.ids import HostId, MoveId, ProductId, ServiceId, SiteId
from entourage.model.licences import Holdings, Licences, LicensedCopy, LicensedMove, Pool
from entourage.model.world import Service
from entourage.spec import load_infrastructure, load_licences, load_service

EXAMPLES = Path(__file__).parents[3] / "examples"
SITES = load_infrastructure(EXAMPLES / "sites.yaml")
BOUGHT = load_licences(EXAMPLES / "licences.yaml", SITES)
SHOP = load_service(EXAMPLES / "shop-licensed.yaml", replace(SITES, licences=BOUGHT))
AT = [site.id for site in SITES.sites]
WHERE = [*AT, SiteId("south")]


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
        assert costs.dedicated is not None
        assert costs.shared is not None
        assert (costs.dedicated >= costs.shared) == (count >= turns)


def taken(bought: Licences, every: Sequence[Service], moving: tuple[Service, SiteId] | None) -> dict[str, int]:
    """What the account takes of each pool, all services at home, while one of them moves."""
    copies: list[LicensedCopy] = []
    moves = []
    for service in every:
        at = {m.id: HostId(f"{service.home}/h1") for m in service.members if m.licence}
        copies += copies_of(bought, service, dict.fromkeys(at.items(), True))
        if moving is not None and service is moving[0]:
            ways = ways_of(bought, service, sources=at, targets=dict.fromkeys(at, HostId(f"{moving[1]}/h1")))
            moves.append(LicensedMove(move=MoveId("m"), began=0.0, is_open=True, ways=ways))
    found = account(bought, Holdings(copies=tuple(copies), moves=tuple(moves)), at=0.0)
    return {use.pool.words: use.taken for use in found.pools}


@given(
    homes=st.lists(st.sampled_from(WHERE), min_size=1, max_size=4),
    second=st.booleans(),
    own=st.sets(st.sampled_from(WHERE)),
    prices=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    firewalls=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_dedicated_seats_are_as_many_as_the_account_takes_when_any_one_service_moves_anywhere(
    homes: list[SiteId], second: bool, own: set[SiteId], prices: list[int], firewalls: list[bool]
) -> None:
    vfw = BOUGHT.product(ProductId("vfw"))
    pools = tuple(
        Pool(product=vfw.id, site=site, seats=99, price=Decimal(price))
        for site, price in zip((*WHERE, None), prices, strict=True)
        if site is None or site in own
    )
    bought = replace(BOUGHT, products=(replace(vfw, needs_second=second),), pools=pools)
    every = [
        replace(
            SHOP,
            id=ServiceId(f"shop{number}"),
            home=home,
            members=tuple(
                replace(m, licence=vfw.id if m.id == "fw" or (m.id == "rt" and both) else None) for m in SHOP.members
            ),
        )
        for number, (home, both) in enumerate(zip(homes, firewalls, strict=False))
    ]
    anything = [None, *((service, site) for service in every for site in WHERE if site != service.home)]
    seen = [taken(bought, every, moving) for moving in anything]
    needed = {pool.words: max(each[pool.words] for each in seen) for pool in pools}
    (cost,) = compare(bought, every, WHERE).products
    assert cost.dedicated_seats == sum(needed.values())
    assert cost.dedicated == sum(pool.price * needed[pool.words] for pool in pools)


def test_where_nothing_was_bought_the_price_is_not_known_and_that_is_said() -> None:
    without = replace(BOUGHT, pools=tuple(pool for pool in BOUGHT.pools if pool.site != "west"))
    costs = compare(without, [SHOP], AT)
    assert [(c.product, c.unpriced, c.dedicated, c.shared) for c in costs.products] == [
        ("vfw", ("west",), None, None),
        ("vlb", (), Decimal(199), Decimal(199)),
        ("vrouter", (), Decimal(40), Decimal(80)),
    ]
    assert (costs.dedicated, costs.shared, costs.equal_from) == (None, None, None)


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

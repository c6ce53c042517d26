"""Licences in the spec files: what is read, and exactly what is said about what cannot be meant."""

from dataclasses import replace
from decimal import Decimal

import pytest
from spec_edits import EXAMPLES, INFRASTRUCTURE, SHOP, Said, replaced, said, service_problems

from entourage.model.ids import MemberId, ProductId, SiteId
from entourage.model.licences import Binding, Licences, Pool, Product
from entourage.spec import SpecError, load_licences, load_service, parse_licences, parse_service

TEXT = """\
currency: EUR
products:
  vfw: {vendor: acme, bound-to: uuid, grace: 30 min, second-licence: needed}
  vlb: {vendor: balance, bound-to: nothing}
pools:
  - {product: vfw, site: east, seats: 2, price: 120}
  - {product: vlb, seats: 3, price: 99.50}
"""
VFW, VLB = ProductId("vfw"), ProductId("vlb")
BOUGHT = parse_licences(TEXT, file="licences.yaml", infrastructure=INFRASTRUCTURE)
LICENSED = replace(INFRASTRUCTURE, licences=BOUGHT)
ROUTER = "    role: router\n"  # lines 15 and 16


def problems(text: str) -> list[Said]:
    try:
        parse_licences(text, file="licences.yaml", infrastructure=INFRASTRUCTURE)
    except SpecError as error:
        return said(error)
    return []


def test_products_and_pools_are_read() -> None:
    assert (
        Licences(
            currency="EUR",
            products=(
                Product(id=VFW, vendor="acme", bound_to=Binding.UUID, grace_s=1800.0, needs_second=True),
                Product(id=VLB, vendor="balance", bound_to=Binding.NOTHING, grace_s=None, needs_second=True),
            ),
            pools=(
                Pool(product=VFW, site=SiteId("east"), seats=2, price=Decimal(120)),
                Pool(product=VLB, site=None, seats=3, price=Decimal("99.50")),
            ),
        )
        == BOUGHT
    )


@pytest.mark.parametrize(
    ("written", "seconds"), [("0 s", 0.0), ("90 s", 90.0), ("4 h", 14_400.0), ("14 days", 1_209_600.0)]
)
def test_a_grace_time_may_be_long_or_none_at_all(written: str, seconds: float) -> None:
    text = replaced(TEXT, "30 min", written)
    found = parse_licences(text, file="licences.yaml", infrastructure=INFRASTRUCTURE)
    assert found.product(VFW).grace_s == seconds


def test_the_example_is_read() -> None:
    found = load_licences(EXAMPLES / "licences.yaml", INFRASTRUCTURE)
    assert [(p.id, p.bound_to.value, p.grace_s, p.needs_second) for p in found.products] == [
        ("vrouter", "uuid", 14_400.0, False),
        ("vfw", "serial", 1800.0, True),
        ("vlb", "nothing", None, True),
    ]
    assert [(pool.words, pool.seats) for pool in found.pools] == [
        ("vrouter floating", 1), ("vfw at east", 1), ("vfw at west", 1), ("vlb floating", 2),
    ]  # fmt: skip


def test_the_licensed_example_is_the_shop_with_licences_for_its_appliances() -> None:
    bought = load_licences(EXAMPLES / "licences.yaml", INFRASTRUCTURE)
    found = load_service(EXAMPLES / "shop-licensed.yaml", replace(INFRASTRUCTURE, licences=bought))
    shop = load_service(EXAMPLES / "shop.yaml", INFRASTRUCTURE)
    needs = {MemberId("rt"): ProductId("vrouter"), MemberId("fw"): VFW, MemberId("lb"): VLB}
    assert found == replace(shop, members=tuple(replace(m, licence=needs.get(m.id)) for m in shop.members))


_POOL = "{product: vfw, site: east, seats: 2, price: 120}"
_CASES: list[tuple[str, str, list[Said]]] = [
    ("currency: EUR", "currency: euro",
     [("1:11", "'euro' is not a currency", "write three capital letters, as ISO 4217 has them: EUR")]),
    ("currency: EUR\n", "", [("1:1", "missing key 'currency' in the file", "add currency: EUR")]),
    ("bound-to: uuid", "bound-to: uid", [("3:33", "unknown binding 'uid'", "did you mean 'uuid'?")]),
    ("vendor: acme, ", "", [("3:3", "missing key 'vendor' in product 'vfw'", "add vendor: acme")]),
    ("vendor: acme", "vendor: Acme Inc",
     [("3:17", "'Acme Inc' is not a name for a vendor", "use 1 to 15 of a-z, 0-9 and -, a letter first")]),
    ("grace: 30 min", "grace: 30", [("3:46", "'30' has no unit", "add one of s, min, h, days: 30 min")]),
    ("second-licence: needed", "second-licence: yes",
     [("3:70", "unknown rule 'yes'", "use one of needed, not-needed")]),
    ("bound-to: nothing", "bound-to: nothing, grace: 1 h",
     [("4:52", "grace in product 'vlb', and nothing tells its vendor of a second copy",
       "leave grace out, or write bound-to: uuid, mac or serial")]),
    ("product: vfw, site", "product: vwf, site", [("6:15", "unknown product 'vwf'", "did you mean 'vfw'?")]),
    ("site: east", "site: eastt", [("6:26", "unknown site 'eastt'", "did you mean 'east'?")]),
    ("seats: 2", "seats: 2.5", [("6:39", "'2.5' is not a number of seats", "write a whole number, such as 2")]),
    ("seats: 2", "seats: 0", [("6:39", "'0' is not a number of seats", "write a whole number, such as 2")]),
    ("price: 120", "price: 120 EUR",
     [("6:49", "'120 EUR' is not a price",
       "write what a seat costs a month, without the currency, such as 120 or 99.50")]),
    ("price: 120", "price: -1",
     [("6:49", "'-1' is not a price",
       "write what a seat costs a month, without the currency, such as 120 or 99.50")]),
    (_POOL, f"{_POOL}\n  - {_POOL}",
     [("7:5", "a second pool of vfw at east, first on line 6", "write all seats into one pool")]),
    ("  - {product: vlb, seats: 3, price: 99.50}\n", "  - {product: vlb, seats: many, prize: 1}\n",
     [("7:27", "'many' is not a number of seats", "write a whole number, such as 2"),
      ("7:33", "unknown key 'prize' in a pool", "did you mean 'price'?")]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), _CASES)
def test_an_edit_is_refused_with_exactly(old: str, new: str, expected: list[Said]) -> None:
    assert problems(replaced(TEXT, old, new)) == expected


def test_a_file_without_products_and_pools_is_refused() -> None:
    assert problems("currency: EUR\nproducts: {}\npools: []\n") == [
        ("2:11", "there is no product", "define at least one, such as {vfw: {vendor: acme, bound-to: uuid}}"),
        ("3:8", "there is no pool", "add at least one: [{product: vfw, site: east, seats: 2, price: 120}]"),
    ]


def with_router(licence: str) -> str:
    return replaced(SHOP, ROUTER, f"{ROUTER}    licence: {licence}\n")


def test_a_member_names_the_product_that_it_needs() -> None:
    service = parse_service(with_router("vfw"), file="shop.yaml", infrastructure=LICENSED)
    assert service.member(MemberId("rt")).licence == VFW
    assert service.member(MemberId("fw")).licence is None


def test_a_product_that_nobody_bought_is_refused_with_the_likely_one() -> None:
    assert service_problems(with_router("vlbb"), LICENSED) == [
        ("16:14", "unknown product 'vlbb'", "did you mean 'vlb'?")
    ]


def test_a_licence_without_a_file_of_licences_is_refused_with_how_to_name_one() -> None:
    assert service_problems(with_router("vfw")) == [
        (
            "16:14",
            "licence 'vfw', and there is no file of licences",
            "name a file of products and pools: entourage lab up --licences FILE",
        )
    ]

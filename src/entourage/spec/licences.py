"""Licences: the products and pools of a file of their own, and the product that a member of a service needs."""

import re
from decimal import Decimal

from entourage.model.ids import ProductId, SiteId
from entourage.model.licences import Binding, Licences, Pool, Product
from entourage.model.units import LONG_DURATION
from entourage.model.world import Infrastructure
from entourage.spec.fields import Fields, as_mapping, named
from entourage.spec.nodes import Mapping, Node, Scalar
from entourage.spec.problems import Position, Problems, quote
from entourage.spec.values import read_choice, read_name

_PRODUCT = {"vendor": "acme", "bound-to": "uuid"}
_PRODUCT_OPTIONAL = {"grace": "30 min", "second-licence": "needed"}
_PRODUCT_EXAMPLE = "{vendor: acme, bound-to: uuid}"
_POOL = {"product": "vfw", "seats": "2", "price": "120"}
_POOL_EXAMPLE = "{product: vfw, site: east, seats: 2, price: 120}"
_TOP = {"currency": "EUR", "products": f"{{vfw: {_PRODUCT_EXAMPLE}}}", "pools": f"[{_POOL_EXAMPLE}]"}
_CURRENCY = re.compile(r"[A-Z]{3}")
_SEATS = re.compile(r"[1-9][0-9]{0,6}")
_PRICE = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,2})?")
_SECOND = {"needed": True, "not-needed": False}
_LIKE_LICENCES = "name a file of products and pools: entourage lab up --licences FILE"


def read_licences(root: Node, infrastructure: Infrastructure, problems: Problems) -> Licences | None:
    """The products and pools, or None with at least one problem noted."""
    top = as_mapping(root, "the file", problems, example=f"products: {_TOP['products']}")
    if top is None:
        return None
    fields = Fields(top, problems, what="the file", required=_TOP)
    currency = fields.scalar("currency")
    if currency is not None and not _CURRENCY.fullmatch(currency.text):
        hint = "write three capital letters, as ISO 4217 has them: EUR"
        problems.add(currency.at, f"{quote(currency.text)} is not a currency", hint=hint)
    products = fields.mapping("products")
    if products is not None and not products.entries:
        problems.add(products.at, "there is no product", hint=f"define at least one, such as {_TOP['products']}")
    found = [] if products is None else [_product(*entry, problems) for entry in named(products, "product", problems)]
    known = None if products is None else [name.text for name, _ in products.entries]
    pools = _pools(fields, known, [site.id for site in infrastructure.sites], problems)
    if problems.count or currency is None:
        return None
    return Licences(
        currency=currency.text, products=tuple(each for each in found if each is not None), pools=tuple(pools)
    )


def read_licence(member: Fields, licences: Licences | None, problems: Problems) -> ProductId | None:
    """The product that a member needs; None without, or if it was reported."""
    scalar = member.scalar("licence")
    if scalar is None:
        return None
    if licences is None:
        words = f"licence {quote(scalar.text)}, and there is no file of licences"
        problems.add(scalar.at, words, hint=_LIKE_LICENCES)
        return None
    found = read_choice(scalar, "product", [product.id for product in licences.products], problems)
    return None if found is None else ProductId(found.value)


def _product(name: Scalar, value: Node, problems: Problems) -> Product | None:
    what = f"product {quote(name.text)}"
    body = as_mapping(value, what, problems, example=_PRODUCT_EXAMPLE)
    if body is None:
        return None
    fields = Fields(body, problems, what=what, required=_PRODUCT, optional=_PRODUCT_OPTIONAL, at=name.at)
    vendor = fields.scalar("vendor")
    if vendor is not None:
        read_name(vendor, "vendor", problems)
    bound_to = fields.choice("bound-to", "binding", [binding.value for binding in Binding])
    grace = fields.quantity("grace", LONG_DURATION, zero=True)
    second = fields.choice("second-licence", "rule", list(_SECOND))
    if vendor is None or bound_to is None:
        return None
    binding = Binding(bound_to.value)
    if grace is not None and binding is Binding.NOTHING:
        hint = "leave grace out, or write bound-to: uuid, mac or serial"
        problems.add(grace.at, f"grace in {what}, and nothing tells its vendor of a second copy", hint=hint)
    return Product(
        id=ProductId(name.text),
        vendor=vendor.text,
        bound_to=binding,
        grace_s=None if grace is None else grace.value / 1000,
        needs_second=second is None or _SECOND[second.value],
    )


def _pools(top: Fields, products: list[str] | None, sites: list[SiteId], problems: Problems) -> list[Pool]:
    node = top.sequence("pools")
    if node is None:
        return []
    if not node.items:
        problems.add(node.at, "there is no pool", hint=f"add at least one: {_TOP['pools']}")
    pools = []
    first: dict[tuple[str, str | None], Position] = {}
    for item in node.items:
        body = as_mapping(item, "a pool", problems, example=_POOL_EXAMPLE)
        pool = None if body is None else _pool(body, products, sites, problems)
        if body is None or pool is None:
            continue
        where = pool.product, pool.site
        if where in first:
            words = f"a second pool of {pool.words}, first on line {first[where].line}"
            problems.add(body.at, words, hint="write all seats into one pool")
        first.setdefault(where, body.at)
        pools.append(pool)
    return pools


def _pool(body: Mapping, products: list[str] | None, sites: list[SiteId], problems: Problems) -> Pool | None:
    fields = Fields(body, problems, what="a pool", required=_POOL, optional={"site": "east"})
    product = None if products is None else fields.choice("product", "product", products)
    site = fields.choice("site", "site", list(sites))
    seats, price = fields.scalar("seats"), fields.scalar("price")
    if seats is not None and not _SEATS.fullmatch(seats.text):
        problems.add(seats.at, f"{quote(seats.text)} is not a number of seats", hint="write a whole number, such as 2")
        seats = None
    if price is not None and not _PRICE.fullmatch(price.text):
        hint = "write what a seat costs a month, without the currency, such as 120 or 99.50"
        problems.add(price.at, f"{quote(price.text)} is not a price", hint=hint)
        price = None
    if product is None or seats is None or price is None or (site is None and fields.has("site")):
        return None
    return Pool(
        product=ProductId(product.value),
        site=None if site is None else SiteId(site.value),
        seats=int(seats.text),
        price=Decimal(price.text),
    )

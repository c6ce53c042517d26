"""A pool of prefixes, of which every instance of a template gets its own."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from entourage.spec.fields import Fields
from entourage.spec.nodes import Scalar
from entourage.spec.problems import Problems, quote
from entourage.spec.values import Found

POOL_EXAMPLE = "{from: 198.51.100.0/24, length: 28, address: 10}"
_POOL = {"from": "198.51.100.0/24", "length": "28", "address": "10"}
_LONGEST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Prefixes of `length` inside `network`; users know the address of number `position` in each, from 0."""

    network: IPv4Network
    length: int
    position: int

    def free(self, taken: Collection[IPv4Network]) -> IPv4Network | None:
        """The first prefix that overlaps none of those; None if there is none."""
        near = [prefix for prefix in taken if prefix.overlaps(self.network)]
        candidates = self.network.subnets(new_prefix=self.length)
        return next((one for one in candidates if not any(one.overlaps(other) for other in near)), None)

    def address(self, prefix: IPv4Network) -> IPv4Address:
        """The address that users know, in a prefix of the pool."""
        return prefix[self.position]


def read_pool(template: Fields, problems: Problems) -> Pool | None:
    """The pool of a template; None if it was reported."""
    body = template.mapping("prefixes")
    if body is None:
        return None
    fields = Fields(body, problems, what="prefixes", required=_POOL)
    network = fields.network("from")
    shortest = 0 if network is None else network.value.prefixlen
    length = _whole(fields, "length", range(shortest, _LONGEST + 1), problems)
    last = 0 if length is None else 2 ** (_LONGEST - length.value) - 1
    position = None if length is None else _whole(fields, "address", range(last + 1), problems)
    if network is None or length is None or position is None:
        return None
    return Pool(network=network.value, length=length.value, position=position.value)


def _whole(fields: Fields, key: str, among: range, problems: Problems) -> Found[int] | None:
    scalar: Scalar | None = fields.scalar(key)
    if scalar is None:
        return None
    text = scalar.text
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) in among:
        return Found(int(text), scalar)
    hint = f"write a whole number from {among[0]} to {among[-1]}"
    problems.add(scalar.at, f"{key} {quote(text)} does not fit", hint=hint)
    return None

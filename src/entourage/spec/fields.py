"""Mappings with known keys: what is missing, unknown, written twice or of the wrong kind is reported once."""

from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from ipaddress import IPv4Address, IPv4Network

from entourage.spec.nodes import Mapping, Node, Refused, Scalar, Sequence
from entourage.spec.problems import Position, Problems, closest, quote, suggest
from entourage.spec.values import (
    Found,
    read_address,
    read_choice,
    read_cores,
    read_mac,
    read_name,
    read_network,
    read_quantity,
)

_KINDS = {Scalar: "a single value", Sequence: "a list", Mapping: "a mapping"}


class Fields:
    """The values of a mapping under its keys. A method gives None where a value is absent or was reported.

    `required` and `optional` give for each key an example of its value, which the hints show.
    """

    def __init__(
        self,
        node: Mapping,
        problems: Problems,
        *,
        what: str,
        required: MappingOf[str, str],
        optional: MappingOf[str, str] | None = None,
        at: Position | None = None,
    ) -> None:
        self._problems = problems
        self._examples = {**required, **(optional or {})}
        self._keys: dict[str, Scalar] = {}
        self._nodes: dict[str, Node] = {}
        self.complete = True  # no key is missing, unknown or there twice
        unknown = [key for key, value in node.entries if not self._keep(key, value, what)]
        absent = [key for key in self._examples if key not in self._nodes]
        # A mistyped key is one mistake, not an unknown and a missing one.
        meant = {closest(key.text, absent) for key in unknown}
        for key in unknown:
            known = absent if closest(key.text, absent) else list(self._examples)
            problems.add(key.at, f"unknown key {quote(key.text)} in {what}", hint=suggest(key.text, known))
            self.complete = False
        for key_name in required:
            if key_name not in self._nodes and key_name not in meant:
                hint = f"add {key_name}: {required[key_name]}"
                problems.add(at or node.at, f"missing key {key_name!r} in {what}", hint=hint)
                self.complete = False

    def _keep(self, key: Scalar, value: Node, what: str) -> bool:
        if key.text not in self._examples:
            return False
        first = self._keys.get(key.text)
        if first is not None:
            self._problems.add(
                key.at,
                f"duplicate key {key.text!r} in {what}, first on line {first.at.line}",
                hint="remove one of the two",
            )
            self.complete = False
        else:
            self._keys[key.text] = key
            self._nodes[key.text] = value
        return True

    def has(self, key: str) -> bool:
        """Whether the key was written, whatever its value."""
        return key in self._keys

    def at(self, key: str) -> Position:
        """Where the key is written; KeyError if it is not."""
        return self._keys[key].at

    def node(self, key: str) -> Node | None:
        """What was written as the value of a key, whatever its kind."""
        return self._nodes.get(key)

    def scalar(self, key: str) -> Scalar | None:
        """The single value of a key."""
        node = self._nodes.get(key)
        return None if node is None else as_scalar(node, key, self._problems, example=self._examples[key])

    def sequence(self, key: str) -> Sequence | None:
        """The list of a key."""
        node = self._nodes.get(key)
        return None if node is None else as_sequence(node, key, self._problems, example=self._examples[key])

    def mapping(self, key: str) -> Mapping | None:
        """The mapping of a key."""
        node = self._nodes.get(key)
        return None if node is None else as_mapping(node, key, self._problems, example=self._examples[key])

    def choice(self, key: str, kind: str, known: list[str]) -> Found[str] | None:
        """The value of a key that must be one of `known`."""
        scalar = self.scalar(key)
        return None if scalar is None else read_choice(scalar, kind, known, self._problems)

    def quantity(self, key: str, units: MappingOf[str, float], *, zero: bool = False) -> Found[float] | None:
        """The value of a key in the base unit of `units`."""
        scalar = self.scalar(key)
        if scalar is None:
            return None
        return read_quantity(scalar, units, self._problems, example=self._examples[key], zero=zero)

    def cores(self, key: str) -> Found[float] | None:
        """The value of a key as a number of cores."""
        scalar = self.scalar(key)
        return None if scalar is None else read_cores(scalar, self._problems, example=self._examples[key])

    def address(self, key: str) -> Found[IPv4Address] | None:
        """The value of a key as an address."""
        scalar = self.scalar(key)
        return None if scalar is None else read_address(scalar, self._problems, example=self._examples[key])

    def network(self, key: str) -> Found[IPv4Network] | None:
        """The value of a key as a network."""
        scalar = self.scalar(key)
        return None if scalar is None else read_network(scalar, self._problems, example=self._examples[key])

    def mac(self, key: str) -> Found[str] | None:
        """The value of a key as a MAC address."""
        scalar = self.scalar(key)
        return None if scalar is None else read_mac(scalar, self._problems, example=self._examples[key])


def as_scalar(node: Node, what: str, problems: Problems, *, example: str) -> Scalar | None:
    """The node if it is a single value that is not empty."""
    if isinstance(node, Scalar) and not _is_empty(node):
        return node
    _report_kind(node, what, "a single value", problems, example=example)
    return None


def as_sequence(node: Node, what: str, problems: Problems, *, example: str) -> Sequence | None:
    """The node if it is a list."""
    if isinstance(node, Sequence):
        return node
    _report_kind(node, what, "a list", problems, example=example)
    return None


def as_mapping(node: Node, what: str, problems: Problems, *, example: str) -> Mapping | None:
    """The node if it is a mapping."""
    if isinstance(node, Mapping):
        return node
    _report_kind(node, what, "a mapping", problems, example=example)
    return None


def _is_empty(scalar: Scalar) -> bool:
    return scalar.empty or not scalar.text.strip()


def _report_kind(node: Node, what: str, wanted: str, problems: Problems, *, example: str) -> None:
    if isinstance(node, Refused):
        return
    if isinstance(node, Scalar) and _is_empty(node):
        problems.add(node.at, f"{what} has no value", hint=f"write it like {example}")
        return
    problems.add(node.at, f"{what} must be {wanted}, not {_KINDS[type(node)]}", hint=f"write it like {example}")


def named(node: Mapping, kind: str, problems: Problems) -> Iterator[tuple[Scalar, Node]]:
    """The entries of a mapping whose keys are names of `kind`; names given twice are reported, and yielded too."""
    first: dict[str, Position] = {}
    for name, value in node.entries:
        read_name(name, kind, problems)
        if name.text in first:
            problems.add(
                name.at,
                f"duplicate {kind} {quote(name.text)}, first on line {first[name.text].line}",
                hint=f"give every {kind} a name of its own",
            )
        first.setdefault(name.text, name.at)
        yield name, value

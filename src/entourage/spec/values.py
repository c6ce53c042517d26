"""Single values: text to numbers, addresses and names, with a problem where the text does not fit."""

import math
import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Generic, TypeVar

from entourage.model.units import QuantityError, parse_quantity
from entourage.spec.nodes import Scalar
from entourage.spec.problems import Position, Problems, quote, suggest

_T = TypeVar("_T")
NAME_MAX = 15  # characters of a name
NAME_HINT = f"use 1 to {NAME_MAX} of a-z, 0-9 and -, a letter first"
_NAME = re.compile(rf"[a-z][a-z0-9-]{{0,{NAME_MAX - 1}}}")
_CORES = re.compile(r"([-+]?)((?:0|[1-9][0-9]*)(?:\.[0-9]+)?)")
_NETWORK = re.compile(r"[0-9.]+/[0-9]{1,2}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_LONGEST_QUANTITY = 40
_UNUSABLE = {
    IPv4Network("0.0.0.0/8"): "addresses of this network only",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}


@dataclass(frozen=True, slots=True)
class Found(Generic[_T]):
    """A value and how and where it was written."""

    value: _T
    written: Scalar

    @property
    def at(self) -> Position:
        """Where it was written."""
        return self.written.at


def read_name(scalar: Scalar, kind: str, problems: Problems) -> None:
    """Report a name that cannot be used: names become parts of the names of devices, which Linux keeps short."""
    if not is_name(scalar.text):
        problems.add(scalar.at, f"{quote(scalar.text)} is not a name for a {kind}", hint=NAME_HINT)


def is_name(text: str) -> bool:
    """Whether it can be the name of something."""
    return _NAME.fullmatch(text) is not None


def read_choice(scalar: Scalar, kind: str, known: Iterable[str], problems: Problems) -> Found[str] | None:
    """The text if it is one of `known`."""
    words = list(known)
    if scalar.text in words:
        return Found(scalar.text, scalar)
    problems.add(scalar.at, f"unknown {kind} {quote(scalar.text)}", hint=suggest(scalar.text, words))
    return None


def read_quantity(
    scalar: Scalar, units: MappingOf[str, float], problems: Problems, *, example: str, zero: bool = False
) -> Found[float] | None:
    """A quantity in the base unit of `units`; 0 only where `zero` allows it."""
    if len(scalar.text) > _LONGEST_QUANTITY:
        problems.add(scalar.at, f"{quote(scalar.text)} is not a quantity", hint=f"write it like {example}")
        return None
    try:
        value = parse_quantity(scalar.text, units=units, example=example)
    except QuantityError as error:
        problems.add(scalar.at, str(error), hint=error.hint)
        return None
    if value == 0 and not zero:
        problems.add(scalar.at, f"{quote(scalar.text)} is zero", hint=f"write a positive quantity, such as {example}")
        return None
    return Found(value, scalar)


def read_cores(scalar: Scalar, problems: Problems, *, example: str) -> Found[float] | None:
    """A positive number of cores, without a unit."""
    match = _CORES.fullmatch(scalar.text)
    number = float(match[2]) if match else math.nan
    if match is None or math.isinf(number):
        message, hint = "is not a number of cores", f"write a plain number, such as {example}"
    elif number == 0:
        message, hint = "is zero", f"write a positive number of cores, such as {example}"
    elif match[1] == "-":
        message, hint = "is negative", f"write a positive number of cores, such as {example}"
    else:
        return Found(number, scalar)
    problems.add(scalar.at, f"{quote(scalar.text)} {message}", hint=hint)
    return None


def read_address(scalar: Scalar, problems: Problems, *, example: str) -> Found[IPv4Address] | None:
    """One IPv4 address that a machine can have."""
    try:
        address = IPv4Address(scalar.text)
    except AddressValueError:
        hint = "write it without the prefix length" if "/" in scalar.text else f"write it like {example}"
        problems.add(scalar.at, f"{quote(scalar.text)} is not an IPv4 address", hint=hint)
        return None
    if not _is_usable(IPv4Network(address), scalar, problems):
        return None
    return Found(address, scalar)


def read_network(scalar: Scalar, problems: Problems, *, example: str) -> Found[IPv4Network] | None:
    """One IPv4 network, written as address/length with no host bits set."""
    try:
        if not _NETWORK.fullmatch(scalar.text):
            raise AddressValueError(scalar.text)
        network = IPv4Network(scalar.text, strict=False)
    except (AddressValueError, NetmaskValueError):
        problems.add(
            scalar.at, f"{quote(scalar.text)} is not an IPv4 network", hint=f"write address/length, such as {example}"
        )
        return None
    if scalar.text.partition("/")[0] != str(network.network_address):
        problems.add(scalar.at, f"{quote(scalar.text)} has host bits set", hint=f"did you mean {network}?")
        return None
    return Found(network, scalar) if _is_usable(network, scalar, problems) else None


def _is_usable(network: IPv4Network, scalar: Scalar, problems: Problems) -> bool:
    for block, use in _UNUSABLE.items():
        if network.overlaps(block):
            problems.add(
                scalar.at,
                f"{quote(scalar.text)} cannot be used: {block} is for {use}",
                hint="choose unicast addresses, such as from 10.0.0.0/8",
            )
            return False
    return True


def read_mac(scalar: Scalar, problems: Problems, *, example: str) -> Found[str] | None:
    """A MAC address that one interface can have, in lower case."""
    mac = scalar.text.lower()
    if not _MAC.fullmatch(mac):
        problems.add(
            scalar.at,
            f"{quote(scalar.text)} is not a MAC address",
            hint=f"write six pairs of hex digits with colons, such as {example}",
        )
    elif int(mac[:2], 16) & 1:
        problems.add(
            scalar.at, f"{quote(scalar.text)} is a multicast MAC address", hint=f"make the first pair even: {example}"
        )
    elif mac == "00:00:00:00:00:00":
        problems.add(scalar.at, f"{quote(scalar.text)} is no interface's MAC address", hint=f"write one like {example}")
    else:
        return Found(mac, scalar)
    return None

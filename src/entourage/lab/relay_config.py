"""The relay's configuration and its control requests, read from JSON and checked."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entourage.lab.relay_tap import RelayError

_IFNAME_BYTES_MAX = 15  # IFNAMSIZ less the final zero
_SOCKET_PATH_BYTES_MAX = 107  # sun_path less the final zero
_MTU_MIN, _MTU_MAX = 68, 65521  # what the kernel takes for a TAP device
_NUMBER_MAX = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of a link: the TAP device `ifname` in the network namespace at the path `netns`."""

    netns: str
    ifname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link between two ends: `rtt_ms` there and back; `rate_bps` and `loss` (0..1, of packets) each way."""

    name: str
    a: End
    b: End
    rtt_ms: float
    rate_bps: int
    loss: float
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What one relay serves. `control` is the path of its socket; `seed` decides which packets are lost."""

    control: str
    links: tuple[Link, ...]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A request to change a link; None leaves that as it is."""

    link: str
    rtt_ms: float | None
    rate_bps: int | None
    loss: float | None


def load_config(path: Path) -> Config:
    """Read a configuration file. Raises RelayError with the file and the place in it."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise RelayError(f"{path}: cannot read it: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RelayError(f"{path}: not JSON: {error}") from error
    try:
        config = _config(data)
    except _WrongError as error:
        raise RelayError(f"{path}: {error}") from error
    return config


def parse_change(request: dict[str, Any]) -> Change:
    """Read the control request {"op": "set", "link", "rtt_ms"?, "rate_bps"?, "loss"?}. Raises RelayError."""
    try:
        _known(request, "request", {"op", "link", "rtt_ms", "rate_bps", "loss"})
        return Change(
            link=_text(request, "link", "request"),
            rtt_ms=_rtt_ms(request, "rtt_ms", "request") if "rtt_ms" in request else None,
            rate_bps=_rate_bps(request, "rate_bps", "request") if "rate_bps" in request else None,
            loss=_loss(request, "loss", "request") if "loss" in request else None,
        )
    except _WrongError as error:
        raise RelayError(str(error)) from error


class _WrongError(Exception):
    """What is wrong with the JSON, and where in it."""


def _config(data: object) -> Config:
    top = _known(data, "config", {"control", "links", "seed"})
    entries = top.get("links")
    if not isinstance(entries, list) or not entries:
        raise _WrongError("links: must be a list of at least one link")
    links = tuple(_link(entry, f"links[{index}]") for index, entry in enumerate(entries))
    names: set[object] = set()
    for link in links:
        for unique in (link.name, link.a, link.b):
            if unique in names:
                raise _WrongError(f"link {link.name!r}: {unique} is there twice")
            names.add(unique)
    control = _text(top, "control", "config")
    if len(control.encode()) > _SOCKET_PATH_BYTES_MAX:
        raise _WrongError(f"config.control: a socket's path has at most {_SOCKET_PATH_BYTES_MAX} bytes")
    return Config(control=control, links=links, seed=_whole(top, "seed", "config") if "seed" in top else 0)


def _link(data: object, where: str) -> Link:
    entry = _known(data, where, {"name", "a", "b", "rtt_ms", "rate_bps", "loss", "mtu"})
    mtu = _whole(entry, "mtu", where)
    if not _MTU_MIN <= mtu <= _MTU_MAX:
        raise _WrongError(f"{where}.mtu: must be {_MTU_MIN} to {_MTU_MAX}")
    return Link(
        name=_text(entry, "name", where),
        a=_end(entry.get("a"), f"{where}.a"),
        b=_end(entry.get("b"), f"{where}.b"),
        rtt_ms=_rtt_ms(entry, "rtt_ms", where),
        rate_bps=_rate_bps(entry, "rate_bps", where),
        loss=_loss(entry, "loss", where),
        mtu=mtu,
    )


def _end(data: object, where: str) -> End:
    entry = _known(data, where, {"netns", "ifname"})
    ifname = _text(entry, "ifname", where)
    # The kernel would read "%d" as a pattern and number the device.
    if len(ifname.encode()) > _IFNAME_BYTES_MAX or any(c in "/:%" or c.isspace() for c in ifname):
        raise _WrongError(f"{where}.ifname: {ifname!r} is no interface name (at most {_IFNAME_BYTES_MAX} bytes)")
    return End(netns=_text(entry, "netns", where), ifname=ifname)


def _known(data: object, where: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _WrongError(f"{where}: must be an object with {', '.join(sorted(keys))}")
    if unknown := sorted(set(data) - keys):
        raise _WrongError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(keys))}")
    return data


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise _WrongError(f"{where}.{key}: must be a text that is not empty")
    return value


def _number(entry: dict[str, Any], key: str, where: str) -> float:
    value = entry.get(key)
    # The comparison refuses NaN and infinity too, which Python's JSON reads.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _NUMBER_MAX:
        raise _WrongError(f"{where}.{key}: must be a number")
    return value


def _whole(entry: dict[str, Any], key: str, where: str) -> int:
    value = _number(entry, key, where)
    if value != int(value):
        raise _WrongError(f"{where}.{key}: must be a whole number")
    return int(value)


def _rtt_ms(entry: dict[str, Any], key: str, where: str) -> float:
    value = _number(entry, key, where)
    if not 0 <= value <= 60_000:
        raise _WrongError(f"{where}.{key}: must be 0 to 60000 (milliseconds there and back)")
    return value


def _rate_bps(entry: dict[str, Any], key: str, where: str) -> int:
    value = _number(entry, key, where)
    if not 1000 <= value <= 1e12:
        raise _WrongError(f"{where}.{key}: must be 1e3 to 1e12 (bits per second)")
    return int(value)


def _loss(entry: dict[str, Any], key: str, where: str) -> float:
    value = _number(entry, key, where)
    if not 0 <= value <= 1:
        raise _WrongError(f"{where}.{key}: must be 0 to 1 (a share of the packets)")
    return value

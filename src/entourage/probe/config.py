"""What a probe process is asked to do, as JSON."""

import json
import re
import sys
from dataclasses import asdict, dataclass, fields
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Self

_REGION = re.compile(r"[A-Za-z0-9._-]+")
_POSITIVE = ("message_interval_s", "open_rate_per_s", "open_deadline_s")
_NOT_NEGATIVE = ("sessions", "requests_per_s", "stream_hz")
_PORTS = ("session_port", "request_port", "stream_port")


class ConfigError(ValueError):
    """The configuration cannot be used; the message says where, what is wrong and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """What one region's probe does. Zero sessions, requests or Hz switch that part off.

    `address` is the service's; `log` the raw log's path. `netns` is the path of a network namespace to enter
    before any socket is opened. `realtime` asks for SCHED_RR at the lowest priority (kept ordinary, and noted in
    the log, where that is not permitted).
    """

    region: str
    address: str
    log: str
    sessions: int = 500
    message_interval_s: float = 5.0
    requests_per_s: float = 5.0
    stream_hz: float = 100.0
    open_rate_per_s: float = 100.0
    open_deadline_s: float = 60.0
    netns: str | None = None
    realtime: bool = False
    session_port: int = 8080
    request_port: int = 80
    stream_port: int = 7

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in _PORTS:
            if not 0 < getattr(self, name) < 65536:
                raise ConfigError(f"{name} must be a port from 1 to 65535, not {getattr(self, name)}")
        if not _REGION.fullmatch(self.region):
            raise ConfigError(f"region {self.region!r} must be letters, digits, '.', '_' or '-': it is part of URLs")
        try:
            IPv4Address(self.address)
        except AddressValueError:
            raise ConfigError(f"address {self.address!r} is not an IPv4 address such as 203.0.113.10") from None

    def to_json(self) -> dict[str, object]:
        """The JSON object that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read a decoded JSON object. Raises ConfigError: not an object, unknown or missing key, wrong type."""
        if not isinstance(data, dict):
            raise ConfigError("expected a JSON object")
        known = {field.name: field.type for field in fields(cls)}
        for key, value in data.items():
            if key not in known:
                raise ConfigError(f"unknown key {key!r}; known are {', '.join(known)}")
            if not _has_type(value, known[key]):
                wanted = getattr(known[key], "__name__", str(known[key]))
                raise ConfigError(f"{key} must be of type {wanted}, not {value!r}")
        missing = [key for key in ("region", "address", "log") if key not in data]
        if missing:
            raise ConfigError(f"missing {', '.join(missing)}")
        return cls(**data)


def _has_type(value: object, wanted: object) -> bool:
    if isinstance(value, bool):  # a bool is an int to Python, not to a reader of JSON
        return wanted is bool
    if wanted is float:
        return isinstance(value, int | float)
    return isinstance(value, wanted)  # type: ignore[arg-type]  # a class or a union of classes, as annotated above


def read_config(path: str) -> ProbeConfig:
    """The configuration in the file `path`, or on standard input for "-". Raises ConfigError naming the file."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        return ProbeConfig.from_json(json.loads(text))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None

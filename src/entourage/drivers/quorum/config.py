"""What an agent and its warden read at their start, as JSON; and what both do to get their turn in time."""

import ctypes
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from entourage.model.ids import SiteId
from entourage.quorum.types import AgentId, Terms

CONTROL, WARDEN, LEDGER, LOG = "control.sock", "warden.sock", "ledger.json", "agent.jsonl"
PRIORITY = 45  # SCHED_RR: above QEMU and what members are promised, below the lab's relay
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """A way to other agents: the own address on it, and theirs."""

    name: str
    local: str
    peers: Mapping[AgentId, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFiles:
    """Where a host's members have their files, and its network namespace."""

    directory: Path
    netns: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFiles:
    """What is fenced at a site: its hosts' members, and what its edge announces; `vty` is its bgpd's.

    `services` is a folder with a JSON file of each service, SERVICE.json: its `members` with the devices of each, and
    its `prefix`.
    """

    hosts: tuple[HostFiles, ...]
    services: Path
    vty: Path | None
    autonomous_system: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """One agent. `directory` is its own: sockets, ledger and log. `site` is None at the witness."""

    me: AgentId
    sites: tuple[SiteId, ...]
    terms: Terms
    key: Path
    directory: Path
    port: int
    roads: tuple[Road, ...]
    site: SiteFiles | None

    def write(self, path: Path) -> None:
        """Write it for `read_config`."""
        path.write_text(json.dumps(asdict(self), default=str, indent=1))


def read_config(path: Path) -> AgentConfig:
    """What `AgentConfig.write` has written. OSError, ValueError or KeyError if it has not."""
    data: dict[str, Any] = json.loads(path.read_text())
    site = data["site"]
    return AgentConfig(
        me=AgentId(data["me"]),
        sites=tuple(data["sites"]),
        terms=Terms(**data["terms"]),
        key=Path(data["key"]),
        directory=Path(data["directory"]),
        port=data["port"],
        roads=tuple(Road(**road) for road in data["roads"]),
        site=None if site is None else _site(site),
    )


def _site(data: Mapping[str, Any]) -> SiteFiles:
    hosts = tuple(
        HostFiles(directory=Path(host["directory"]), netns=Path(host["netns"]) if host["netns"] else None)
        for host in data["hosts"]
    )
    vty = Path(data["vty"]) if data["vty"] else None
    services = Path(data["services"])
    return SiteFiles(hosts=hosts, services=services, vty=vty, autonomous_system=data["autonomous_system"])


def now() -> float:
    """Seconds by a clock that nobody steps, and that goes on while the machine is suspended: leases run out then."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Log:
    """What a process does, a JSON line each in a file: `at` (seconds, by `now`), `what` and more."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, what: str, **more: object) -> None:
        """Write a line. A disk that takes none is no reason to leave a site unfenced."""
        line = json.dumps({"at": now(), "what": what, **more}, default=str) + "\n"
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(line)


def come_first() -> None:
    """Get a turn before ordinary work, with memory that is never swapped out: a starved agent fences a healthy site."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)  # without the right to it stays as it was

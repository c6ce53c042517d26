"""Hosts that are to be left: somebody wants to work on them. Nothing is placed there, and rules may evacuate them."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from entourage.lab.errors import LabError
from entourage.lab.place import Place
from entourage.model.ids import HostId
from entourage.operations.words import UnknownNameError
from entourage.planner import HostLoad

_FILE = "maintenance.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """One host: since when (seconds since the epoch), and what for."""

    since: float
    reason: str


def in_maintenance(place: Place) -> dict[HostId, Maintenance]:
    """The lab's hosts that are to be left. LabError if what was written of them cannot be read."""
    try:
        data = json.loads((place.run_dir / _FILE).read_text())
        return {HostId(host): Maintenance(**each) for host, each in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise LabError(f"{place.run_dir / _FILE} cannot be read: {error}") from error


def begin_maintenance(place: Place, hosts: list[HostId], reason: str) -> None:
    """From now on these are to be left; those that are already keep their time."""
    known = in_maintenance(place)
    new = {host: Maintenance(since=time.time(), reason=reason) for host in hosts if host not in known}
    _write(place, {**known, **new})


def end_maintenance(place: Place, hosts: list[HostId]) -> None:
    """These may be used again."""
    _write(place, {host: each for host, each in in_maintenance(place).items() if host not in hosts})


def usable(place: Place, loads: Mapping[HostId, HostLoad]) -> dict[HostId, HostLoad]:
    """The loads of the hosts on which something may be placed: the planner uses no other."""
    left = in_maintenance(place)
    return {host: load for host, load in loads.items() if host not in left}


def hosts_named(place: Place, words: list[str]) -> list[HostId]:
    """The hosts of these names ("east/h1"), or all of a site ("east"). UnknownNameError."""
    hosts = [host.id for site in place.infrastructure.sites for host in site.hosts]
    found: list[HostId] = []
    for word in words:
        these = [host for host in hosts if word in (host, host.partition("/")[0])]
        if not these:
            raise UnknownNameError("host", word, hosts, where=f"lab {place.name}")
        found += these
    return found


def _write(place: Place, hosts: Mapping[HostId, Maintenance]) -> None:
    path = place.run_dir / _FILE
    new = path.with_suffix(".new")
    new.write_text(json.dumps({host: asdict(each) for host, each in hosts.items()}))
    new.replace(path)

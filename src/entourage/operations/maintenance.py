"""Hosts that are to be left: somebody wants to work on them. Nothing is placed there, and rules may evacuate them."""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from entourage.lab.errors import LabError
from entourage.lab.kept import keep_json
from entourage.lab.place import Lab
from entourage.model.ids import HostId
from entourage.operations.words import UnknownNameError
from entourage.planner import HostLoad

_FILE = "maintenance.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """One host: since when (seconds since the epoch), and what for."""

    since: float
    reason: str


def in_maintenance(lab: Lab) -> dict[HostId, Maintenance]:
    """The lab's hosts that are to be left. LabError if what was written of them cannot be read."""
    try:
        data = json.loads((lab.run_dir / _FILE).read_text())
        return {HostId(host): Maintenance(**each) for host, each in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise LabError(f"{lab.run_dir / _FILE} cannot be read: {error}") from error


def begin_maintenance(lab: Lab, hosts: list[HostId], reason: str) -> None:
    """From now on these are to be left; those that are already keep their time. LabError if that cannot be kept."""
    with _one_writes(lab):
        known = in_maintenance(lab)
        new = {host: Maintenance(since=time.time(), reason=reason) for host in hosts if host not in known}
        _write(lab, {**known, **new})


def end_maintenance(lab: Lab, hosts: list[HostId]) -> None:
    """These may be used again. LabError if that cannot be kept."""
    with _one_writes(lab):
        _write(lab, {host: each for host, each in in_maintenance(lab).items() if host not in hosts})


def usable(lab: Lab, loads: Mapping[HostId, HostLoad]) -> dict[HostId, HostLoad]:
    """The loads of the hosts on which something may be placed: the planner uses no other."""
    left = in_maintenance(lab)
    return {host: load for host, load in loads.items() if host not in left}


def hosts_named(lab: Lab, words: list[str]) -> list[HostId]:
    """The hosts of these names ("east/h1"), or all of a site ("east"). UnknownNameError."""
    hosts = lab.hosts()
    found: list[HostId] = []
    for word in words:
        these = [host for host in hosts if word in (host, host.partition("/")[0])]
        if not these:
            raise UnknownNameError("host", word, hosts, where=f"lab {lab.name}")
        found += these
    return found


@contextmanager
def _one_writes(lab: Lab) -> Iterator[None]:
    """Others wait: what they add is added to what we have written."""
    try:
        folder = os.open(lab.run_dir, os.O_RDONLY)
    except OSError as error:
        raise LabError(f"{lab.run_dir / _FILE} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # it ends with the process, however that ends
        yield
    finally:
        os.close(folder)


def _write(lab: Lab, hosts: Mapping[HostId, Maintenance]) -> None:
    keep_json(lab.run_dir / _FILE, {host: asdict(each) for host, each in hosts.items()})

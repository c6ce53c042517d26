"""Disks that were put aside: a site's old copies of services that another site has taken over in the meantime.

They may have what was written after the replica that the service was started from. They are in a folder of their own
beside the members' files, which nobody else looks into: MEMBER.EPOCH.TIME.disk, with the takeover's epoch and the time
in UTC. A member's name has no dot.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from entourage.drivers.qemu.process import InstancePaths
from entourage.model.ids import MemberId

_FOLDER, _SUFFIX = "kept", ".disk"
_TIME = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"([^.]+)\.(\d+)\.(\d{8}T\d{6}Z)\.disk")
_BLOCK = 512  # bytes, of `st_blocks`


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDisk:
    """One of them: a raw image. `kept_at`: when it was put aside, in seconds since 1970; `bytes`: the room it takes."""

    path: Path
    member: MemberId
    epoch: int
    kept_at: float
    bytes: int

    @property
    def name(self) -> str:
        """What it is called among those of its host."""
        return self.path.name.removesuffix(_SUFFIX)


def put_aside(paths: InstancePaths, *, epoch: int, at: float) -> None:
    """Put the disk of a copy aside that is not running, in one step; nothing if it has none. OSError if it cannot be.

    One that was put aside before is never overwritten.
    """
    if not paths.disk.exists():
        return
    folder = paths.base.parent / _FOLDER
    folder.mkdir(exist_ok=True)
    second = int(at)
    while (kept := folder / f"{paths.base.name}.{epoch}.{_written(second)}{_SUFFIX}").exists():
        second += 1
    paths.disk.rename(kept)


def kept_disks(directory: Path) -> Iterator[KeptDisk]:
    """What was put aside of the members whose files are in `directory`, sorted by name."""
    for path in sorted((directory / _FOLDER).glob(f"*{_SUFFIX}")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue  # not ours
        with suppress(FileNotFoundError):  # somebody has just removed it
            room = path.stat().st_blocks * _BLOCK
            kept_at = datetime.strptime(match[3], _TIME).replace(tzinfo=UTC).timestamp()
            yield KeptDisk(path=path, member=MemberId(match[1]), epoch=int(match[2]), kept_at=kept_at, bytes=room)


def _written(second: int) -> str:
    return datetime.fromtimestamp(second, tz=UTC).strftime(_TIME)

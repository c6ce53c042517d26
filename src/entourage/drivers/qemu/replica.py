"""The files of one replica, and which of them count.

`disk` is the replica, a raw image; `round` is what a round brings, a qcow2 image to be laid over it; `record` says
which of them make up the last valid generation, and is replaced in one step. A generation becomes valid by a record
that names both; then `round` is merged into `disk`, and a record that names `disk` alone follows. Merging writes into
`disk` what `round` shows in the same place, so both together are the same at every moment of it, and it can be begun
anew.
"""

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from entourage.model.replication import Generation
from entourage.ports.errors import PermanentError

_LOOK_AGAIN_S = 0.05
_DISK, _ROUND, _RECORD, _LOCK = "disk", "round", "record", "lock"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a replica's files mean. `layers`, lowest first, make up the generation; `garbage` is of no use any more."""

    generation: Generation | None
    layers: tuple[str, ...]
    garbage: frozenset[str]

    @property
    def is_to_be_merged(self) -> bool:
        """Whether a round is valid and not yet a part of `disk`."""
        return len(self.layers) > 1


def standing(record: str | None, files: Collection[str]) -> Standing:
    """From the text of the record, if there is one, and the names of the files that are there. It asks nobody else."""
    images = frozenset(files) & {_DISK, _ROUND}
    generation, layers = _read(record)
    if generation is None or not layers or not images.issuperset(layers):
        return Standing(None, (), images)
    return Standing(generation, layers, images - set(layers))


def _read(record: str | None) -> tuple[Generation | None, tuple[str, ...]]:
    if record is None:
        return None, ()
    try:
        written = json.loads(record)
        return Generation(**written["generation"]), tuple(written["layers"])
    except (ValueError, TypeError, KeyError):  # not ours, or of another version: then there is nothing to count on
        return None, ()


class ReplicaFiles:
    """One replica's files on its host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk, self.round = folder / _DISK, folder / _ROUND

    def standing(self) -> Standing:
        """What counts now; without the lock the merge may be going on."""
        try:
            record = (self.folder / _RECORD).read_text()
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
            record = None
        return standing(record, [path.name for path in (self.disk, self.round) if path.exists()])

    def make_folder(self) -> None:
        """The folder, and the host's; PermanentError if the place that both are in is gone."""
        try:
            self.folder.parent.mkdir(exist_ok=True)
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise PermanentError(f"there is no place for the replica: {error}") from error

    def prepare(self, *, size: int) -> None:
        """Room for a round: no garbage, and a disk to lay it over, at first an empty one. Holding the lock."""
        for name in self.standing().garbage:
            (self.folder / name).unlink()
        if not self.disk.exists() or self.disk.stat().st_size != size:
            (self.folder / _RECORD).unlink(missing_ok=True)
            with self.disk.open("wb") as empty:
                empty.truncate(size)

    def accept(self, generation: Generation) -> None:
        """The round has come whole, and nobody writes to it: from now on it counts. Holding the lock."""
        _sync(self.disk)
        _sync(self.round)
        _sync(self.folder)
        _sync(self.folder.parent)
        self._write(generation, (_DISK, _ROUND))

    def merged(self) -> None:
        """`disk` has all of the round. Holding the lock."""
        generation = self.standing().generation
        assert generation is not None
        _sync(self.disk)
        self._write(generation, (_DISK,))
        self.round.unlink()

    def remove(self) -> None:
        """All of it; first the record, without which the rest is of no use."""
        (self.folder / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the replica against everybody else who merges or copies it; waits. It ends with the process."""
        with self._lock_file() as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(_LOOK_AGAIN_S)
                else:
                    break
            yield

    @contextmanager
    def _lock_file(self) -> Iterator[int]:
        try:
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PermanentError(f"there is no replica in {self.folder}: {error}") from error
        try:
            yield lock
        finally:
            os.close(lock)

    def _write(self, generation: Generation, layers: tuple[str, ...]) -> None:
        written: dict[str, Any] = {"generation": asdict(generation), "layers": list(layers)}
        aside = self.folder / f"{_RECORD}.new"
        with aside.open("w") as file:
            json.dump(written, file)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self.folder / _RECORD)
        _sync(self.folder)


async def to_its_end(work: Callable[[], None]) -> None:
    """Do it in a thread, and return when it is done, also if this task is cancelled meanwhile."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

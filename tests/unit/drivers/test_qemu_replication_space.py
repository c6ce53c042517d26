"""A round needs room beside the disk: a full file system would be an I/O error of the guest."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from entourage.drivers.qemu import replication
from entourage.ports.errors import TemporaryError

MB = 1_000_000


@pytest.mark.parametrize(("dirty", "free", "is_enough"), [(10 * MB, 100 * MB, True), (90 * MB, 100 * MB, False)])
def test_a_round_does_not_begin_without_room(
    dirty: int, free: int, is_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    disk = tmp_path / "web1.disk"
    disk.write_bytes(b"x" * 4096)
    if is_enough:
        replication._require_space(disk, dirty)
    else:
        with pytest.raises(TemporaryError, match="90 MB needed, 100 MB free"):
            replication._require_space(disk, dirty)


def test_for_a_whole_disk_what_is_in_it_counts_and_not_its_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100 * MB))
    disk = tmp_path / "web1.disk"
    with disk.open("wb") as sparse:
        sparse.truncate(1000 * MB)
    replication._require_space(disk, None)

"""A round needs room on both hosts: a full file system at the source would be an I/O error of the guest."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from entourage.drivers.qemu import replication
from entourage.ports.errors import TemporaryError

MB = 1_000_000


@pytest.mark.parametrize(("needed", "is_enough"), [(10 * MB, True), (90 * MB, False)])
def test_a_round_does_not_begin_without_room(
    needed: int, is_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100 * MB))
    if is_enough:
        replication._require_space(tmp_path, needed)
    else:
        with pytest.raises(TemporaryError, match="157 MB needed, 100 MB free"):
            replication._require_space(tmp_path, needed)

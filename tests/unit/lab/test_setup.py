"""The set-up leaves a whole lab root or none."""

from pathlib import Path

import pytest

from entourage.lab import setup


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path_factory.mktemp("c")
    monkeypatch.setenv("ENTOURAGE_CACHE", str(directory))
    monkeypatch.setattr(setup, "_CACHE_PATH_MAX", 1000)
    return directory


def make_root(root: Path, *, archives: Path) -> None:
    (root / "run").mkdir(parents=True)


def fail_half_way(root: Path, *, archives: Path) -> None:
    make_root(root, archives=archives)
    raise OSError("disk full")


def test_without_a_set_up_the_user_is_told_what_to_run() -> None:
    with pytest.raises(setup.SetupMissingError, match="run: make setup"):
        setup.lab_root()


def test_what_is_built_once_is_found_and_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_build_root", make_root)
    root = setup.build()
    monkeypatch.setattr(setup, "_build_root", fail_half_way)
    assert setup.build() == setup.lab_root() == root


def test_a_failed_build_leaves_no_root_and_nothing_half_made(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_build_root", fail_half_way)
    with pytest.raises(setup.SetupError, match="disk full"):
        setup.build()
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_what_a_crash_left_is_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "building-1/usr").mkdir(parents=True)
    monkeypatch.setattr(setup, "_build_root", make_root)
    setup.build()
    assert not (cache / "building-1").exists()


def test_a_cache_whose_sockets_would_have_too_long_paths_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTOURAGE_CACHE", "/nowhere/" + "x" * 1000)
    with pytest.raises(setup.SetupError, match="set ENTOURAGE_CACHE to a shorter path"):
        setup.build()


def test_a_path_outside_the_root_has_no_name_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_build_root", make_root)
    root = setup.build()
    assert setup.inside(root / "run/demo") == "/run/demo"
    with pytest.raises(ValueError, match="not in the subpath"):
        setup.inside(Path("/etc"))

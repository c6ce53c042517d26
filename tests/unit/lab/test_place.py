"""A lab's record: what was asked for when it was brought up is there when it is opened again."""

import json
from pathlib import Path

import pytest

from entourage.lab import setup
from entourage.lab.errors import LabError
from entourage.lab.leftovers import exclusive, exclusive_move, is_being_moved
from entourage.lab.names import check_lab_name
from entourage.lab.place import LinkOverrides, Place, SpecTexts, known_labs, open_place

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty lab root."""
    monkeypatch.setenv("ENTOURAGE_CACHE", str(tmp_path))
    made = setup._root_path()
    (made / "run/frr").mkdir(parents=True)
    return made


def recorded(name: str, links: LinkOverrides, *, service: str = "shop.yaml", licences: str | None = None) -> SpecTexts:
    """A lab's record as `lab up` writes it, last."""
    texts = SpecTexts(
        sites_file="sites.yaml",
        sites=(EXAMPLES / "sites.yaml").read_text(),
        service_file=service,
        service=(EXAMPLES / service).read_text(),
        links=links,
        licences_file=licences or "",
        licences=licences and (EXAMPLES / licences).read_text(),
    )
    infrastructure, shop = texts.parse()
    place = Place(name, infrastructure=infrastructure, service=shop, accel="tcg")
    place.run_dir.mkdir(parents=True)
    place.record(texts)
    return texts


def test_links_asked_for_are_there_again() -> None:
    recorded("recordtest", LinkOverrides(rtt=100.0, loss=0.01))
    link = open_place("recordtest").infrastructure.links[0]
    assert (link.rtt, link.rate, link.loss) == (100.0, 200e6, 0.01)


def test_without_overrides_links_are_as_in_the_file() -> None:
    recorded("recordtest", LinkOverrides())
    link = open_place("recordtest").infrastructure.links[0]
    assert (link.rtt, link.rate, link.loss) == (50.0, 200e6, 0.0)


def test_licences_are_there_again() -> None:
    texts = recorded("recordtest", LinkOverrides(), service="shop-licensed.yaml", licences="licences.yaml")
    infrastructure = open_place("recordtest").infrastructure
    assert infrastructure == texts.parse()[0]
    assert infrastructure.licences is not None
    assert [product.id for product in infrastructure.licences.products] == ["vrouter", "vfw", "vlb"]


def test_a_lab_that_was_brought_up_before_licences_were_known_counts_none(root: Path) -> None:
    recorded("recordtest", LinkOverrides())
    file = root / "run/recordtest/lab.json"
    data = json.loads(file.read_text())
    del data["licences"], data["licences_file"]
    file.write_text(json.dumps(data))
    assert open_place("recordtest").infrastructure.licences is None


def test_a_lab_that_is_not_up_says_how_to_bring_it_up() -> None:
    with pytest.raises(LabError, match="lab up --lab recordtest"):
        open_place("recordtest")


def test_folders_that_are_no_labs_are_not_listed(root: Path) -> None:
    (root / "run/Not a lab").mkdir()
    (root / "run/accel-1").touch()
    recorded("recordtest", LinkOverrides())
    assert "recordtest" in known_labs()
    assert not {"frr", "Not a lab", "accel-1"} & set(known_labs())
    with pytest.raises(LabError, match="cannot be named 'frr'"):
        check_lab_name("frr")


def test_one_move_at_a_time_in_each_lab() -> None:
    assert not is_being_moved("locktest")
    with exclusive_move("locktest"):
        assert is_being_moved("locktest")
        assert not is_being_moved("lock")
        with pytest.raises(LabError, match="a move is under way in lab locktest"), exclusive_move("locktest"):
            pass
        with exclusive("locktest"), exclusive_move("lock"):
            pass
    with exclusive_move("locktest"):
        pass

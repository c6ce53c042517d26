"""A lab's record: what was asked for when it was brought up is there when it is opened again."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from entourage.drivers.qemu.process import instance_paths
from entourage.lab import setup
from entourage.lab.errors import LabError
from entourage.lab.hosted import Hosted
from entourage.lab.kept import ServiceText
from entourage.lab.leftovers import exclusive, exclusive_move, is_being_moved
from entourage.lab.names import check_lab_name
from entourage.lab.place import (
    Lab,
    LinkOverrides,
    Place,
    SpecTexts,
    WhichServiceError,
    known_labs,
    open_lab,
    open_place,
    read_catalogue,
    replace_catalogue,
)
from entourage.model.ids import HostId, MemberId

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty lab root."""
    monkeypatch.setenv("ENTOURAGE_CACHE", str(tmp_path))
    monkeypatch.setattr("entourage.lab.place.qemu_version", lambda: (10, 0))
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
    lab = Lab(name, infrastructure=infrastructure, accel="tcg")
    place = lab.new_place(Hosted(service=shop, number=0), ServiceText(file=service, text=texts.service))
    place.run_dir.mkdir(parents=True)
    place.keep(is_whole=True)
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


def test_a_lab_of_another_version_is_told_apart_from_a_wrong_file() -> None:
    recorded("recordtest", LinkOverrides())
    (record,) = open_lab("recordtest").run_dir.glob("lab.json")
    record.write_text(record.read_text().replace("regions:", "zones:"))
    with pytest.raises(LabError, match="lab recordtest is of another version of Entourage: sites"):
        open_lab("recordtest")


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


def add_service(name: str, number: int, *, is_whole: bool = True) -> None:
    """Another service of the lab, as one who makes it writes it down."""
    lab = open_lab("recordtest")
    text = (EXAMPLES / "shop.yaml").read_text().replace("shop", name).replace("203.0.113", f"203.0.{number}")
    text = re.sub(r"\b(rt|fw|lb|web1|web2)\b(?=[:,\]])", rf"{name}-\1", text)
    source = ServiceText(file=f"{name}.yaml", text=text)
    lab.new_place(source.hosted(number, lab.infrastructure), source).keep(is_whole=is_whole)


def test_a_lab_with_several_services_asks_which_one_is_meant() -> None:
    recorded("recordtest", LinkOverrides())
    assert open_place("recordtest").service.id == "shop"
    add_service("blue", 1)
    with pytest.raises(WhichServiceError, match="lab recordtest has 2 services: shop, blue; say which"):
        open_place("recordtest")
    place = open_place("recordtest", service="blue")
    assert (place.service.id, place.kept.hosted.number, str(place.service.address)) == ("blue", 1, "203.0.1.10")
    with pytest.raises(WhichServiceError, match="unknown service 'bleu' in lab recordtest: did you mean 'blue'"):
        open_place("recordtest", service="bleu")


def test_a_service_that_is_half_made_is_there_and_says_so_until_it_is_forgotten() -> None:
    recorded("recordtest", LinkOverrides())
    add_service("blue", 1, is_whole=False)
    lab = open_lab("recordtest")
    assert {kept.id: kept.is_whole for kept in lab.services} == {"shop": True, "blue": False}
    place = lab.place("blue")
    place.keep(is_whole=True)
    assert place.kept.is_whole
    assert [kept.is_whole for kept in open_lab("recordtest").services] == [True, True]
    place.forget()
    place.forget()
    lab.refresh()
    assert [kept.id for kept in lab.services] == ["shop"]


def test_a_lab_may_have_no_service() -> None:
    recorded("recordtest", LinkOverrides())
    open_place("recordtest").forget()
    assert open_lab("recordtest").services == ()
    with pytest.raises(WhichServiceError, match="lab recordtest has no service"):
        open_place("recordtest")


def test_what_others_make_is_seen_when_a_lab_is_refreshed_and_copies_of_their_members_are_told_apart() -> None:
    recorded("recordtest", LinkOverrides())
    place = open_place("recordtest")
    add_service("blue", 1)
    assert place.copies_of_others() == {}
    place.refresh()
    for member, host in (("blue-rt", "east/h1"), ("rt", "east/h1"), ("blue-fw", "west/h2")):
        running(place, MemberId(member), HostId(host))
    assert set(place.copies_of_others()) == {("blue-rt", "east/h1"), ("blue-fw", "west/h2")}
    assert {(member.id, host) for member, host in place.copies()} == {
        ("rt", "east/h1"), ("blue-rt", "east/h1"), ("blue-fw", "west/h2"),
    }  # fmt: skip


_RUNNING: list[subprocess.Popen[bytes]] = []


def running(place: Place, member: MemberId, host: HostId) -> None:
    """A process that looks as the QEMU of a copy."""
    paths = instance_paths(place.access(host), member)
    paths.base.parent.mkdir(exist_ok=True)
    process = subprocess.Popen(["/bin/cat", "-", "qemu", str(paths.monitor)], stdin=subprocess.PIPE)
    _RUNNING.append(process)
    paths.pid.write_text(str(process.pid))


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No process is left."""
    yield
    for process in _RUNNING:
        process.kill()
        process.communicate()
    _RUNNING.clear()


def test_a_lab_keeps_its_catalogue_until_it_gets_another() -> None:
    recorded("recordtest", LinkOverrides())
    assert read_catalogue("recordtest") is None
    replace_catalogue("recordtest", file="mine.yaml", text="templates: {}")
    assert read_catalogue("recordtest") == ("mine.yaml", "templates: {}")
    assert open_place("recordtest").service.id == "shop"

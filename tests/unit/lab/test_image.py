"""The memory image: archives that the kernel can read, and modules in the order in which they load."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from entourage.lab import image, layers
from entourage.lab.guests import guest_files
from entourage.model.ids import MemberId
from entourage.model.world import Service
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@dataclass(frozen=True)
class Read:
    name: str
    mode: int
    links: int
    data: bytes
    device: tuple[int, int]


def read_archives(content: bytes) -> Iterator[Read]:
    """Every entry, as the kernel reads them: archive after archive, with zeros between."""
    at = 0
    while at < len(content):
        if content[at] == 0:
            at += 1
            continue
        assert at % 4 == 0
        assert content[at : at + 6] == b"070701"
        fields = [int(content[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        size, name_size = fields[6], fields[11]
        name = content[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        start = (at + 110 + name_size + 3) // 4 * 4
        at = (start + size + 3) // 4 * 4
        if name != b"TRAILER!!!\0":
            data = content[start : start + size]
            yield Read(name[:-1].decode(), fields[1], fields[4], data, (fields[9], fields[10]))


def test_an_archive_holds_what_was_packed() -> None:
    packed = layers.pack(
        [
            layers.file_entry("/etc/name", b"odd", mode=0o600),
            layers.link_entry("/bin/sh", "busybox"),
            layers.Entry(path="/dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1)),
        ]
    )
    read = {entry.name: entry for entry in read_archives(packed)}
    assert read["etc/name"] == Read("etc/name", stat.S_IFREG | 0o600, 1, b"odd", (0, 0))
    assert read["bin/sh"] == Read("bin/sh", stat.S_IFLNK | 0o777, 1, b"busybox", (0, 0))
    assert read["dev/console"].device == (5, 1)


def test_directories_come_once_and_before_what_lies_in_them() -> None:
    packed = layers.pack([layers.file_entry("/a/b/one", b"1"), layers.file_entry("/a/b/two", b"2")])
    assert [entry.name for entry in read_archives(packed)] == ["a", "a/b", "a/b/one", "a/b/two"]


def test_a_path_given_twice_is_packed_once() -> None:
    packed = layers.pack([layers.file_entry("/lib/x", b"1"), layers.file_entry("/lib/x", b"1")])
    assert [entry.name for entry in read_archives(packed)] == ["lib", "lib/x"]


def test_modules_load_after_those_that_they_need_and_once() -> None:
    needs = layers.parse_dependencies("net/top.ko: net/mid.ko lib/low.ko\nnet/mid.ko: lib/low.ko\nlib/low.ko:\n")
    assert layers.load_order(["net/top.ko", "net/mid.ko"], needs) == ["lib/low.ko", "net/mid.ko", "net/top.ko"]


@pytest.mark.parametrize("path", ["kernel/lib/crc-x.ko", "kernel/lib/crc_x.ko.xz", "crc-x.ko.zst"])
def test_a_modules_name_is_the_kernels_own(path: str) -> None:
    assert layers.module_name(path) == "crc_x"


def test_modules_are_named_so_that_they_sort_in_load_order(tmp_path: Path) -> None:
    directory = tmp_path / "lib/modules/6.1"
    directory.mkdir(parents=True)
    for name in ("a", "b"):
        (directory / f"{name}.ko").write_bytes(name.encode())
    (directory / "modules.dep").write_text("a.ko: b.ko\nb.ko:\n")
    (directory / "modules.builtin").write_text("kernel/c.ko\n")
    modules = layers.Modules(root=tmp_path, release="6.1")
    entries = modules.entries(["a", "c"], first=9)
    assert [(entry.path, entry.data) for entry in entries] == [("/modules/009-b.ko", b"b"), ("/modules/010-a.ko", b"a")]
    with pytest.raises(FileNotFoundError, match="no module d"):
        modules.entries(["d"], first=0)


def test_a_members_image_is_the_base_its_role_and_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boot").mkdir()
    for layer in layers.CONTENTS:
        (tmp_path / f"boot/{layer}.cpio").write_bytes(layers.pack([layers.file_entry(f"/{layer}", b"here")]))
    monkeypatch.setattr(image, "lab_root", lambda: tmp_path)
    service = shop()
    member = service.member(MemberId("lb"))
    image.write_initrd(service, member, tmp_path / "initrd")
    files = {f"/{e.name}": e for e in read_archives((tmp_path / "initrd").read_bytes()) if stat.S_ISREG(e.mode)}
    own = guest_files(service, member)
    assert files.keys() == {"/base", "/load-balancer", *own}
    assert stat.S_IMODE(files["/init"].mode) == 0o755
    for path, file in own.items():
        assert files[path].data == file.text.encode()


def shop() -> Service:
    return load_service(EXAMPLES / "shop.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))

"""Files that are no specs are refused with a problem, quickly, and without reading more than a spec may have."""

import os
import socket
from pathlib import Path

import pytest
from spec_edits import INFRASTRUCTURE, SHOP, SITES, replaced, said, service_problems

from entourage.spec import SpecError, load_infrastructure, load_service, parse_infrastructure, parse_service

BINARY = "is this a binary file? a spec is YAML in UTF-8"


def places(error: SpecError) -> list[tuple[str, str]]:
    return [(at, message) for at, message, _ in said(error)]


def refusal(path: Path) -> list[tuple[str, str, str]]:
    with pytest.raises(SpecError) as refused:
        load_infrastructure(path)
    with pytest.raises(SpecError) as refused_service:
        load_service(path, INFRASTRUCTURE)
    assert places(refused.value) == places(refused_service.value)
    return said(refused.value)


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing yet\n", b"---\n", b"null\n", b"\xef\xbb\xbf"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    assert refusal(written(tmp_path, content)) == [
        ("1:1", "the file is empty", "see examples/ for what a spec looks like")
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x7fELF\x02\x01\x01\x00", ("1:1", "not text: control character U+007F", BINARY)),
        (b"a: b\nc: \x00\n", ("2:4", "not text: control character U+0000", BINARY)),
        (b"a: b\nc: \xff\n", ("2:4", "not UTF-8 text: byte 0xff", BINARY)),
        ("grüße: ä".encode("latin-1"), ("1:3", "not UTF-8 text: byte 0xfc", BINARY)),
        (SITES.encode("utf-16"), ("1:1", "not UTF-8 text: byte 0xff", BINARY)),
    ],
)
def test_binary_file(tmp_path: Path, content: bytes, expected: tuple[str, ...]) -> None:
    assert refusal(written(tmp_path, content)) == [expected]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"- a\n", ("1:1", "the file must be a mapping, not a list")),
        (b"hello\n", ("1:1", "the file must be a mapping, not a single value")),
        (b"<html><body>", ("1:1", "the file must be a mapping, not a single value")),
        (b"a: b: c\n", ("1:5", "not YAML: mapping values are not allowed here")),
        (b'a: "x\n', ("2:1", "not YAML: found unexpected end of stream")),
        (b'"\\UFFFFFFFF"', ("1:1", "not YAML: what begins here cannot be read")),
        (b"[" * 1000, ("1:21", "nested more than 20 levels deep")),
        (b"- " * 1000, ("1:41", "nested more than 20 levels deep")),
        (b"? " * 1000, ("1:41", "nested more than 20 levels deep")),
        (b"a: [" + b"1," * 60_000, ("1:39999", "more than 20000 values")),
        (b"a: &b [x]\n---\nc: d\n", ("2:1", "a second document begins here")),
    ],
)
def test_file_that_is_no_spec_at_all(tmp_path: Path, content: bytes, expected: tuple[str, ...]) -> None:
    assert [(at, message) for at, message, _ in refusal(written(tmp_path, content))] == [expected]


def test_nested_aliases_are_refused_and_never_expanded() -> None:
    levels = [f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    bomb = "\n".join(["service:", "  l0: &l0 [x]", *levels])
    with pytest.raises(SpecError) as refused:
        parse_infrastructure(bomb, file="bomb.yaml")
    assert sum("alias" in p.message for p in refused.value.problems) == 9 * 11


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == [
        ("1:1", "cannot read the file: No such file or directory", "check the path and its permissions")
    ]


def test_directory(tmp_path: Path) -> None:
    assert [m for _, m, _ in refusal(tmp_path)] == ["cannot read the file: Is a directory"]


def test_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert [m for _, m, _ in refusal(tmp_path / "loop")] == ["cannot read the file: Too many levels of symbolic links"]


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, SITES.encode())

    def denied(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)  # for root every file is readable
    assert [m for _, m, _ in refusal(path)] == ["cannot read the file: Permission denied"]


def test_name_with_a_null_byte() -> None:
    assert [m for _, m, _ in refusal(Path("a\0b"))] == ["cannot read the file: null byte in its name"]


def test_name_that_is_not_utf_8_can_be_shown(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml"))
    with pytest.raises(SpecError) as refused:
        load_infrastructure(path)
    assert str(refused.value).encode() != b""


def test_fifo_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == [
        ("1:1", "cannot read the file: it is a device, pipe or socket", "name a regular file")
    ]


def test_endless_device_is_refused() -> None:
    assert [m for _, m, _ in refusal(Path("/dev/zero"))] == ["cannot read the file: it is a device, pipe or socket"]


def test_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert [m for _, m, _ in refusal(tmp_path / "socket")] == ["cannot read the file: No such device or address"]


def test_file_of_100_mb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    assert refusal(path) == [("1:1", "the file is larger than 1 MiB", "is this a spec? the examples have 2 kB")]


def test_one_mebibyte_is_accepted_and_one_byte_more_is_not(tmp_path: Path) -> None:
    padding = "#" * (2**20 - len(SITES))
    path = written(tmp_path, (SITES + padding).encode())
    assert load_infrastructure(path) == INFRASTRUCTURE
    path.write_bytes((SITES + padding + "#").encode())
    assert [m for _, m, _ in refusal(path)] == ["the file is larger than 1 MiB"]


def test_file_that_says_it_has_no_bytes_is_read_within_bounds() -> None:
    # Files in /proc have size 0 but content.
    assert [m for _, m, _ in refusal(Path("/proc/self/cmdline"))] == ["not text: control character U+0000"]


def test_problem_is_shown_with_file_line_and_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(replaced(SHOP, "role: firewall", "role: fireawll"))
    with pytest.raises(SpecError) as refused:
        load_service(Path("shop.yaml"), INFRASTRUCTURE)
    assert str(refused.value) == "shop.yaml:22:11: unknown role 'fireawll' (hint: did you mean 'firewall'?)"


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = SHOP
    for old, new in [
        ("home: east", "home: eats"),
        ("role: firewall", "role: fireawll"),
        ("52:54:00:20:02:02", "52:54:00:20:02:01"),
        ("10.20.3.11", "10.20.4.11"),
        ("dirty-rate: 1 MB/s", "dirty-rate: -1 MB/s"),
        ("10.20.2.0/24}", "10.20.2.0/24, mtu: 9000}"),
        ("[web1, web2]", "[web1, web2, web1]"),
    ]:
        text = replaced(text, old, new)
    assert [(at, message) for at, message, _ in service_problems(text)] == [
        ("5:7", "unknown site 'eats'"),
        ("10:31", "unknown key 'mtu' in segment 'dmz'"),
        ("22:11", "unknown role 'fireawll'"),
        ("33:49", "duplicate MAC address 52:54:00:20:02:01, first on line 27"),
        ("40:17", "'-1 MB/s' is negative"),
        ("42:36", "address 10.20.4.11 is outside segment 'inside', 10.20.3.0/24"),
        ("51:34", "member 'web1' is in the chain twice, first on line 51, column 22"),
    ]


def test_a_disk_is_of_whole_mebibytes_and_nobody_has_one_who_does_not_ask_for_it() -> None:
    text = replaced(SHOP, "disk: 16 MiB          #", "disk: 1000 KiB  #")
    service = parse_service(text, file="shop.yaml", infrastructure=INFRASTRUCTURE)
    assert {member.id: member.disk for member in service.members if member.disk} == {"web1": 1 << 20, "web2": 16 << 20}


@pytest.mark.parametrize("disk", ["-1 MiB", "64", "much", "0 MiB"])
def test_a_disk_without_a_sound_size_is_refused_where_it_stands(disk: str) -> None:
    text = replaced(SHOP, "disk: 16 MiB          #", f"disk: {disk}  #")
    ((at, _, hint),) = service_problems(text)
    assert at == "39:11"
    assert hint


def test_memory_and_cpu_must_be_found_together_on_one_host() -> None:
    sites = replaced(SITES, "h2: {memory: 2 GiB, cpu: 2}", "h2: {memory: 512 MiB, cpu: 8}")
    infrastructure = parse_infrastructure(sites, file="sites.yaml")
    text = replaced(SHOP, "memory: 128 MiB\n    cpu: 0.25", "memory: 1 GiB\n    cpu: 4")
    assert service_problems(text, infrastructure) == [
        (
            "16:13",
            "no host has '1 GiB' memory and 4 cores together",
            "the host with the most memory, east/h1, has 2048 MiB and 2 cores",
        )
    ]

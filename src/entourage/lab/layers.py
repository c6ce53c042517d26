"""The guests' memory image in layers, made from a root of unpacked Debian packages.

A guest unpacks its image into memory at boot, so it gets only what its role needs: the base layer and the layer of
its role, to which `entourage.lab.image` adds the member's own files. The kernel reads archives that follow one another
as one image. Format: "newc" of cpio, Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel.
Neither the layers nor the kernel are compressed: loading them is fast, and unpacking under software emulation is not.
"""

import lzma
import re
import stat
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from entourage.model.world import Role

BASE = "base"
BUSYBOX = "/bin/busybox"
LINKS = ("dd", "insmod", "ip", "mkfifo", "mount", "rm", "sh")  # the tools that the guests' scripts use
DISK = "disk"  # the layer of members that have one
MODULE_DIRECTORY = "/modules"  # where a guest finds its kernel modules, named so that they sort in load order

_VIRTIO = ("virtio_pci", "virtio_net")
# crc32c_generic: libcrc32c asks for it by an alias when it is loaded, and a guest has no modprobe.
_NETFILTER = ("crc32c_generic", "nf_tables", "nft_ct", "nft_chain_nat", "nft_nat", "nft_hash")
_FLOWTABLE = ("nf_flow_table_inet", "nft_flow_offload")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a layer is made of: programs (their libraries come with them) and kernel modules by name."""

    programs: tuple[str, ...]
    modules: tuple[str, ...]


CONTENTS: Mapping[str, Contents] = {
    BASE: Contents(programs=(BUSYBOX,), modules=_VIRTIO),
    Role.ROUTER.value: Contents(programs=("/usr/sbin/nft",), modules=(*_NETFILTER, *_FLOWTABLE)),
    Role.FIREWALL.value: Contents(programs=("/usr/sbin/nft",), modules=(*_NETFILTER, *_FLOWTABLE)),
    Role.LOAD_BALANCER.value: Contents(programs=("/usr/sbin/nft", "/usr/sbin/haproxy"), modules=_NETFILTER),
    DISK: Contents(programs=(), modules=("virtio_blk",)),
    Role.SERVER.value: Contents(programs=("/usr/sbin/nginx", "/usr/sbin/inetutils-inetd"), modules=()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of an archive. `mode` has the type bits; `data` is the content, or a link's target.

    `device` is (major, minor) of a device node.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def file_entry(path: str, data: bytes, *, mode: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(path=path, mode=stat.S_IFREG | mode, data=data)


def link_entry(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path=path, mode=stat.S_IFLNK | 0o777, data=target.encode())


def directory_entry(path: str, *, mode: int = 0o755) -> Entry:
    """A directory."""
    return Entry(path=path, mode=stat.S_IFDIR | mode)


def pack(entries: Iterable[Entry]) -> bytes:
    """The entries as one newc archive, in their order, each after the directories that it lies in.

    Padded to 512 bytes, so that another archive can follow.
    """
    out = bytearray()
    seen: set[str] = set()
    number = 0
    for entry in entries:
        path = entry.path.strip("/")
        for parent in reversed([p.as_posix() for p in Path(path).parents if p != Path()]):
            if parent not in seen:
                seen.add(parent)
                number += 1
                out += _record(directory_entry(parent), name=parent, number=number)
        if path in seen:
            continue
        seen.add(path)
        number += 1
        out += _record(entry, name=path, number=number)
    out += _record(Entry(path="TRAILER!!!", mode=0), name="TRAILER!!!", number=0)
    return bytes(out) + bytes(-len(out) % 512)


def _record(entry: Entry, *, name: str, number: int) -> bytes:
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    encoded = name.encode() + b"\0"
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + bytes(-len(head) % 4) + entry.data + bytes(-len(entry.data) % 4)


def build_layers(root: Path, destination: Path) -> str:
    """Write the kernel and every layer from the unpacked `root` into `destination`; return the kernel's release.

    Files: `kernel`, `kernel-release`, and `<layer>.cpio` for each of CONTENTS. Raises FileNotFoundError or
    CalledProcessError if the packages lack something.
    """
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    if len(kernels) != 1:
        raise FileNotFoundError(f"one kernel is expected in {root / 'boot'}, found {len(kernels)}")
    release = kernels[0].name.removeprefix("vmlinuz-")
    _run(root, "/sbin/depmod", release)
    modules = Modules(root=root, release=release)
    destination.mkdir(parents=True, exist_ok=True)
    (destination / "kernel").write_bytes(_unpacked_kernel(root, kernels[0]))
    kernels[0].unlink()
    (destination / "kernel-release").write_text(f"{release}\n", encoding="ascii")
    (destination / f"{BASE}.cpio").write_bytes(pack(_base(root, modules)))
    for layer, contents in CONTENTS.items():
        if layer != BASE:
            entries = [
                *_programs(root, contents.programs),
                *modules.entries(contents.modules, first=50, beside=CONTENTS[BASE].modules),
            ]
            (destination / f"{layer}.cpio").write_bytes(pack(entries))
    return release


def _unpacked_kernel(root: Path, image: Path) -> bytes:
    """The ELF kernel inside a bzImage, which QEMU can start by PVH; half of a guest's boot would be unpacking it.

    Fields of the header: Documentation/arch/x86/boot.rst of the Linux kernel. A packing not known here is left as it
    is: QEMU takes it too.
    """
    data = image.read_bytes()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (data[0x1F1] + 1) * 512 + offset
    payload = data[start : start + length - 4]  # the size stands behind it
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return _run(root, "/usr/bin/zstd", "-dcq", given=payload)
    return data


def _base(root: Path, modules: "Modules") -> list[Entry]:
    contents = CONTENTS[BASE]
    return [
        Entry(path="/dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1)),
        *(directory_entry(path) for path in ("/proc", "/sys", "/run", "/var/lib/nginx", "/var/log/nginx")),
        directory_entry("/tmp", mode=0o1777),  # noqa: S108  the guest's own, not this machine's
        *_programs(root, contents.programs),
        *(link_entry(f"/bin/{name}", "busybox") for name in LINKS),
        *modules.entries(contents.modules, first=10),
    ]


def _programs(root: Path, programs: Sequence[str]) -> list[Entry]:
    """The programs and the libraries that they are linked with, each at the path where the loader looks for it."""
    entries = [file_entry(path, _read(root, path), mode=0o755) for path in programs]
    libraries = sorted({library for path in programs for library in _libraries(root, path)})
    return entries + [file_entry(path, _read(root, path), mode=0o755) for path in libraries]


def _libraries(root: Path, program: str) -> list[str]:
    """What the loader would load for `program`, as paths in the root; nothing for a static program."""
    listing = subprocess.run(
        ["chroot", root, "/lib64/ld-linux-x86-64.so.2", "--list", program], capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        if "statically linked" in listing.stdout + listing.stderr or program == BUSYBOX:
            return []
        raise FileNotFoundError(f"libraries of {program}: {listing.stderr.strip()}")
    return re.findall(r"(/\S+) \(0x", listing.stdout)


def _read(root: Path, path: str) -> bytes:
    """The content of `path` as a program inside the root would read it."""
    target = root / path.lstrip("/")
    while target.is_symlink():
        link = target.readlink()
        target = root / str(link).lstrip("/") if link.is_absolute() else target.parent / link
    return target.read_bytes()


def _run(root: Path, *command: str, given: bytes = b"") -> bytes:
    return subprocess.run(["chroot", root, *command], input=given, capture_output=True, check=True).stdout


class Modules:
    """The kernel modules of an unpacked root: which there are, what each needs, and their content."""

    def __init__(self, *, root: Path, release: str) -> None:
        self._root = root
        self._directory = root / "lib/modules" / release
        self._needs = parse_dependencies((self._directory / "modules.dep").read_text(encoding="utf-8"))
        builtin = (self._directory / "modules.builtin").read_text(encoding="utf-8").split()
        self._builtin = {module_name(path) for path in builtin}
        self._paths = {module_name(path): path for path in self._needs}

    def entries(self, names: Sequence[str], *, first: int, beside: Sequence[str] = ()) -> list[Entry]:
        """Modules `names` and all that they need as files that sort in load order, numbered from `first`.

        Without what comes with the modules `beside`: none can be loaded twice.
        """
        there = self._order(beside)
        order = [path for path in self._order(names) if path not in there]
        return [
            file_entry(f"{MODULE_DIRECTORY}/{number:03}-{module_name(path)}.ko", self._content(path))
            for number, path in enumerate(order, start=first)
        ]

    def _order(self, names: Sequence[str]) -> list[str]:
        return load_order([self._path(name) for name in names if name not in self._builtin], self._needs)

    def _path(self, name: str) -> str:
        if name not in self._paths:
            raise FileNotFoundError(f"the kernel has no module {name}, neither built in nor in {self._directory}")
        return self._paths[name]

    def _content(self, path: str) -> bytes:
        file = self._directory / path
        if path.endswith(".xz"):
            return lzma.decompress(file.read_bytes())
        if path.endswith(".zst"):
            return _run(self._root, "/usr/bin/zstd", "-dcq", f"/{file.relative_to(self._root)}")
        return file.read_bytes()


def module_name(path: str) -> str:
    """The name that the kernel knows the module file `path` by."""
    return Path(path).name.partition(".")[0].replace("-", "_")


def parse_dependencies(text: str) -> dict[str, tuple[str, ...]]:
    """`modules.dep` as a mapping from each module's path to the paths of those it needs."""
    lines = (line.partition(":") for line in text.splitlines())
    return {path: tuple(needs.split()) for path, _, needs in lines}


def load_order(wanted: Iterable[str], needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The wanted modules and all that they need, each after those that it needs."""
    order: dict[str, None] = {}

    def add(path: str) -> None:
        if path not in order:
            for other in needs[path]:
                add(other)
            order[path] = None

    for path in wanted:
        add(path)
    return list(order)

"""Builds the lab root: a directory with QEMU, FRR and the guests' kernel and image layers, all from Debian packages.

`python -m entourage.lab.setup` builds it once and is done at once when it is there. The packages are downloaded and
unpacked, never installed: nothing on the machine itself changes, and no service is started or enabled. Programs in it
are run with chroot. It needs root, for device nodes and chroot; without it the exit code is 77 (EX_NOPERM of
sysexits.h). Exit code 1: something else is missing or failed, as the message says.

The cache is $ENTOURAGE_CACHE, or /var/cache/entourage: `archives/` with what was downloaded, and `lab-root-<key>/`,
where the key changes with the package list and with the code that builds it.
"""

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from entourage.lab import layers, packages

EXIT_NEEDS_ROOT = 77
FRR_ID = 900  # user and group `frr` inside the lab root
FRRVTY_ID = 901  # group `frrvty`, which may talk to FRR's daemons

_QEMU = "/usr/bin/qemu-system-x86_64"
_QEMU_VERSION = "etc/qemu-version"  # what it says of itself
_DEFAULT_CACHE = "/var/cache/entourage"
# A unix socket's path has at most 107 bytes, and the lab's sockets lie below the cache.
_CACHE_PATH_MAX = 40
_UNUSED_AFTER_S = 14 * 86400

# One tree, whether or not the release's packages have moved to /usr, as on an installed system.
_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin", "var/run": "../run"}

# Of the kernel's drivers guests want virtio and its network cards and disks.
_UNUSED_MODULES = (
    "fs", "sound", "drivers/[!bnv]*", "drivers/b[!l]*", "drivers/blu*", "drivers/block/[!v]*", "drivers/nv*",
    "drivers/net/*/*",
)  # fmt: skip
# What no program in the root reads: not unpacked, for speed and space.
_EXCLUDED = (
    *(f"./usr/share/{name}" for name in ("doc", "info", "iso-codes", "lintian", "locale", "man", "perl", "perl5")),
    *(f"./usr/share/{name}" for name in ("bash-completion", "bug", "xml", "polkit-1")),
    *(f"./usr/lib/x86_64-linux-gnu/{name}" for name in ("gconv", "perl", "perl-base")),
    *("./lib/udev", "./usr/lib/udev", "./lib/systemd", "./usr/lib/systemd", "./etc/init.d", "./etc/cron.*"),
    *("./usr/bin/perl*", "./usr/bin/qemu-system-x86_64-microvm", "./usr/libexec/qemu-system-*"),
    *("./boot/System.map-*", "./boot/config-*"),
    *(f"*/lib/modules/*/kernel/{name}" for name in _UNUSED_MODULES),
)


class SetupMissingError(Exception):
    """The lab root is not there. Hint: run `make setup` as root."""

    def __init__(self) -> None:
        super().__init__(f"the lab root is not built in {cache_dir()}; run: make setup")


class SetupError(Exception):
    """The lab root could not be built; the message says why and what to do."""


def cache_dir() -> Path:
    """Where everything built is kept: $ENTOURAGE_CACHE, or /var/cache/entourage."""
    return Path(os.environ.get("ENTOURAGE_CACHE") or _DEFAULT_CACHE).absolute()


def lab_root() -> Path:
    """The lab root; raises SetupMissingError if it has not been built."""
    root = _root_path()
    if not root.is_dir():
        raise SetupMissingError
    return root


def inside(path: Path) -> str:
    """`path`, which lies in the lab root, as a program run there with chroot sees it; else ValueError."""
    return f"/{path.relative_to(lab_root())}"


@cache
def qemu_version() -> tuple[int, int]:
    """Of QEMU in the lab root: (10, 0). SetupMissingError as `lab_root`."""
    words = (lab_root() / _QEMU_VERSION).read_text()
    major, minor = re.findall(r"\d+", words)[:2]
    return int(major), int(minor)


@cache
def _key() -> str:
    here = Path(__file__)
    sources = (here.with_name("packages.toml"), Path(packages.__file__), here, Path(layers.__file__))
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:8]


def _root_path() -> Path:
    return cache_dir() / f"lab-root-{_key()}"


def build() -> Path:
    """The lab root, built now if it is not there. One at a time: a second caller waits and finds it built.

    It is built aside and renamed at the end, so that one half-made is never taken for whole. Raises SetupError.
    """
    directory = cache_dir()
    if len(os.fsencode(directory)) > _CACHE_PATH_MAX:
        raise SetupError(f"{directory} is too long for unix sockets below it; set ENTOURAGE_CACHE to a shorter path")
    directory.mkdir(parents=True, exist_ok=True)
    root = _root_path()
    with _locked(directory / "lock"):
        if root.is_dir():
            os.utime(root)
            return root
        aside = directory / f"building-{os.getpid()}"
        try:
            _remove_leftovers(directory)
            _build_root(aside, archives=directory / "archives")
            os.sync()  # the name must not reach the disk before the content
            aside.rename(root)
        except subprocess.CalledProcessError as error:
            command = " ".join(str(part) for part in error.cmd)
            output = "\n".join(_text(part) for part in (error.stderr, error.stdout) if part)
            raise SetupError(f"{command}: exit code {error.returncode}\n{output}".rstrip()) from error
        except OSError as error:
            raise SetupError(f"the lab root could not be built: {error}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return root


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another set-up is at work; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_leftovers(directory: Path) -> None:
    """Remove what a crash left, and roots of other versions long unused, unless a lab has files there."""
    for path in directory.glob("building-*"):
        shutil.rmtree(path)
    for path in directory.glob("lab-root-*"):
        idle = time.time() - path.stat().st_mtime > _UNUSED_AFTER_S
        if idle and not any(entry.is_dir() for entry in (path / "run").iterdir()):
            shutil.rmtree(path)


def _build_root(root: Path, *, archives: Path) -> None:
    files = packages.download(("lab-root", "guest"), archives=archives, say=_say)
    for link, target in _LINKS.items():
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(target)
        (root / link).resolve().mkdir(parents=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(lambda file: _unpack(file, root), files))
    _say(f"unpacked {len(files)} packages")
    release = layers.build_layers(root, root / "boot")
    shutil.rmtree(root / "usr/lib/modules")
    _say(f"made the guests' kernel and image, Linux {release}")
    _furnish(root)
    for program in (_QEMU, "/usr/lib/frr/bgpd"):
        version = subprocess.run(["chroot", root, program, "--version"], capture_output=True, check=True).stdout
        first = _text(version).splitlines()[0]
        _say(f"works in the lab root: {first}")
        if program == _QEMU:
            (root / _QEMU_VERSION).write_text(first)


def _unpack(file: Path, root: Path) -> None:
    excluded = [f"--exclude={pattern}" for pattern in _EXCLUDED]
    command = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--anchored", *excluded]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as archive:
        tar = subprocess.run(command, stdin=archive.stdout, stderr=subprocess.PIPE, text=True, check=False)
    if archive.returncode != 0 or tar.returncode != 0:
        raise SetupError(f"{file} could not be unpacked; remove it and try again\n{tar.stderr}".rstrip())


def _furnish(root: Path) -> None:
    """Add what installed packages would have found: users, device nodes, directories."""
    (root / "etc/passwd").write_text(
        f"root:x:0:0:root:/root:/bin/sh\nfrr:x:{FRR_ID}:{FRR_ID}:FRR:/nonexistent:/bin/false\n", encoding="ascii"
    )
    (root / "etc/group").write_text(f"root:x:0:\nfrr:x:{FRR_ID}:\nfrrvty:x:{FRRVTY_ID}:frr\n", encoding="ascii")
    for path, mode in (("run", 0o755), ("tmp", 0o1777)):
        (root / path).mkdir(exist_ok=True)
        (root / path).chmod(mode)
    (root / "etc/frr").mkdir(exist_ok=True)
    os.chown(root / "etc/frr", FRR_ID, FRR_ID)
    nodes = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "net/tun": (10, 200)}
    if Path("/dev/kvm").exists():
        nodes["kvm"] = (10, 232)
    (root / "dev/net").mkdir(parents=True)
    for name, (major, minor) in nodes.items():
        os.mknod(root / "dev" / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        (root / "dev" / name).chmod(0o666)
    try:
        (root / "dev/null").read_bytes()
    except PermissionError:
        raise SetupError(f"{root} is on a file system without device nodes; set ENTOURAGE_CACHE to another") from None


def _text(output: bytes | str) -> str:
    return output if isinstance(output, str) else output.decode(errors="replace")


_started = time.monotonic()


def _say(text: str) -> None:
    sys.stdout.write(f"[{time.monotonic() - _started:5.1f} s] {text}\n")
    sys.stdout.flush()


def main() -> int:
    """Build the lab root if need be; return the exit code."""
    if os.geteuid() != 0:
        sys.stderr.write(
            "entourage: the set-up needs root: the lab root has device nodes and is used with chroot, and the lab in it"
            " makes network namespaces, TAP devices and virtual machines. Run it as root, or with sudo.\n"
        )
        return EXIT_NEEDS_ROOT
    missing = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb", "tar", "chroot") if shutil.which(tool) is None]
    if missing or os.uname().machine != "x86_64":
        what = f"{', '.join(missing)} missing" if missing else f"machine is {os.uname().machine}"
        sys.stderr.write(f"entourage: the set-up needs Debian 12 or Ubuntu 24.04 on x86-64; {what}\n")
        return 1
    try:
        root = build()
    except SetupError as error:
        sys.stderr.write(f"entourage: {error}\n")
        return 1
    _say(f"lab root: {root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

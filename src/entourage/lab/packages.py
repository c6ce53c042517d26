"""Debian packages by apt-get: downloaded with all that they depend on, and never installed.

Nothing of the machine's own apt changes: package lists and caches that are needed beside its own lie in our folder.
"""

import platform
import re
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from entourage.model.units import format_bytes

_PACKAGES = Path(__file__).with_name("packages.toml")
_LISTS = Path("/var/lib/apt/lists")
_SOURCES = Path("/etc/apt")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"  # of package debian-archive-keyring, which Debian has

Say = Callable[[str], None]


def download(sections: Sequence[str], *, archives: Path, say: Say) -> list[Path]:
    """Download the packages of these sections of packages.toml into `archives`; return their files.

    What section `backports` names for the machine's release is taken from there. CalledProcessError of apt-get.
    """
    listed = tomllib.loads(_PACKAGES.read_text(encoding="utf-8"))
    if not any(_LISTS.glob("*_Packages*")):
        _update_lists(say)
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    newer = [f"{name}/{release}-backports" for name in listed["backports"].get(release, ())]
    try:
        return _download(listed, sections, newer, archives, say)
    except subprocess.CalledProcessError:
        _update_lists(say)  # the lists may name versions that are no longer offered
        return _download(listed, sections, newer, archives, say)


def _download(
    listed: dict[str, dict[str, str]], sections: Sequence[str], newer: Sequence[str], archives: Path, say: Say
) -> list[Path]:
    packages = [_known(names.split(" | ")) for section in sections for names in listed[section]]
    options = _with_backports(archives / "apt", say) if newer else {}
    replaced = {name.split("/")[0] for name in newer}
    return _fetch([*(name for name in packages if name not in replaced), *newer], options, archives, say)


def _update_lists(say: Say) -> None:
    say("apt-get update")
    # A source of the machine's own that does not answer is no reason to stop: what matters is the download after it.
    subprocess.run(["apt-get", "-qq", "update"], capture_output=True, check=False)


def _known(names: Sequence[str]) -> str:
    """Of alternatives the first that the machine's lists know."""
    for name in names[:-1]:
        if subprocess.run(["apt-cache", "show", name], capture_output=True, check=False).returncode == 0:
            return name
    return names[-1]


def _with_backports(folder: Path, say: Say) -> dict[str, str]:
    """Options with which apt-get knows the release's backports as well, from where the machine has the release from."""
    lists, sources = folder / "lists", folder / "sources"
    for directory in (lists, sources):
        (directory / "partial").mkdir(parents=True, exist_ok=True)
    for directory, found in ((lists, _LISTS.glob("*_dists_*")), (sources, _SOURCES.glob("sources.list.d/*.*"))):
        for path in found:
            link = directory / path.name
            link.unlink(missing_ok=True)
            link.symlink_to(path)
    own = sources / "backports.list"
    own.write_text(_backports_source())
    options = {
        "Dir::State::lists": f"{lists}/",
        "Dir::Etc::sourceparts": f"{sources}/",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
    }
    say("the lists of the backports")
    only = {"Dir::Etc::sourcelist": str(own), "Dir::Etc::sourceparts": "-", "APT::Get::List-Cleanup": "false"}
    _apt_get("update", options={**options, **only})
    return options


def _backports_source() -> str:
    """A line for apt. Of the machine's sources that of its release says where from."""
    wanted = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    for line in targets.splitlines():
        uri, codename, component = line.split()
        if (codename, component) == (release, "main"):
            return f"deb [signed-by={_KEYRING}] {uri} {release}-backports main\n"
    raise OSError(f"apt has no source of {release} main, and so none of its backports")


def _fetch(packages: Sequence[str], options: dict[str, str], archives: Path, say: Say) -> list[Path]:
    nowhere = archives / "none"  # an empty directory: apt names only what it would still have to download
    for directory in (archives, nowhere):
        (directory / "partial").mkdir(parents=True, exist_ok=True)
    listing = _apt_get("--print-uris", "install", *packages, options=_as_if_bare(nowhere, options))
    wanted = [(name, int(size)) for name, size in re.findall(r"^'\S+' (\S+) (\d+) ", listing, re.MULTILINE)]
    names = {name for name, _ in wanted}
    for file in archives.glob("*.deb"):
        if file.name not in names:
            file.unlink()
    missing = sum(size for name, size in wanted if not (archives / name).exists())
    say(f"{len(wanted)} packages, {format_bytes(missing)} to download")
    _apt_get("--download-only", "install", *packages, options=_as_if_bare(archives, options))
    return [archives / name for name, _ in wanted]


def _as_if_bare(archives: Path, options: dict[str, str]) -> dict[str, str]:
    """As on a machine with nothing installed, so that it takes every dependency, and into `archives`."""
    nothing = {"Dir::State::status": "/dev/null", "APT::Install-Recommends": "false"}
    return {**options, **nothing, "Dir::Cache::archives": f"{archives}/"}


def _apt_get(*arguments: str, options: dict[str, str]) -> str:
    always = {
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "root",  # apt's own user may not reach the cache
    }
    settings = [part for name, value in {**options, **always}.items() for part in ("-o", f"{name}={value}")]
    command = ["apt-get", "-qq", "--yes", *settings, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

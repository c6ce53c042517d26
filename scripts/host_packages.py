"""Installs the Debian packages of packages.toml's section `host` that are missing. Standard library only.

Exit codes: 0 nothing is missing any more, 77 (EX_NOPERM of sysexits.h) root is needed, else that of apt-get.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1] / "src/entourage/lab/packages.toml"
EXIT_NEEDS_ROOT = 77


def is_there(wanted: str) -> bool:
    """Whether what a package is wanted for ("command:ip", "module:ensurepip") is on this machine."""
    kind, _, name = wanted.partition(":")
    if kind == "module":
        return importlib.util.find_spec(name) is not None
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def main() -> int:
    """Install what is missing; return the exit code."""
    host = tomllib.loads(PACKAGES.read_text(encoding="utf-8"))["host"]
    missing = [package for package, wanted in host.items() if not is_there(wanted)]
    if not missing:
        return 0
    if os.geteuid() != 0:
        sys.stderr.write(
            f"entourage: these packages are missing, and installing them needs root: {' '.join(missing)}\n"
        )
        return EXIT_NEEDS_ROOT
    print("installing", *missing, flush=True)
    install = ["apt-get", "-qq", "--yes", "install", "--no-install-recommends", *missing]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(install, env=environment, check=False).returncode == 0:
        return 0
    subprocess.run(["apt-get", "-qq", "update"], check=False)
    return subprocess.run(install, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

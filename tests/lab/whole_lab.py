"""What the tests of whole labs share: a lab that is up, a small group to be moved, the command, and who kills it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entourage.lab.daemons import own_command
from entourage.lab.place import Place, open_place
from entourage.model.ids import HostId, SiteId, site_of
from entourage.operations.driving import is_being_driven
from entourage.operations.labs import look, take_down
from entourage.operations.recovering import open_moves

WITHIN_S = 240.0
_UP_WITHIN_S = 200.0
_HERE = Path(__file__).parent


def pair(folder: Path, *lines: str) -> tuple[str, ...]:
    """Options of `lab up` for a small group, its members on two hosts. Its file, in `folder`, ends with `lines`."""
    service = folder / "pair.yaml"
    service.write_text("\n".join([(_HERE / "pair.yaml").read_text(), *lines, ""]))
    return ("--sites", str(_HERE / "pair-sites.yaml"), "--service", str(service))


@contextmanager
def lab_up(name: str, *options: str) -> Iterator[Place]:
    """A lab of that name with its service running, made anew and taken down in the end."""
    asyncio.run(take_down(name))
    try:
        # By a process of its own: the virtual machines would be children of this one, and wait for it when killed.
        subprocess.run(own_command("lab", "up", "--lab", name, *options), check=True, timeout=_UP_WITHIN_S)
        yield open_place(name)
    finally:
        asyncio.run(take_down(name))


class Entourage:
    """The command in a folder of its own, asked about one lab."""

    def __init__(self, folder: Path, *, lab: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "ENTOURAGE_LAB": lab}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            own_command(*words),
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=WITHIN_S, check=False,
        )  # fmt: skip

    def json(self, *words: str) -> dict[str, Any]:
        """What the command says with --json; it has to succeed."""
        done = self(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command, as a shell does in the foreground: signals reach it alone here."""
        return subprocess.Popen(
            own_command(*words),
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip


def mover(lab: str, target: SiteId | HostId, state: str, deed: str) -> list[str]:
    """The command of one who moves the lab's service to a site, or off a host, and at `state` does the deed."""
    return [sys.executable, "-m", "entourage.chaos.orchestrator", lab, target, state, deed]


def move_killed_in(lab: str, target: SiteId | HostId, state: str, *, by: Sequence[str] = ()) -> None:
    """Begin a move and have it killed in that state. `by`: words before the command's, which run it."""
    victim = [*by, *mover(lab, target, state, "die")]
    done = subprocess.run(victim, capture_output=True, timeout=WITHIN_S, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


async def until_over(place: Place) -> None:
    """Until no move is open, and nobody drives one: another process, which nobody asked to."""
    async with asyncio.timeout(WITHIN_S):
        while open_moves(place) or is_being_driven(place):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def sites_of(lab: str) -> set[SiteId]:
    """Where the members of the lab's service run."""
    return {site_of(host) for host in asyncio.run(look(lab)).snapshot.placement.values()}


def home_and_other(place: Place) -> tuple[SiteId, SiteId]:
    """The site where all members run, and the one that is free."""
    (home,) = sites_of(place.name)
    (other,) = {site.id for site in place.infrastructure.sites} - {home}
    return home, other


def require_at_rest(place: Place, site: SiteId) -> None:
    """Everything is at that site, members and users, and nothing is under way or left."""
    seen = asyncio.run(look(place.name))
    assert seen.oddities() == []
    assert {site_of(host) for host in seen.snapshot.placement.values()} == {site}
    assert set(seen.snapshot.ingress.values()) == {site}
    assert open_moves(place) == []

"""The commands in a real lab: up, looked at, a service moved with users, interrupted, reported, and down again."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from whole_lab import WITHIN_S, Entourage

from entourage.chaos.disks import disk_problems, records
from entourage.lab.leftovers import leftovers
from entourage.lab.place import open_place
from entourage.model.ids import MemberId
from entourage.operations.labs import look
from entourage.report import validate_move_report

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LAB = "clitest"
SERVERS = (MemberId("web1"), MemberId("web2"))
MEMBERS = {"rt", "fw", "lb", *SERVERS}


@pytest.fixture(scope="module")
def entourage(lab_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entourage]:
    """With the lab up, whose inter-site link has 20 ms."""
    command = Entourage(tmp_path_factory.mktemp("cli"), lab=LAB)
    command("lab", "down")
    answer = command.json("lab", "up", "--rtt", "20 ms", "--rate", "500 Mbit/s")
    assert set(answer["placement"]) == MEMBERS
    yield command
    command("lab", "down")
    assert leftovers(LAB, root=lab_requirements) == []


@pytest.fixture(scope="module")
def moved(entourage: Entourage) -> dict[str, Any]:
    """The report of the group's move to the west, with users."""
    require_disks_at("east")
    return entourage.json("move", "--to", "west", "--sessions", "50")


def sites(entourage: Entourage) -> set[str]:
    """Where members run; nothing may be odd."""
    answer = entourage.json("status")
    assert answer["oddities"] == []
    assert set(answer["placement"]) == MEMBERS
    return {host.partition("/")[0] for host in answer["placement"].values()}


def require_disks_at(site: str) -> None:
    """Each server has its disk there and nowhere else, lacks no record on it, and writes further ones."""
    place, placement = open_place(LAB), asyncio.run(look(LAB)).snapshot.placement
    assert asyncio.run(disk_problems(place, placement)) == []
    others = [host.id for each in place.infrastructure.sites for host in each.hosts if each.id != site]
    assert [(member, host) for member in SERVERS for host in others if records(place, member, host)] == []


def test_the_lab_is_whole_and_is_not_made_twice(entourage: Entourage) -> None:
    labs = {each["lab"]: each for each in entourage.json("lab", "status")["labs"]}
    assert labs[LAB]["whole"] is True
    assert labs[LAB]["network"]["processes"] >= len(MEMBERS)
    again = entourage("lab", "up")
    assert again.returncode == 1
    assert f"lab {LAB} is up" in again.stderr
    assert entourage.json("lab", "status")["labs"][sorted(labs).index(LAB)]["whole"] is True


def test_trace_computes_with_the_links_asked_for_and_measures_no_less(entourage: Entourage) -> None:
    (path,) = entourage.json("trace", "--from", "users-west")["paths"]
    assert path["rtt_ms"] == 25.0
    assert path["measured_rtt_ms"] >= 24.0


def test_a_group_moves_whole_with_its_users(entourage: Entourage, moved: dict[str, Any]) -> None:
    assert validate_move_report(moved) == []
    assert (moved["outcome"], moved["problems"]) == ("committed", [])
    assert {member["name"] for member in moved["members"]} == MEMBERS
    assert (moved["sessions"]["opened"], moved["sessions"]["survived"]) == (50, 50)
    assert moved["path"]["after"]["inter_site_crossings"] == 0
    assert moved["requests"]["after"]["region"] == "users-west"
    assert moved["requests"]["after"]["count"] > 0
    assert moved["left_over"] == []
    assert sites(entourage) == {"west"}
    require_disks_at("west")


def test_what_cannot_be_is_refused(entourage: Entourage, moved: dict[str, Any]) -> None:
    assert entourage("plan", "--to", moved["target"]).returncode == 3
    assert entourage("move", "--to", moved["target"]).returncode == 3
    assert entourage.json("plan", "--to", moved["source"])["verdict"]["code"] == "ok"


def test_an_interrupted_move_is_put_back_and_a_second_one_beside_it_refused(
    entourage: Entourage, moved: dict[str, Any]
) -> None:
    # It is held, so that it has not ended when the others come, however slow they are.
    with entourage.begin("move", "--to", moved["source"], "--sessions", "0", "--hold") as moving:
        assert moving.stdout is not None
        for line in moving.stdout:
            if "copied" in line:
                break
        second = entourage("move", "--to", moved["source"])
        assert (second.returncode, "a move is under way" in second.stderr) == (1, True)
        assert entourage("lab", "down").returncode == 1
        moving.send_signal(signal.SIGINT)
        output, _ = moving.communicate(timeout=WITHIN_S)
    assert moving.returncode == 130
    assert "reason: interrupted by SIGINT" in output
    assert sites(entourage) == {moved["target"]}
    require_disks_at(moved["target"])


def test_a_report_can_be_shown_again(entourage: Entourage, moved: dict[str, Any]) -> None:
    shown = entourage("report", moved["move"])
    assert shown.returncode == 0
    assert "The whole path moved: 50 of 50 sessions alive" in shown.stdout
    assert (entourage.folder / "out/moves" / f"{moved['move']}.html").exists()


def test_down_leaves_nothing(entourage: Entourage, lab_requirements: Path) -> None:
    assert entourage.json("lab", "down")["removed"][LAB]
    assert leftovers(LAB, root=lab_requirements) == []
    assert LAB not in {each["lab"] for each in entourage.json("lab", "status")["labs"]}
    assert entourage("status").returncode == 1

"""`rpo` and `replica-at`: what is read, and exactly what is said of what cannot be meant."""

from dataclasses import replace

import pytest
from spec_edits import EXAMPLES, INFRASTRUCTURE, SHOP, Said, replaced, service_problems

from entourage.model.ids import SiteId
from entourage.spec import load_infrastructure, load_service, parse_infrastructure, parse_service


def test_the_replicated_example_is_the_shop_with_copies_of_its_disks() -> None:
    infrastructure = load_infrastructure(EXAMPLES / "sites.yaml")
    replicated = load_service(EXAMPLES / "shop-replicated.yaml", infrastructure)
    assert replicated == replace(load_service(EXAMPLES / "shop.yaml", infrastructure), rpo_s=10.0)
    assert [member.id for member in replicated.replicated()] == ["web1", "web2"]


@pytest.mark.parametrize(("written", "rpo_s"), [("10 s", 10.0), ("1500 ms", 1.5), ("2 min", 120.0)])
def test_rpo_is_a_duration_and_a_site_may_be_named(written: str, rpo_s: float) -> None:
    text = replaced(SHOP, "home: east", f"home: east\nrpo: {written}\nreplica-at: west")
    service = parse_service(text, file="shop.yaml", infrastructure=INFRASTRUCTURE)
    assert (service.rpo_s, service.replica_at) == (rpo_s, SiteId("west"))


def test_without_rpo_nothing_is_replicated() -> None:
    service = parse_service(SHOP, file="shop.yaml", infrastructure=INFRASTRUCTURE)
    assert (service.rpo_s, service.replica_at, service.replicated()) == (None, None, ())


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("rpo: 10", [("6:6", "'10' has no unit", "add one of us, µs, ms, s, min: 10 s")]),
        ("rpo: 500 ms", [("6:6", "'500 ms' is too short", "write at least 1 s")]),
        ("rpo: 0 s", [("6:6", "'0 s' is zero", "write a positive quantity, such as 10 s")]),
        ("rpo: 10 s\nreplica-at: wst", [("7:13", "unknown site 'wst'", "did you mean 'west'?")]),
        (
            "replica-at: west",
            [("6:13", "replica-at without rpo: nothing is replicated", "add rpo: 10 s, or remove it")],
        ),
        (
            "rpo: 10 s\nreplica-at: east",
            [("7:13", "east is the home of the service, its disks are there already", "name another site: west")],
        ),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(edit: str, said: list[Said]) -> None:
    assert service_problems(replaced(SHOP, "home: east", f"home: east\n{edit}")) == said


def test_rpo_needs_a_disk() -> None:
    found = service_problems(replaced(_without_disks(SHOP), "home: east", "home: east\nrpo: 10 s"))
    assert [(message, hint) for _, message, hint in found] == [
        ("there is no disk to be replicated", "add disk: 64 MiB to a member, or leave rpo out")
    ]


def test_rpo_needs_a_link_to_another_site() -> None:
    text = replaced(SHOP, "home: east", "home: east\nrpo: 10 s")
    alone = parse_infrastructure(
        "sites: {east: {hosts: {h1: {memory: 4 GiB, cpu: 8}}}}\nlinks: []\n"
        "regions: {users-east: {near: east, rtt: 5 ms}}",
        file="sites.yaml",
    )
    assert [(message, hint) for _, message, hint in service_problems(text, alone)] == [
        ("there is no link from east to another site", "add one to links, or leave rpo out")
    ]


def _without_disks(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.strip().startswith("disk:"))

"""A rule that refuses moves refuses those by hand, too, and says so."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.lab.errors import LabError
from entourage.model.ids import HostId, ServiceId, SiteId
from entourage.operations.refusing import refused_by_rule
from entourage.operations.rule_files import RuleText, keep_memory, put_in_force
from entourage.planner import Code, MoveRequest, Refusal
from entourage.ports.hypervisor import Capability, RunState
from entourage.rules.memory import Memory
from entourage.rules.view import ServiceView, View
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
INFRASTRUCTURE = load_infrastructure(EXAMPLES / "sites.yaml")
SHOP = load_service(EXAMPLES / "shop.yaml", infrastructure=INFRASTRUCTURE)
TO_WEST = MoveRequest(service=SHOP.id, target=SiteId("west"))
STAY = "stay: {when: always, if: service.whole, do: refuse}"
WEDNESDAY_NOON = 1782907200.0  # 2026-07-01 12:00 UTC


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Everything is at east; looks are counted."""
    made = SimpleNamespace(
        name="lab1",
        run_dir=tmp_path,
        infrastructure=INFRASTRUCTURE,
        services=[SimpleNamespace(hosted=SimpleNamespace(service=SHOP))],
        looks=0,
    )

    class Watcher:
        def __init__(self, place: Any) -> None:
            assert place is made

        async def look(self) -> View:
            made.looks += 1
            copies = {(member.id, HostId("east/h1")): RunState.RUNNING for member in SHOP.members}
            ingress = {region.id: SiteId("east") for region in INFRASTRUCTURE.regions}
            shop = ServiceView(service=SHOP, copies=copies, ingress=ingress)
            return View(
                taken_at=WEDNESDAY_NOON,
                elapsed=1000.0,
                infrastructure=INFRASTRUCTURE,
                services={SHOP.id: shop},
                capabilities=frozenset(Capability),
            )

    monkeypatch.setattr("entourage.operations.refusing.Watcher", Watcher)
    return made


def refusal(lab: Any, *rules: str, request: MoveRequest = TO_WEST) -> Refusal | None:
    if rules:
        put_in_force(lab, RuleText(file="rules.yaml", text="\n  ".join(["rules:", *rules]) + "\n"))
    return asyncio.run(refused_by_rule(lab, request))


def test_without_rules_nothing_is_refused_and_nothing_looked_at(lab: Any) -> None:
    assert refusal(lab) is None
    assert lab.looks == 0


def test_without_a_rule_that_refuses_nothing_is_looked_at(lab: Any) -> None:
    assert refusal(lab, "follow: {when: member-moved, do: follow}") is None
    assert lab.looks == 0


def test_a_rule_that_refuses_is_named_with_what_it_is_about(lab: Any) -> None:
    found = refusal(lab, STAY)
    assert found is not None
    assert (found.service, found.target) == (SHOP.id, SiteId("west"))
    (verdict,) = found.verdicts
    assert (verdict.code, verdict.said_by, verdict.reasons) == (Code.RULE, "rule stay", ("it refuses moves: always",))


def test_every_rule_that_refuses_is_named(lab: Any) -> None:
    found = refusal(lab, STAY, "also: {when: always, if: now.hour == 12, do: refuse}")
    assert found is not None
    assert [verdict.said_by for verdict in found.verdicts] == ["rule stay", "rule also"]


@pytest.mark.parametrize(
    "rule",
    [
        "no: {when: always, if: service.away > 0, do: refuse}",
        "no: {when: always, if: now.hour == 13, do: refuse}",
        "no: {when: always, if: service.whole, within: ['13:00-14:00'], do: refuse}",
        "no: {when: always, if: service.whole, hold: 1 min, do: refuse}",
    ],
)
def test_a_rule_that_is_not_true_now_or_not_yet_refuses_nothing(lab: Any, rule: str) -> None:
    assert refusal(lab, rule) is None
    assert lab.looks == 1


def test_what_is_remembered_counts_for_how_long_it_has_been_so(lab: Any) -> None:
    held = "no: {when: always, if: service.whole, hold: 1 min, do: refuse}"
    keep_memory(lab, Memory(since={SHOP.id: {"no": 900.0}}))
    assert refusal(lab, held) is not None


def test_a_rule_for_another_service_refuses_nothing_of_this_one(lab: Any) -> None:
    other = MoveRequest(service=ServiceId("mail"), target=SiteId("west"))
    assert refusal(lab, STAY, request=other) is None


def test_rules_that_cannot_be_read_any_more_are_an_error_and_no_consent(lab: Any) -> None:
    with pytest.raises(LabError, match="the rules in force cannot be read any more; entourage rules says why"):
        refusal(lab, "old: {when: always, if: service.colour == 'red', do: refuse}")

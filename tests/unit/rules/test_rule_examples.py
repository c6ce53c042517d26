"""The rule sets in examples/ do what their comments promise."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.model.ids import HostId, MemberId, SiteId, site_of
from entourage.model.world import Service
from entourage.operations.rule_files import read_rule_file
from entourage.planner import HostLoad
from entourage.ports.hypervisor import Capability, RunState
from entourage.rules.deciding import Decision, Verdict, began, decide, ended
from entourage.rules.memory import Memory
from entourage.rules.rule import Act, RuleSet
from entourage.rules.view import HostState, ServiceView, SiteState, View
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
INFRASTRUCTURE = load_infrastructure(EXAMPLES / "sites.yaml")
EAST, WEST = SiteId("east"), SiteId("west")
H1, H2 = HostId("west/h1"), HostId("west/h2")
WEB1, WEB2 = MemberId("web1"), MemberId("web2")
EMPTY = {host.id: HostLoad(memory=0, cpu=0.0) for site in INFRASTRUCTURE.sites for host in site.hosts}
NIGHT = datetime(2026, 7, 1, 21, tzinfo=UTC).timestamp()  # 23:00 on a Wednesday in Berlin
DAY = datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp()  # noon there
FRIDAY_EVENING = datetime(2026, 7, 3, 21, tzinfo=UTC).timestamp()  # 23:00, in the window
WEEKEND = datetime(2026, 7, 4, 10, tzinfo=UTC).timestamp()
IN_MAINTENANCE = {HostId("east/h1"): HostState.MAINTENANCE}
NOT_YET = ("west may not act for east: east may hold its right for 3.2 s more",)


def service(file: str) -> Service:
    return load_service(EXAMPLES / file, infrastructure=INFRASTRUCTURE)


@cache  # to look for cycles takes seconds
def rules_of(file: str, shop: str) -> RuleSet:
    """Read as `entourage run` reads them: checked against a lab with the service of that file, cycles included."""
    kept = SimpleNamespace(hosted=SimpleNamespace(service=service(shop)))
    lab: Any = SimpleNamespace(infrastructure=INFRASTRUCTURE, services=[kept])
    return read_rule_file(EXAMPLES / file).parse(lab)


class Run:
    """An example's rules, looking at the service; it was whole at east when they began."""

    def __init__(self, name: str, *, shop: str = "shop.yaml") -> None:
        self.shop = service(shop)
        self.rules = rules_of(f"rules-{name}.yaml", shop)
        self.memory, self.elapsed = Memory(), 1000.0
        self.sees()

    def sees(self, *, after: float = 1.0, taken_at: float = DAY, **seen: Any) -> list[Decision]:
        """What is decided `after` so many seconds. `at`: where members are that are not at east."""
        self.elapsed += after
        at: dict[str, str] = seen.pop("at", {})
        known = ("sites", "hosts", "may_act", "why_not", "loads")
        of_view = {"loads": EMPTY, **{key: seen.pop(key) for key in known if key in seen}}
        where = {member.id: HostId(at.get(member.id, "east/h1")) for member in self.shop.members}
        if "copies" not in seen:
            seen["copies"] = dict.fromkeys(where.items(), RunState.RUNNING)
        entered = site_of(where[self.shop.chain[0][0]])
        shop = ServiceView(service=self.shop, ingress={region.id: entered for region in INFRASTRUCTURE.regions}, **seen)
        view = View(
            taken_at=taken_at,
            elapsed=self.elapsed,
            infrastructure=INFRASTRUCTURE,
            services={self.shop.id: shop},
            capabilities=frozenset(Capability),
            **of_view,
        )
        decided = decide(view, self.rules, self.memory)
        self.memory = decided.memory
        return list(decided.decisions)

    def does(self, decision: Decision) -> None:
        self.memory = began(self.memory, decision, elapsed=self.elapsed)
        self.memory = ended(self.memory, decision, elapsed=self.elapsed, done=True)


def by_rule(decisions: list[Decision]) -> dict[str, Verdict]:
    return {decision.rule: decision.verdict for decision in decisions}


@pytest.mark.parametrize("shop", ["shop.yaml", "shop-replicated.yaml"])
@pytest.mark.parametrize("file", sorted(path.name for path in EXAMPLES.glob("rules-*.yaml")))
def test_each_example_is_read_and_moves_nothing_back_and_forth(file: str, shop: str) -> None:
    assert rules_of(file, shop).rules


def test_there_is_an_example_for_each_purpose() -> None:
    files = {path.name for path in EXAMPLES.glob("rules-*.yaml")}
    assert files >= {f"rules-{purpose}.yaml" for purpose in ("follow", "maintenance", "failover", "cost")}


# Follow.


def test_follow_the_rest_of_the_group_goes_where_a_server_went_when_it_has_stayed_there() -> None:
    run = Run("follow")
    assert by_rule(run.sees(at={"web1": "west/h1"})) == {"follow-servers": Verdict.WAIT}
    (decision,) = run.sees(at={"web1": "west/h1"}, after=0.2)
    assert (decision.verdict, decision.action.act, decision.target) == (Verdict.DO, Act.FOLLOW, WEST)
    assert decision.members is None


def test_follow_a_server_that_is_back_at_once_moves_nothing() -> None:
    run = Run("follow")
    run.sees(at={"web1": "west/h1"})
    assert run.sees(after=0.2) == []


def test_follow_an_appliance_alone_elsewhere_is_brought_back_after_five_seconds() -> None:
    run = Run("follow")
    assert by_rule(run.sees(at={"fw": "west/h1"})) == {"bring-appliances-back": Verdict.WAIT}
    assert by_rule(run.sees(at={"fw": "west/h1"}, after=4.9)) == {"bring-appliances-back": Verdict.WAIT}
    (decision,) = run.sees(at={"fw": "west/h1"}, after=0.2)
    assert (decision.verdict, decision.action.act, decision.target) == (Verdict.DO, Act.BRING_BACK, EAST)
    assert decision.members == frozenset({MemberId("fw")})


def test_follow_a_server_and_an_appliance_that_went_together_are_followed() -> None:
    run = Run("follow")
    run.sees(at={"web1": "west/h1", "fw": "west/h1"})
    decided = run.sees(at={"web1": "west/h1", "fw": "west/h1"}, after=10)
    assert by_rule(decided) == {"follow-servers": Verdict.DO, "bring-appliances-back": Verdict.WAIT}


def test_follow_a_change_of_host_within_the_site_moves_nothing() -> None:
    assert Run("follow").sees(at={"web1": "east/h2"}, after=10) == []


# Maintenance.


def test_maintenance_by_night_its_members_leave_for_the_other_host_after_ten_seconds() -> None:
    run = Run("maintenance")
    assert by_rule(run.sees(taken_at=NIGHT, hosts=IN_MAINTENANCE))["leave-the-host"] is Verdict.WAIT
    decided = {each.rule: each for each in run.sees(taken_at=NIGHT + 10, hosts=IN_MAINTENANCE, after=10)}
    leave = decided["leave-the-host"]
    assert (leave.verdict, leave.action.act, leave.target) == (Verdict.DO, Act.EVACUATE, EAST)
    assert leave.leaves == HostId("east/h1")


def test_maintenance_without_room_beside_it_the_service_leaves_whole() -> None:
    run = Run("maintenance")
    full = {**EMPTY, HostId("east/h2"): HostLoad(memory=2 << 30, cpu=2.0)}
    run.sees(taken_at=NIGHT, hosts=IN_MAINTENANCE)
    decided = {each.rule: each for each in run.sees(taken_at=NIGHT, hosts=IN_MAINTENANCE, after=10, loads=full)}
    leave = decided["leave-the-host"]
    assert (leave.verdict, leave.target, leave.members, leave.leaves) == (Verdict.DO, WEST, None, None)


def test_maintenance_by_day_it_waits_and_says_until_when() -> None:
    run = Run("maintenance")
    run.sees(hosts=IN_MAINTENANCE)
    leave = next(each for each in run.sees(hosts=IN_MAINTENANCE, after=60) if each.rule == "leave-the-host")
    assert (leave.verdict, leave.reasons) == (Verdict.WAIT, ("its window opens Wed 22:00",))


def test_maintenance_at_the_weekend_it_goes_by_day() -> None:
    run = Run("maintenance")
    run.sees(taken_at=WEEKEND, hosts=IN_MAINTENANCE)
    decided = run.sees(taken_at=WEEKEND, hosts=IN_MAINTENANCE, after=10)
    assert by_rule(decided)["leave-the-host"] is Verdict.DO


def test_maintenance_on_the_busiest_evening_nobody_moves_the_shop() -> None:
    run = Run("maintenance")
    run.sees(taken_at=FRIDAY_EVENING, hosts=IN_MAINTENANCE)
    decided = {each.rule: each for each in run.sees(taken_at=FRIDAY_EVENING, hosts=IN_MAINTENANCE, after=60)}
    assert decided["black-friday"].verdict is Verdict.DO
    assert decided["leave-the-host"].verdict is Verdict.CANNOT
    assert decided["leave-the-host"].reasons == ("rule black-friday refuses it: always",)


def test_maintenance_ops_are_told_once_and_at_any_time() -> None:
    run = Run("maintenance")
    tell = next(each for each in run.sees(hosts=IN_MAINTENANCE) if each.rule == "tell-ops")
    assert (tell.verdict, str(tell.action)) == (Verdict.DO, "notify ops")
    run.does(tell)
    assert by_rule(run.sees(hosts=IN_MAINTENANCE))["tell-ops"] is Verdict.WAIT


def test_maintenance_of_a_host_on_which_nothing_of_it_runs_is_nothing() -> None:
    assert Run("maintenance").sees(hosts={HostId("east/h2"): HostState.MAINTENANCE}) == []


# Failover.

LOST: dict[str, Any] = {
    "copies": {},
    "sites": {EAST: SiteState.LOST},
    "may_act": {EAST: frozenset({WEST})},
    "replicas": {(WEB1, H1): 950.0, (WEB1, H2): 990.0, (WEB2, H1): 991.0},
}


def failing_over(**changes: Any) -> Decision:
    run = Run("failover", shop="shop-replicated.yaml")
    (decision,) = run.sees(**{**LOST, **changes})
    return decision


def test_failover_it_is_started_where_the_freshest_replicas_are() -> None:
    decision = failing_over()
    assert (decision.verdict, decision.action.act, decision.target) == (Verdict.DO, Act.FAIL_OVER, WEST)
    plan = decision.failover
    assert plan is not None
    assert (plan.placement[WEB1], plan.placement[WEB2]) == (H2, H1)
    assert set(plan.placement) == {member.id for member in service("shop.yaml").members}
    assert {site_of(host) for host in plan.placement.values()} == {WEST}
    assert plan.data == {WEB1: 990.0, WEB2: 991.0}
    assert plan.ingress_first is False


def test_failover_without_a_replica_it_cannot_and_says_of_whom() -> None:
    decision = failing_over(replicas={(WEB1, H1): 950.0})
    assert decision.verdict is Verdict.CANNOT
    assert decision.failover is None
    (reason,) = decision.reasons
    assert reason.startswith("to west: no-replica: there is no replica of the disk of web2 at west")


def test_failover_of_a_site_that_is_only_unreachable_nothing_is_decided() -> None:
    run = Run("failover", shop="shop-replicated.yaml")
    odd = ("east is unreachable: what runs there is not known",)
    assert run.sees(sites={EAST: SiteState.UNREACHABLE}, odd=odd, replicas=LOST["replicas"]) == []


def test_failover_while_nobody_may_act_it_waits_with_the_reasons_of_those_who_may_not() -> None:
    decision = failing_over(may_act={EAST: frozenset()}, why_not={EAST: NOT_YET})
    assert (decision.verdict, decision.target, decision.reasons) == (Verdict.WAIT, None, NOT_YET)


def test_failover_of_what_runs_elsewhere_whole_nothing_is_decided() -> None:
    run = Run("failover", shop="shop-replicated.yaml")
    west = {member.id: "west/h1" for member in run.shop.members}
    run.sees(at=west, put={member: HostId(host) for member, host in west.items()})
    lost = {key: value for key, value in LOST.items() if key != "copies"}
    assert run.sees(at=west, put={member: HostId(host) for member, host in west.items()}, **lost) == []


def test_failover_of_a_part_starts_only_what_was_lost() -> None:
    run = Run("failover", shop="shop-replicated.yaml")
    copies = {(WEB1, H1): RunState.RUNNING}
    decisions = run.sees(**{**LOST, "copies": copies})
    over = next(each for each in decisions if each.action.act is Act.FAIL_OVER)
    assert over.verdict is Verdict.DO
    assert over.failover is not None
    assert WEB1 not in over.failover.placement
    assert len(over.failover.placement) == len(run.shop.members) - 1


# Cost.


def told(decisions: list[Decision]) -> list[str]:
    return [each.rule for each in decisions if each.verdict is Verdict.DO and str(each.action) == "notify ops"]


def test_cost_split_for_five_minutes_what_went_away_goes_back() -> None:
    run = Run("cost")
    away = {"web1": "west/h1"}
    assert "split-too-long" not in by_rule(run.sees(at=away))
    assert "split-too-long" not in by_rule(run.sees(at=away, after=299))
    back = next(each for each in run.sees(at=away, after=2) if each.rule == "split-too-long")
    assert (back.verdict, back.target, back.members) == (Verdict.DO, EAST, frozenset({WEB1}))


def test_cost_a_trombone_that_lasts_a_minute_is_told() -> None:
    run = Run("cost")
    away = {"fw": "west/h1"}
    stretched = {each.id: frozenset({EAST, WEST}) for each in run.shop.segments}
    assert by_rule(run.sees(at=away, stretched=stretched))["trombone"] is Verdict.WAIT
    assert told(run.sees(at=away, stretched=stretched, after=60)) == ["trombone"]
    assert run.sees(after=60) == []


def test_cost_traffic_is_told_above_twenty_gigabytes_an_hour_and_not_at_once() -> None:
    run = Run("cost")
    assert run.sees(bytes_per_hour=20e9) == []
    assert by_rule(run.sees(bytes_per_hour=20.1e9)) == {"dear-traffic": Verdict.WAIT}
    assert told(run.sees(bytes_per_hour=21e9, after=600)) == ["dear-traffic"]


def test_cost_the_last_seat_is_told_and_not_where_none_is_needed() -> None:
    run = Run("cost")
    assert run.sees() == []
    assert run.sees(free_licences=1) == []
    assert told(run.sees(free_licences=0)) == ["no-seat-left"]


def test_cost_too_many_copies_are_told() -> None:
    assert told(Run("cost").sees(licence_violations=("5 of 4 seats of fw",))) == ["too-many-copies"]

"""Rules that would move a service back and forth are found before they do, and those that would not are let be."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rules_world import EAST, INFRASTRUCTURE, SHOP, SOUTH, WEST, rules

from entourage.model.ids import ServiceId
from entourage.operations.rule_files import RuleText
from entourage.rules.cycles import Cycle, find_cycle
from entourage.spec import SpecError

AWAY = "away: {when: always, if: service.site == 'east', do: evacuate, to: west}"
HOME = "home: {when: always, if: service.site == 'west', do: evacuate, to: east}"
FOLLOW = "follow: {when: member-moved, if: member.role == 'server', do: follow}"
LEAVE = "leave: {when: host-maintenance, do: evacuate}"


def cycle(*lines: str, top: str = "") -> Cycle | None:
    return find_cycle(rules(*lines, top=top), INFRASTRUCTURE, SHOP)


def found(*lines: str, top: str = "") -> Cycle:
    seen = cycle(*lines, top=top)
    assert seen is not None
    return seen


def test_two_rules_that_undo_each_other_would_never_rest() -> None:
    seen = found(AWAY, HOME)
    assert (seen.rules, seen.sites, seen.is_endless) == (("away", "home"), (WEST, EAST), True)


def test_the_message_names_the_service_the_rules_and_the_sites() -> None:
    assert str(found(AWAY, HOME)) == "shop would never rest: away moves it to west, home moves it to east, and so on"


def test_holds_and_limits_only_make_it_slower() -> None:
    slow = HOME.replace("do:", "hold: 10 min, limit: {per-hour: 1}, do:")
    assert found(AWAY, slow).rules == ("away", "home")


def test_one_rule_that_undoes_itself_is_a_cycle_too() -> None:
    seen = found("fidget: {when: always, if: service.whole, do: evacuate}")
    assert set(seen.rules) == {"fidget"}
    assert len(set(seen.sites)) >= 2


def test_what_was_followed_and_is_moved_back_at_once_was_moved_for_nothing() -> None:
    to_east = "home: {when: always, if: service.whole && service.site != 'east', do: evacuate, to: east}"
    seen = found(FOLLOW, to_east)
    assert (seen.rules, seen.is_endless) == (("follow", "home"), False)
    assert seen.sites[1] == EAST
    assert str(seen) == f"shop would be moved back and forth: follow moves it to {seen.sites[0]}, home moves it to east"


def test_following_and_bringing_back_the_same_member_is_decided_by_the_order_and_is_no_cycle() -> None:
    assert cycle(FOLLOW, "back: {when: member-moved, do: bring-back}") is None
    assert cycle("back: {when: member-moved, do: bring-back}", FOLLOW) is None


def test_by_day_there_and_by_night_here_is_no_cycle() -> None:
    day = AWAY.replace("service.site == 'east'", "now.hour >= 8 && now.hour < 18")
    night = HOME.replace("service.site == 'west'", "now.hour < 8 || now.hour >= 18")
    assert cycle(day, night) is None


def test_days_and_nights_that_overlap_by_an_hour_are_a_cycle() -> None:
    day = AWAY.replace("service.site == 'east'", "service.site == 'east' && now.hour >= 8 && now.hour < 18")
    night = HOME.replace("service.site == 'west'", "service.site == 'west' && (now.hour < 8 || now.hour >= 17)")
    assert set(found(day, night).rules) == {"away", "home"}


def test_windows_count_as_the_expression_does() -> None:
    day = AWAY.replace("do:", "within: ['08:00-18:00'], do:")
    assert cycle(day, HOME.replace("do:", "within: ['18:00-08:00'], do:")) is None
    assert set(found(day, HOME.replace("do:", "within: ['17:30-08:00'], do:")).rules) == {"away", "home"}


def test_windows_of_different_days_do_not_meet() -> None:
    week = AWAY.replace("do:", "within: [mon-fri 00:00-23:59], do:")
    assert cycle(week, HOME.replace("do:", "within: [sat-sun 00:00-23:59], do:")) is None
    assert cycle(week, HOME.replace("do:", "within: [fri-sun 00:00-23:59], do:")) is not None


def test_schedules_at_different_times_are_no_cycle_and_at_the_same_time_are() -> None:
    morning = "morning: {when: schedule, at: '07:00', do: evacuate, to: west}"
    evening = "evening: {when: schedule, at: '19:00', do: evacuate, to: east}"
    assert cycle(morning, evening) is None
    at_once = found(
        morning.replace("when: schedule", "when: schedule, if: service.site == 'east'"),
        evening.replace("19:00", "07:00").replace("when: schedule", "when: schedule, if: service.site == 'west'"),
    )
    assert set(at_once.rules) == {"morning", "evening"}


@pytest.mark.parametrize("lines", [(LEAVE, FOLLOW), (FOLLOW, LEAVE)])
def test_leaving_a_host_in_maintenance_beside_following_is_no_cycle(lines: tuple[str, str]) -> None:
    assert cycle(*lines) is None


def test_nobody_is_sent_home_to_a_host_in_maintenance_so_that_is_no_cycle() -> None:
    back = "home: {when: always, if: service.site != 'east' && service.whole, do: evacuate, to: east}"
    assert cycle(LEAVE, back) is None


def test_a_round_over_three_sites_is_found() -> None:
    seen = found(AWAY, HOME.replace("to: east", "to: south"), HOME.replace("home:", "on:").replace("west", "south"))
    assert set(seen.rules) == {"away", "home", "on"}
    assert set(seen.sites) == {EAST, WEST, SOUTH}
    assert len(seen.sites) == 3


def test_that_there_is_much_traffic_counts() -> None:
    dear = "dear: {when: always, if: path.bytes_per_hour > 1000000.0 && service.site == 'east', do: evacuate, to: west}"
    assert set(found(dear, HOME).rules) == {"dear", "home"}


def test_that_a_site_has_no_room_today_hides_no_cycle() -> None:
    small = replace(
        INFRASTRUCTURE,
        sites=tuple(
            replace(site, hosts=tuple(replace(host, memory=1, cpu=0.01) for host in site.hosts))
            for site in INFRASTRUCTURE.sites
        ),
    )
    assert find_cycle(rules(AWAY, HOME), small, SHOP) is not None


@pytest.mark.parametrize(
    "lines",
    [
        ("quiet: {when: always, if: path.crossings > 0, do: refuse}",),
        (AWAY,),
        (FOLLOW,),
        (AWAY, HOME.replace("do:", "for: [other], do:")),
        ("over: {when: site-lost, do: fail-over}", FOLLOW),
    ],
)
def test_what_moves_nothing_or_in_one_direction_is_no_cycle(lines: tuple[str, ...]) -> None:
    assert cycle(*lines) is None


def test_a_rule_that_refuses_ends_a_cycle() -> None:
    assert cycle("stay: {when: always, if: service.whole, do: refuse}", AWAY, HOME) is None


# As a file.


def lab(tmp_path: Path, *services: str) -> Any:
    kept = [SimpleNamespace(hosted=SimpleNamespace(service=replace(SHOP, id=ServiceId(name)))) for name in services]
    return SimpleNamespace(name="lab1", run_dir=tmp_path, infrastructure=INFRASTRUCTURE, services=kept)


def test_a_file_with_a_cycle_is_refused_with_the_line_of_the_first_rule_and_a_hint(tmp_path: Path) -> None:
    text = RuleText(file="mine.yaml", text=f"# what I want\nrules:\n  {FOLLOW}\n  {AWAY}\n  {HOME}\n")
    with pytest.raises(SpecError) as refused:
        text.parse(lab(tmp_path, "shop"))
    said = str(refused.value)
    assert "mine.yaml:4:1" in said
    assert "shop would never rest: away moves it to west, home moves it to east, and so on" in said
    assert "give them expressions that exclude each other, or remove one" in said


def test_a_file_without_one_is_read_with_all_its_rules(tmp_path: Path) -> None:
    read = RuleText(file="mine.yaml", text=f"rules:\n  {FOLLOW}\n  {LEAVE}\n").parse(lab(tmp_path, "shop"))
    assert [rule.name for rule in read.rules] == ["follow", "leave"]


def test_every_service_that_would_never_rest_is_named(tmp_path: Path) -> None:
    text = RuleText(file="mine.yaml", text=f"rules:\n  {AWAY}\n  {HOME}\n")
    with pytest.raises(SpecError) as refused:
        text.parse(lab(tmp_path, "shop", "mail"))
    assert "shop would never rest" in str(refused.value)
    assert "mail would never rest" in str(refused.value)

"""Where replicas are kept, when the next round is due, and what is said of a link that does not carry it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planner_world import EAST, WEB1, WEB2, WEST, snapshot

from entourage.model.ids import HostId, SiteId, site_of
from entourage.model.replication import Generation
from entourage.model.world import Host, InterSiteLink, Site
from entourage.planner.replicating import LINK_SHARE, ReplicaState, due_at, lateness, pace, replica_hosts, replica_site

NORTH = SiteId("north")
INFRASTRUCTURE, SHOP = snapshot().infrastructure, snapshot().service
THREE = replace(
    INFRASTRUCTURE,
    sites=(*INFRASTRUCTURE.sites, Site(id=NORTH, hosts=(Host(id=HostId("north/h1"), memory=8 << 30, cpu=8),))),
    links=(*INFRASTRUCTURE.links, InterSiteLink(sites=(NORTH, EAST), rtt=1.0, rate=1e9)),
)
SERVICE = replace(
    SHOP, rpo_s=10.0, members=tuple(replace(m, disk=(1 << 24) * m.id.startswith("web")) for m in SHOP.members)
)


def generation(*, taken_at: float = 100.0, took_s: float = 1.0, size: int = 1 << 16) -> Generation:
    return Generation(
        id="7-x",
        number=7,
        member=WEB1,
        source=HostId("east/h1"),
        began_at=taken_at,
        taken_at=taken_at,
        valid_at=taken_at + took_s,
        bytes=size,
    )


def test_only_members_with_a_disk_are_replicated_and_only_if_the_service_wants_it() -> None:
    assert [m.id for m in SERVICE.replicated()] == [WEB1, WEB2]
    assert replace(SERVICE, rpo_s=None).replicated() == ()


@pytest.mark.parametrize(
    ("named", "at", "site"),
    [
        (None, EAST, NORTH),  # the nearest
        (None, WEST, EAST),  # the only one that a link leads to
        (WEST, EAST, WEST),  # the one that was named
        (WEST, WEST, EAST),  # it runs there itself
        (WEST, NORTH, EAST),  # no link leads to it from there
    ],
)
def test_a_replica_is_kept_at_the_site_that_was_named_or_at_the_nearest(
    named: SiteId | None, at: SiteId, site: SiteId
) -> None:
    assert replica_site(THREE, replace(SERVICE, replica_at=named), at) == site


def test_without_another_site_there_is_none() -> None:
    assert replica_site(replace(INFRASTRUCTURE, links=()), SERVICE, EAST) is None


def test_replicas_lie_where_the_whole_service_has_room() -> None:
    hosts = replica_hosts(INFRASTRUCTURE, SERVICE, WEST)
    assert sorted(hosts) == [WEB1, WEB2]
    assert {site_of(host) for host in hosts.values()} == {WEST}
    assert len(set(hosts.values())) == 2  # servers are kept apart


def test_all_rounds_together_take_their_share_of_the_link() -> None:
    each = pace(INFRASTRUCTURE, SERVICE, source=EAST, target=WEST)
    assert each * 2 * 8 == INFRASTRUCTURE.link(EAST, WEST).rate * LINK_SHARE


def test_the_first_round_is_due_at_once_and_so_is_one_after_the_clock_was_set_back() -> None:
    assert due_at(None, rpo_s=10, now=50) == 50
    assert due_at(generation(taken_at=100), rpo_s=10, now=50) == 50


@given(rpo_s=st.floats(1, 1e4), took_s=st.floats(0, 1e4), longer=st.floats(0, 1.3))
def test_a_round_that_takes_no_longer_than_the_last_keeps_data_fresh_enough_if_any_can(
    rpo_s: float, took_s: float, longer: float
) -> None:
    last = generation(taken_at=100, took_s=took_s)
    begins = max(due_at(last, rpo_s=rpo_s, now=last.valid_at), last.valid_at)
    oldest = begins + took_s * longer - last.taken_at
    # Two rounds in a row that fit into rpo_s with some room always do; and none begins without need.
    if took_s * (1 + longer) <= rpo_s and took_s * longer <= took_s + rpo_s / 3:
        assert oldest <= rpo_s * (1 + 1e-9)
    if begins > last.valid_at:
        assert oldest >= rpo_s * (2 / 3) + took_s * (longer - 1) - 1e-6


def test_fresh_data_is_no_reason_to_say_anything_nor_is_a_first_generation() -> None:
    assert lateness(None, generation(), rpo_s=10, pace=1e6) is None
    assert lateness(generation(taken_at=100), generation(taken_at=105, took_s=5), rpo_s=10, pace=1e6) is None


def test_a_link_that_is_too_slow_is_told_with_what_is_needed_and_what_is_there() -> None:
    late = lateness(generation(taken_at=100), generation(taken_at=110, took_s=10, size=10_000_000), rpo_s=10, pace=1e6)
    assert str(late) == (
        "data was 20.0 s old, wanted are 10 s: the link is too slow, 16 Mbit/s needed, 8 Mbit/s available"
    )


def test_a_round_that_was_slow_for_another_reason_is_not_blamed_on_the_link() -> None:
    late = lateness(generation(taken_at=100), generation(taken_at=110, took_s=10, size=1000), rpo_s=10, pace=1e6)
    assert "the round took 10.0 s, which is not the link's rate: 1.6 kbit/s needed, 8 Mbit/s available" in str(late)


def test_a_state_is_behind_when_its_data_is_older_than_wanted_or_there_is_none() -> None:
    state = ReplicaState(member=WEB1, rpo_s=10, host=HostId("west/h1"), generation=generation(taken_at=100))
    assert not state.is_behind(110)
    assert state.is_behind(110.1)
    assert state.to_json(102) == {
        "member": "web1", "host": "west/h1", "rpo_s": 10, "behind": False, "problem": None, "age_s": 2.0,
        "taken_at": 100.0, "generation": 7, "source": "east/h1", "round": {"bytes": 65536, "seconds": 1.0},
    }  # fmt: skip
    none = replace(state, host=None, generation=None)
    assert none.is_behind(0)
    assert none.to_json(0)["round"] is None

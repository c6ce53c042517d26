"""What `trace` says of where requests go, how they end and what that costs."""

from dataclasses import replace

import paths_world as world
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, SiteId
from entourage.paths import Ending, HopKind, HopLink, Path, after_move, spanning_segments, to_json, trace

SERVERS_WEST = {world.WEB1: world.WEST, world.WEB2: world.WEST}
ALL_WEST = dict.fromkeys(world.MEMBERS, world.WEST)
SITES = st.sampled_from([world.EAST, world.WEST])
REGIONS = st.sampled_from([world.USERS_EAST, world.USERS_WEST])
PLACEMENTS = st.fixed_dictionaries(dict.fromkeys(world.MEMBERS, SITES))


def names(path: Path) -> tuple[list[str], list[str]]:
    return [hop.name for hop in path.hops], [hop.name for hop in path.return_hops]


def test_users_near_the_service_take_the_direct_path_and_the_reply_retraces_it() -> None:
    path = trace(world.snapshot(), world.USERS_EAST)
    assert path.ending is Ending.DELIVERED
    assert names(path) == (
        ["users-east", "provider-east", "edge-east", "rt", "fw", "lb", "web1"],
        ["lb", "fw", "rt", "edge-east", "provider-east", "users-east"],
    )
    assert (path.rtt_ms, path.added_ms, path.inter_site_crossings, path.is_trombone) == (5.0, 0.0, 0, False)


def test_users_far_from_the_service_cross_the_backbone_and_that_is_no_trombone() -> None:
    path = trace(world.snapshot(), world.USERS_WEST)
    assert [hop.name for hop in path.hops][:4] == ["users-west", "provider-west", "provider-east", "edge-east"]
    assert path.hops[2].link is HopLink.BACKBONE
    assert (path.rtt_ms, path.added_ms, path.inter_site_crossings, path.is_trombone) == (55.0, 0.0, 0, False)


def test_servers_moved_alone_make_a_trombone_of_one_inter_site_round_trip() -> None:
    path = trace(world.snapshot(at=SERVERS_WEST), world.USERS_EAST, stretched=world.ALL_STRETCHED)
    assert path.ending is Ending.DELIVERED
    assert path.hops[-1].link is HopLink.INTER_SITE
    assert path.return_hops[0].link is HopLink.INTER_SITE
    assert (path.rtt_ms, path.added_ms, path.inter_site_crossings, path.is_trombone) == (55.0, 50.0, 2, True)


def test_every_other_member_elsewhere_crosses_once_for_each_pair() -> None:
    scattered = {world.FW: world.WEST, world.WEB1: world.WEST}
    path = trace(world.snapshot(at=scattered), world.USERS_EAST, stretched=world.ALL_STRETCHED)
    assert path.inter_site_crossings == 6
    assert path.added_ms == 150.0


def test_late_packets_are_tunnelled_from_edge_to_edge_and_the_reply_leaves_beside_the_router() -> None:
    path = trace(world.snapshot(at=ALL_WEST, ingress=world.EAST), world.USERS_EAST)
    assert [hop.name for hop in path.hops] == [
        "users-east", "provider-east", "edge-east", "edge-west", "rt", "fw", "lb", "web1",
    ]  # fmt: skip
    assert [hop.name for hop in path.return_hops][3:] == ["edge-west", "provider-west", "provider-east", "users-east"]
    assert (path.inter_site_crossings, path.added_ms, path.is_trombone) == (1, 50.0, True)


def test_a_region_without_a_route_ends_at_its_users() -> None:
    bare = replace(world.snapshot(), ingress={world.USERS_WEST: world.EAST})
    path = trace(bare, world.USERS_EAST)
    assert path.ending is Ending.NO_ROUTE
    assert names(path) == (["users-east"], [])
    assert path.rtt_ms is None
    assert path.added_ms is None
    assert "no route to 203.0.113.0/28" in path.detail


def test_a_member_that_does_not_run_ends_the_path_before_it() -> None:
    whole = world.snapshot()
    without = replace(whole, placement={m: h for m, h in whole.placement.items() if m != world.FW})
    path = trace(without, world.USERS_EAST)
    assert path.ending is Ending.MEMBER_NOT_RUNNING
    assert path.hops[-1].name == "rt"
    assert path.detail == "fw not running"


def test_a_stage_of_several_needs_only_one_that_runs_unless_one_is_asked_for() -> None:
    whole = world.snapshot()
    without = replace(whole, placement={m: h for m, h in whole.placement.items() if m != world.WEB1})
    assert trace(without, world.USERS_EAST).hops[-1].name == "web2"
    assert trace(whole, world.USERS_EAST, via=world.WEB2).hops[-1].name == "web2"
    assert trace(without, world.USERS_EAST, via=world.WEB1).ending is Ending.MEMBER_NOT_RUNNING


@pytest.mark.parametrize(
    "stretched",
    [{}, {SegmentId("dmz"): world.BOTH}, {SegmentId("inside"): frozenset({world.WEST, SiteId("north")})}],
    ids=["none", "another", "other-sites"],
)
def test_members_apart_on_a_segment_that_does_not_join_their_sites_are_not_reached(
    stretched: dict[SegmentId, frozenset[SiteId]],
) -> None:
    path = trace(world.snapshot(at=SERVERS_WEST), world.USERS_EAST, stretched=stretched)
    assert path.ending is Ending.SEGMENT_NOT_STRETCHED
    assert path.hops[-1].name == "lb"
    assert path.return_hops == ()
    assert path.detail == "lb (east) and web1 (west) share inside, which is not stretched between their sites"


def test_neighbours_without_a_common_segment_are_not_reached() -> None:
    whole = world.snapshot()
    skipping = replace(whole, service=replace(whole.service, chain=((world.RT,), (world.LB,), (world.WEB1,))))
    assert trace(skipping, world.USERS_EAST).ending is Ending.NO_COMMON_SEGMENT


def test_sites_that_no_link_joins_are_not_reached() -> None:
    apart = world.snapshot(at=SERVERS_WEST, on=world.infrastructure(linked=False))
    assert trace(apart, world.USERS_EAST, stretched=world.ALL_STRETCHED).ending is Ending.NO_LINK
    assert trace(apart, world.USERS_WEST).ending is Ending.NO_LINK


def test_unknown_names_are_errors() -> None:
    with pytest.raises(KeyError):
        trace(world.snapshot(), RegionId("users-north"))
    with pytest.raises(KeyError):
        trace(world.snapshot(), world.USERS_EAST, via=MemberId("web3"))
    with pytest.raises(KeyError):
        after_move(world.snapshot(), placement={MemberId("web3"): HostId("west/h1")}, ingress={})
    with pytest.raises(KeyError):
        after_move(world.snapshot(), placement={world.WEB1: HostId("west/h9")}, ingress={})
    with pytest.raises(KeyError):
        after_move(world.snapshot(), placement={}, ingress={world.USERS_EAST: SiteId("north")})


def test_after_move_changes_what_is_named_and_leaves_the_snapshot_alone() -> None:
    before = world.snapshot()
    after = after_move(before, placement={world.WEB1: HostId("west/h2")}, ingress={world.USERS_WEST: world.WEST})
    assert after.placement == {**before.placement, world.WEB1: "west/h2"}
    assert after.ingress == {world.USERS_EAST: "east", world.USERS_WEST: "west"}
    assert before == world.snapshot()


def test_only_segments_with_members_at_both_sites_span_and_never_the_ingress_segment() -> None:
    assert spanning_segments(world.snapshot()) == {}
    assert spanning_segments(world.snapshot(at=SERVERS_WEST)) == {SegmentId("inside"): world.BOTH}
    assert spanning_segments(world.snapshot(at={world.FW: world.WEST})) == {
        SegmentId("outside"): world.BOTH,
        SegmentId("dmz"): world.BOTH,
    }


def test_json_has_exactly_the_documented_keys() -> None:
    document = to_json(trace(world.snapshot(at=SERVERS_WEST), world.USERS_EAST, stretched=world.ALL_STRETCHED))
    assert list(document) == [
        "region", "ending", "hops", "return_hops", "inter_site_crossings", "rtt_ms", "added_ms",
    ]  # fmt: skip
    hops = document["hops"]
    assert isinstance(hops, list)
    assert hops[0] == {
        "name": "users-east", "kind": "users", "site": "east", "host": None, "link": None, "one_way_ms": 0.0,
    }  # fmt: skip
    assert hops[-1] == {
        "name": "web1", "kind": "server", "site": "west", "host": "west/h1", "link": "inter-site", "one_way_ms": 25.0,
    }  # fmt: skip


@given(at=PLACEMENTS, region=REGIONS, rtt=st.floats(1, 300), access=st.floats(0, 50))
def test_where_packets_enter_beside_the_router_crossings_are_even_and_each_adds_half_an_rtt(
    at: dict[MemberId, SiteId], region: RegionId, rtt: float, access: float
) -> None:
    here = world.snapshot(at=at, ingress=at[world.RT], on=world.infrastructure(rtt=rtt, access=access))
    path = trace(here, region, stretched=spanning_segments(here))
    assert path.ending is Ending.DELIVERED
    assert path.inter_site_crossings % 2 == 0
    assert path.added_ms == pytest.approx(path.inter_site_crossings * rtt / 2)


@given(at=PLACEMENTS, ingress=SITES, region=REGIONS)
def test_crossings_are_odd_exactly_when_the_tunnel_for_late_packets_is_on_the_path(
    at: dict[MemberId, SiteId], ingress: SiteId, region: RegionId
) -> None:
    here = world.snapshot(at=at, ingress=ingress)
    path = trace(here, region, stretched=spanning_segments(here))
    tunnelled = sum(hop.kind is HopKind.EDGE for hop in path.hops) == 2
    assert tunnelled == (ingress != at[world.RT])
    assert path.inter_site_crossings % 2 == tunnelled


@given(site=SITES, target=SITES, region=REGIONS)
def test_a_whole_group_that_moves_with_its_ingress_never_crosses(
    site: SiteId, target: SiteId, region: RegionId
) -> None:
    before = world.snapshot(at=dict.fromkeys(world.MEMBERS, site), ingress=site)
    after = after_move(
        before,
        placement=dict.fromkeys(world.MEMBERS, HostId(f"{target}/h2")),
        ingress=dict.fromkeys((world.USERS_EAST, world.USERS_WEST), target),
    )
    for snapshot in (before, after):
        path = trace(snapshot, region)
        assert (path.ending, path.inter_site_crossings, path.added_ms) == (Ending.DELIVERED, 0, 0.0)


@given(at=PLACEMENTS, ingress=SITES, region=REGIONS)
def test_the_reply_passes_the_members_of_the_request_in_reverse(
    at: dict[MemberId, SiteId], ingress: SiteId, region: RegionId
) -> None:
    here = world.snapshot(at=at, ingress=ingress)
    path = trace(here, region, stretched=spanning_segments(here))
    there = [hop.name for hop in path.hops if hop.host]
    back = [hop.name for hop in path.return_hops if hop.host]
    assert back == there[-2::-1]


@given(at=PLACEMENTS, region=REGIONS, stretched=st.sets(st.sampled_from(world.INNER)))
def test_a_path_is_delivered_exactly_when_every_segment_that_it_needs_is_stretched(
    at: dict[MemberId, SiteId], region: RegionId, stretched: set[SegmentId]
) -> None:
    here = world.snapshot(at={**at, world.WEB2: at[world.WEB1]}, ingress=at[world.RT])
    path = trace(here, region, stretched=dict.fromkeys(stretched, world.BOTH))
    assert (path.ending is Ending.DELIVERED) == (set(spanning_segments(here)) <= stretched)

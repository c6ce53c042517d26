"""The example specs read into the right model, and text is taken as written."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from spec_edits import EXAMPLES, INFRASTRUCTURE, SHOP, SITES, replaced

from entourage.model.ids import MemberId, RegionId, SegmentId, SiteId
from entourage.model.world import FailedTarget, Interface, InterSiteLink, Region, Role, Service
from entourage.spec import SpecError, load_infrastructure, load_service, parse_infrastructure, parse_service

EAST, WEST = SiteId("east"), SiteId("west")


def test_example_sites_become_the_infrastructure() -> None:
    infrastructure = load_infrastructure(EXAMPLES / "sites.yaml")
    assert [site.id for site in infrastructure.sites] == ["east", "west"]
    assert [(h.id, h.memory, h.cpu) for site in infrastructure.sites for h in site.hosts] == [
        ("east/h1", 2 * 2**30, 2.0),
        ("east/h2", 2 * 2**30, 2.0),
        ("west/h1", 2 * 2**30, 2.0),
        ("west/h2", 2 * 2**30, 2.0),
    ]
    assert infrastructure.links == (InterSiteLink(sites=(EAST, WEST), rtt=50.0, rate=200e6, loss=0.0),)
    assert infrastructure.regions == (
        Region(id=RegionId("users-east"), near=EAST, rtt=5.0),
        Region(id=RegionId("users-west"), near=WEST, rtt=5.0),
    )


def test_example_shop_becomes_the_service() -> None:
    service = load_service(EXAMPLES / "shop.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))
    assert (service.id, service.home) == ("shop", "east")
    assert service.prefix == IPv4Network("203.0.113.0/28")
    assert service.address == IPv4Address("203.0.113.10")
    assert [(s.id, str(s.subnet), s.gateway and str(s.gateway)) for s in service.segments] == [
        ("transit", "10.20.0.0/24", "10.20.0.1"),
        ("outside", "10.20.1.0/24", None),
        ("dmz", "10.20.2.0/24", None),
        ("inside", "10.20.3.0/24", None),
    ]
    assert service.ingress_segment().id == "transit"
    assert service.chain == (("rt",), ("fw",), ("lb",), ("web1", "web2"))
    assert [(m.id, m.role, m.memory, m.cpu, m.dirty_rate) for m in service.members] == [
        ("rt", Role.ROUTER, 128 * 2**20, 0.25, 0.0),
        ("fw", Role.FIREWALL, 128 * 2**20, 0.25, 0.0),
        ("lb", Role.LOAD_BALANCER, 128 * 2**20, 0.25, 0.0),
        ("web1", Role.SERVER, 128 * 2**20, 0.25, 1e6),
        ("web2", Role.SERVER, 128 * 2**20, 0.25, 0.0),
    ]
    assert service.member(MemberId("rt")).interfaces == (
        Interface(segment=SegmentId("transit"), address=IPv4Address("10.20.0.2"), mac="52:54:00:20:00:02"),
        Interface(segment=SegmentId("outside"), address=IPv4Address("10.20.1.1"), mac="52:54:00:20:01:01"),
    )


def test_the_example_that_moves_back_is_the_shop_and_is_moved_back_by_itself() -> None:
    service = load_service(EXAMPLES / "shop-moves-back.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))
    shop = load_service(EXAMPLES / "shop.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))
    assert service == replace(shop, if_unverified=FailedTarget.MOVE_BACK)


@pytest.mark.parametrize("policy", FailedTarget)
def test_what_becomes_of_a_failed_target_is_the_services_own(policy: FailedTarget) -> None:
    assert parsed_shop("home: east", f"home: east\nif-unverified: {policy.value}").if_unverified is policy


def test_a_policy_that_is_none_is_refused_with_the_place() -> None:
    with pytest.raises(SpecError) as refused:
        parsed_shop("home: east", "home: east\nif-unverified: move-bak")
    (problem,) = refused.value.problems
    assert "unknown policy 'move-bak'" in str(problem)
    assert "did you mean 'move-back'?" in str(problem)


def parsed_shop(old: str, new: str) -> Service:
    return parse_service(replaced(SHOP, old, new), file="shop.yaml", infrastructure=INFRASTRUCTURE)


@pytest.mark.parametrize(
    "written", ["52:54:00:12:34:56", '"52:54:00:12:34:56"', "12:34:56:12:34:56", "52:54:00:AB:CD:EF"]
)
def test_mac_is_read_as_written_and_kept_in_lower_case(written: str) -> None:
    mac = parsed_shop("52:54:00:20:00:02", written).member(MemberId("rt")).interfaces[0].mac
    assert mac == written.strip('"').lower()


def test_word_that_older_yaml_takes_for_a_boolean_is_a_name() -> None:
    text = SITES.replace("west", "no")
    infrastructure = parse_infrastructure(text, file="sites.yaml")
    assert [site.id for site in infrastructure.sites] == ["east", "no"]


def test_number_with_a_leading_zero_is_not_taken_for_octal() -> None:
    with pytest.raises(SpecError, match="'010' is not a number of cores"):
        parsed_shop("cpu: 0.25", "cpu: 010")


def test_loss_may_be_left_out_and_is_a_share() -> None:
    without = parse_infrastructure(replaced(SITES, "    loss: 0 %\n", ""), file="sites.yaml")
    some = parse_infrastructure(replaced(SITES, "0 %", "2.5 %"), file="sites.yaml")
    assert without.links[0].loss == 0
    assert some.links[0].loss == pytest.approx(0.025)


def test_byte_order_mark_and_carriage_returns_do_not_matter() -> None:
    text = "\ufeff" + SITES.replace("\n", "\r\n")
    assert parse_infrastructure(text, file="sites.yaml") == load_infrastructure(EXAMPLES / "sites.yaml")


def test_one_site_without_links_and_regions_is_enough() -> None:
    text = "sites: {solo: {hosts: {h1: {memory: 1 GiB, cpu: 1}}}}\nlinks: []\nregions: {}\n"
    infrastructure = parse_infrastructure(text, file="solo.yaml")
    assert (infrastructure.links, infrastructure.regions) == ((), ())


def test_a_site_may_say_what_its_own_network_is() -> None:
    text = replaced(SITES, "east:\n    hosts", "east:\n    network: {rtt: 1 ms, rate: 10 Gbit/s}\n    hosts")
    infrastructure = parse_infrastructure(text, file="sites.yaml")
    assert infrastructure.copied_over(EAST, EAST) == InterSiteLink(sites=(EAST, EAST), rtt=1.0, rate=10e9)
    assert infrastructure.copied_over(WEST, WEST) == InterSiteLink(sites=(WEST, WEST), rtt=0.2, rate=1e9)

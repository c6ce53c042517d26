"""What a lab is made of, worked out without making one."""

from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from pathlib import Path

import pytest

from entourage.lab import names
from entourage.lab.errors import LabError
from entourage.lab.frr import edge_config, pop_config
from entourage.lab.topology import Topology, gateway_mac
from entourage.model.ids import HostId, RegionId, SiteId
from entourage.model.world import Host, Infrastructure, InterSiteLink, Region, Site
from entourage.spec import load_infrastructure

EXAMPLES = Path(__file__).parents[3] / "examples"
A, B, C = SiteId("a"), SiteId("b"), SiteId("c")


def a_site(site: str, *hosts: str) -> Site:
    made = tuple(Host(id=HostId(f"{site}/{host}"), memory=2**31, cpu=2.0) for host in hosts or ("h1", "h2"))
    return Site(id=SiteId(site), hosts=made)


def a_link(one: SiteId, other: SiteId, rtt: float) -> InterSiteLink:
    return InterSiteLink(sites=(one, other), rtt=rtt, rate=2e8)


def a_topology(*, sites: tuple[Site, ...] | None = None, links: tuple[InterSiteLink, ...] | None = None) -> Topology:
    """Three sites in a triangle whose long side, a to c, is longer than the way by b."""
    triangle = (a_link(A, C, 90), a_link(A, B, 20), a_link(B, C, 30))
    world = Infrastructure(
        sites=sites or (a_site("a"), a_site("b"), a_site("c")),
        links=triangle if links is None else links,
        regions=(Region(id=RegionId("near-a"), near=A, rtt=5), Region(id=RegionId("near-c"), near=C, rtt=7)),
    )
    return Topology(lab="demo", infrastructure=world)


def test_the_shortest_way_by_rtt_is_taken_even_over_a_third_site() -> None:
    topology = a_topology()
    assert topology.next_hops(A) == {B: 1, C: 1}
    assert topology.next_hops(B) == {A: 1, C: 2}
    assert topology.next_hops(C) == {A: 2, B: 2}


def test_both_ends_of_a_link_see_the_other_end_as_their_gateway() -> None:
    topology = a_topology()
    link = next(link for link in topology.relay_links() if link.name == names.inter_site(A, B))
    assert topology.inter_site_gateway(A, link=1) == link.b.address.ip
    assert topology.inter_site_gateway(B, link=1) == link.a.address.ip
    beside = next(link for link in topology.relay_links() if link.name == names.backbone(A, B))
    assert topology.backbone_gateway(A, link=1) == beside.b.address.ip


def test_no_two_networks_overlap() -> None:
    topology = a_topology()
    sites = [site.id for site in topology.infrastructure.sites]
    networks = [topology.lan(site) for site in sites]
    networks += [topology.uplink(site)[0].network for site in sites]
    networks += [IPv4Network(topology.pop_address(site)) for site in sites]
    networks += [link.a.address.network for link in topology.relay_links()]
    networks.append(topology.late_address(A).network)
    assert [pair for pair in combinations(networks, 2) if pair[0].overlaps(pair[1])] == []


def test_a_link_is_shaped_as_the_infrastructure_says() -> None:
    links = {entry["name"]: entry for entry in a_topology().relay_config(Path("/x/control"))["links"]}
    inter_site = links["inter-site:a-b"]
    assert (inter_site["rtt_ms"], inter_site["rate_bps"], inter_site["mtu"]) == (20, 2e8, 9000)
    assert inter_site["a"] == {"netns": "/run/netns/ent.demo.edge-a", "ifname": "isl-1"}
    assert links["access:near-c"]["rtt_ms"] == 7
    assert links["access:near-c"]["b"]["netns"] == "/run/netns/ent.demo.pop-c"
    assert links["backbone:b-c"]["rtt_ms"] == 30


def test_every_part_is_a_node_once() -> None:
    nodes = a_topology().nodes()
    assert len(set(nodes)) == len(nodes) == 3 * 4 + 2 + 2
    assert {"edge-a", "pop-a", "h-a-h1", "users-near-c", "witness", "relay"} <= set(nodes)


def test_hosts_that_would_share_a_name_are_refused() -> None:
    sites = (a_site("a", "b-c"), a_site("a-b", "c"))
    with pytest.raises(LabError, match="two parts of the lab would be named h-a-b-c"):
        a_topology(sites=sites, links=(a_link(A, SiteId("a-b"), 1),)).check()


def test_a_site_without_a_way_to_it_is_refused() -> None:
    with pytest.raises(LabError, match="no link leads from a to c"):
        a_topology(links=(a_link(A, B, 20),)).check()


def test_the_example_can_be_a_lab() -> None:
    Topology(lab="demo", infrastructure=load_infrastructure(EXAMPLES / "sites.yaml")).check()


@pytest.mark.parametrize("lab", ["", "a.b", "A", "1a", "a" * 16, "a_b", "a/b", "a\n"])
def test_what_is_no_name_for_a_lab_is_refused(lab: str) -> None:
    with pytest.raises(LabError, match="is no name for a lab"):
        names.check_lab_name(lab)


def test_a_labs_prefix_is_never_the_start_of_another_labs_names() -> None:
    assert not names.namespace_path("a-b", "relay").name.startswith(names.namespace_prefix("a"))


def test_only_the_ingress_segment_reaches_the_edge() -> None:
    topology = a_topology()
    assert [node for node, _ in topology.segment_endpoints(A, ingress=False)] == ["h-a-h1", "h-a-h2"]
    assert [node for node, _ in topology.segment_endpoints(A, ingress=True)][-1] == "edge-a"


def test_a_gateways_mac_is_unicast_and_follows_from_its_address() -> None:
    assert gateway_mac(IPv4Address("10.20.0.1")) == "02:ed:0a:14:00:01"


def test_an_edge_announces_nothing_and_a_provider_router_takes_nothing_before_they_are_told() -> None:
    edge, pop = edge_config(a_topology(), A), pop_config(a_topology(), A)
    assert not [line for line in edge.splitlines() if line.strip().startswith("network")]
    assert "prefix-list SERVICE out" in edge
    assert "  network 100.66.0.0/24" in pop.splitlines()
    assert "100.66.1.0/24" not in pop
    assert "prefix-list SERVICE in" in pop
    assert "permit" not in edge.replace("permit 10\n set metric", "") + pop

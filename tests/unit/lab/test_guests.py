"""What guests are given, for the example service and for other chains."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from entourage.lab.guests import guest_files
from entourage.model.ids import MemberId, SegmentId, SiteId
from entourage.model.world import Interface, Member, Service
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
MEMBERS = ("rt", "fw", "lb", "web1", "web2")


@pytest.fixture(scope="module")
def shop() -> Service:
    return load_service(EXAMPLES / "shop.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))


def text(service: Service, member: str, name: str) -> str:
    return guest_files(service, service.member(MemberId(member)))[f"/etc/entourage/{name}"].text


def routes(service: Service, member: str) -> list[str]:
    lines = text(service, member, "network.sh").splitlines()
    return [line.removeprefix("ip route add ") for line in lines if line.startswith("ip route add ")]


def moved_to(member: Member, segment: str, address: str) -> Member:
    """The member with its first interface on another segment."""
    first = Interface(segment=SegmentId(segment), address=IPv4Address(address), mac=member.interfaces[0].mac)
    return replace(member, interfaces=(first, *member.interfaces[1:]))


def without(service: Service, *names: str) -> Service:
    members = tuple(m for m in service.members if m.id not in names)
    chain = tuple(stage for stage in service.chain if stage[0] not in names)
    return replace(service, members=members, chain=chain)


@pytest.fixture
def balanced(shop: Service) -> Service:
    """Load balancer and servers alone: the load balancer stands where the edge is."""
    rest = without(shop, "rt", "fw")
    lb = moved_to(rest.member(MemberId("lb")), "transit", "10.20.0.2")
    return replace(rest, members=(lb, *rest.of_role(rest.members[-1].role)))


@pytest.fixture
def routed(shop: Service) -> Service:
    """Router and servers alone."""
    rest = without(shop, "fw", "lb")
    router = rest.member(MemberId("rt"))
    inner = Interface(segment=SegmentId("inside"), address=IPv4Address("10.20.3.1"), mac=router.interfaces[1].mac)
    router = replace(router, interfaces=(router.interfaces[0], inner))
    return replace(rest, members=(router, *rest.members[1:]))


def test_each_member_goes_out_by_the_stage_before_it_and_in_by_the_one_after_it(shop: Service) -> None:
    assert routes(shop, "rt") == [
        "default via 10.20.0.1",
        "10.20.2.0/24 via 10.20.1.2",
        "10.20.3.0/24 via 10.20.1.2",
        "blackhole 203.0.113.0/28",
    ]
    assert routes(shop, "fw") == ["default via 10.20.1.1", "10.20.3.0/24 via 10.20.2.2"]
    assert routes(shop, "lb") == ["default via 10.20.2.1"]
    assert routes(shop, "web1") == routes(shop, "web2") == ["default via 10.20.3.1"]


def test_every_interface_is_configured_by_its_mac_with_the_length_of_its_segment(shop: Service) -> None:
    script = text(shop, "fw", "network.sh")
    assert "configure 52:54:00:20:01:02 10.20.1.2/24\n" in script
    assert "configure 52:54:00:20:02:01 10.20.2.1/24\n" in script


def test_only_the_first_stage_has_the_services_address(shop: Service) -> None:
    having = [name for name in MEMBERS if "203.0.113.10/32 dev lo" in text(shop, name, "network.sh")]
    assert having == ["rt"]


def test_the_router_translates_the_services_ports_to_the_load_balancer_and_forwards_nothing_else(
    shop: Service,
) -> None:
    rules = text(shop, "rt", "rules.nft")
    assert "ip daddr 203.0.113.10 tcp dport { 80, 8080 } dnat to 10.20.2.2\n" in rules
    assert "ip daddr 203.0.113.10 udp dport 7 dnat to 10.20.2.2\n" in rules
    assert "hook forward priority filter; policy drop;" in rules
    assert "ct state new accept" not in rules


def test_the_firewall_admits_new_sessions_to_the_load_balancer_only(shop: Service) -> None:
    rules = text(shop, "fw", "rules.nft")
    admitted = [line.strip() for line in rules.splitlines() if "ct state new accept" in line]
    assert admitted == [
        "ip daddr { 10.20.2.2 } tcp dport { 80, 8080 } ct state new accept",
        "ip daddr { 10.20.2.2 } udp dport 7 ct state new accept",
    ]
    assert rules.count("policy drop;") == 2
    assert "dnat" not in rules
    assert "echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose" in text(shop, "fw", "start.sh")


def test_the_load_balancer_shares_requests_sessions_and_udp_among_all_servers(shop: Service) -> None:
    proxy = text(shop, "lb", "haproxy.cfg")
    for name, address in (("web1", "10.20.3.11"), ("web2", "10.20.3.12")):
        assert f"server {name} {address}:80 check" in proxy
        assert f"server {name} {address}:8080 track requests/{name}" in proxy
    assert (
        "ip daddr 10.20.2.2 udp dport 7 dnat to jhash ip saddr . udp sport mod 2 map"
        " { 0 : 10.20.3.11, 1 : 10.20.3.12 }\n" in text(shop, "lb", "rules.nft")
    )


def test_only_a_member_with_a_dirty_rate_dirties_memory_and_at_that_rate(shop: Service) -> None:
    assert "* 1000000 / 409600" in text(shop, "web1", "start.sh")
    assert "dirty" not in text(shop, "web2", "start.sh")


def test_only_a_server_with_a_disk_writes_to_it_and_not_beyond_its_end(shop: Service) -> None:
    members = tuple(replace(m, disk=1 << 20 if m.id == "web2" else 0) for m in shop.members)
    one_has = replace(shop, members=members)
    assert "number % 2048" in text(one_has, "web2", "start.sh")
    assert "/dev/vda" not in text(one_has, "web1", "start.sh")


def test_no_guest_knows_at_which_site_it_runs(shop: Service) -> None:
    elsewhere = replace(shop, home=SiteId("west"))
    for member in shop.members:
        assert guest_files(elsewhere, member) == guest_files(shop, member)


def test_without_a_load_balancer_the_router_shares_sessions_among_the_servers(routed: Service) -> None:
    rules = text(routed, "rt", "rules.nft")
    choice = "mod 2 map { 0 : 10.20.3.11, 1 : 10.20.3.12 }"
    assert f"tcp dport {{ 80, 8080 }} dnat to jhash ip saddr . tcp sport {choice}" in rules
    assert f"udp dport 7 dnat to jhash ip saddr . udp sport {choice}" in rules
    assert routes(routed, "web1") == ["default via 10.20.3.1"]


def test_a_load_balancer_that_comes_first_has_the_services_address_itself(balanced: Service) -> None:
    assert "ip addr add 203.0.113.10/32 dev lo" in text(balanced, "lb", "network.sh")
    assert "ip daddr 203.0.113.10 udp dport 7 dnat to jhash" in text(balanced, "lb", "rules.nft")
    assert routes(balanced, "lb") == ["default via 10.20.0.1", "blackhole 203.0.113.0/28"]


def test_a_chain_that_does_not_join_is_refused_by_name(shop: Service) -> None:
    with pytest.raises(ValueError, match=r"fw and web1 .* no segment in common"):
        guest_files(without(shop, "lb"), shop.member(MemberId("fw")))


@pytest.mark.parametrize("member", MEMBERS)
def test_every_script_is_a_shell_program(shop: Service, member: str) -> None:
    files = guest_files(shop, shop.member(MemberId(member)))
    scripts = [file.text for path, file in files.items() if path == "/init" or path.endswith(".sh")]
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)

"""Services beside each other in a lab: what keeps them apart, and what they may not share."""

from dataclasses import replace
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest

from entourage.lab import names
from entourage.lab.errors import LabError
from entourage.lab.hosted import MOST_SERVICES, Hosted, check_room, free_number
from entourage.lab.topology import UNDERLAY
from entourage.model.ids import MemberId, ServiceId, SiteId
from entourage.model.world import Service
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).parents[3] / "examples"
SHOP = load_service(EXAMPLES / "shop.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))


def twin(name: str = "twin", prefix: str = "198.51.100.0/28") -> Service:
    """As the shop, with the same inner addresses and MACs, and names of its own."""
    members = tuple(replace(m, id=MemberId(f"{name}-{m.id}")) for m in SHOP.members)
    chain = tuple(tuple(MemberId(f"{name}-{member}") for member in stage) for stage in SHOP.chain)
    return replace(SHOP, id=ServiceId(name), prefix=IPv4Network(prefix), members=members, chain=chain)


ALL = [Hosted(service=SHOP, number=number) for number in range(MOST_SERVICES)]


def test_no_two_segments_of_any_service_have_the_same_vni_and_all_are_below_those_of_late_packets() -> None:
    vnis = [hosted.vni(segment.id) for hosted in ALL for segment in SHOP.segments]
    assert len(set(vnis)) == len(vnis)
    assert max(vnis) < names.LATE_VNI < 2**24


def test_every_service_has_cables_of_its_own_inside_the_underlay() -> None:
    ends = [hosted.cable_ends for hosted in ALL]
    assert len({end.network for pair in ends for end in pair}) == len(ends)
    assert all(one.network == other.network and one.ip != other.ip for one, other in ends)
    assert all(one.network.subnet_of(UNDERLAY) for one, _ in ends)
    assert len({hosted.cable for hosted in ALL}) == len({hosted.sequence for hosted in ALL}) == len(ALL)


def test_names_of_devices_fit_into_what_linux_takes() -> None:
    last = ALL[-1]
    devices = [last.cable, *(name(s.id) for s in SHOP.segments for name in (last.bridge, last.vxlan))]
    assert max(map(len, devices)) <= 15


def test_a_routing_table_is_named_by_site_and_service_and_never_as_another_ones() -> None:
    sites, services = ("a", "a-b", "b"), ("b", "b-c", "c", "a-b")
    made = [names.vrf(SiteId(site), ServiceId(service)) for site in sites for service in services]
    assert not [pair for pair in combinations(made, 2) if pair[0] == pair[1]]


def test_a_number_that_became_free_is_given_again() -> None:
    assert free_number([]) == 0
    assert free_number([ALL[0], ALL[1], ALL[3]]) == 2
    with pytest.raises(LabError, match=f"at most {MOST_SERVICES} services"):
        free_number(ALL)


def test_services_with_the_same_inner_addresses_have_room_beside_each_other() -> None:
    check_room(twin(), [ALL[0], Hosted(service=twin("other", "198.51.100.16/28"), number=1)])


@pytest.mark.parametrize(
    ("service", "words"),
    [
        (SHOP, "there is a service shop already; take it away first: entourage delete shop"),
        (twin(prefix="203.0.113.0/24"), "prefix 203.0.113.0/24 of twin overlaps 203.0.113.0/28 of shop"),
        (replace(twin(), members=SHOP.members), "twin and shop both have a member named fw, lb, rt, web1, web2: "),
        (twin(prefix="100.66.0.0/28"), "100.66.0.0/28 of twin overlaps 100.64.0.0/10, which the lab itself needs"),
        (replace(twin(), segments=SHOP.segments * 300), "twin has 1200 segments: a lab can have 1000 of each service"),
    ],
)
def test_what_services_may_not_share_is_refused(service: Service, words: str) -> None:
    with pytest.raises(LabError) as said:
        check_room(service, [ALL[0]])
    assert str(said.value).startswith(words)

"""Catalogues: what instances of a template are, and what is said of a catalogue that cannot be used."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from entourage.model.ids import ServiceId, SiteId
from entourage.model.world import Service
from entourage.spec import SpecError, load_infrastructure, parse_catalogue, parse_service
from entourage.spec.catalogue import Catalogue, CatalogueError

EXAMPLES = Path(__file__).parents[3] / "examples"
INFRASTRUCTURE = load_infrastructure(EXAMPLES / "sites.yaml")
TEXT = (EXAMPLES / "catalogue.yaml").read_text()
SHOP = (EXAMPLES / "shop.yaml").read_text()


def read(text: str = TEXT) -> Catalogue:
    return parse_catalogue(text, file="catalogue.yaml", infrastructure=INFRASTRUCTURE)


def instance(template: str, service: str, *taken: str, site: str = "west", text: str = TEXT) -> Service:
    written = read(text).instance(
        template, service=ServiceId(service), site=SiteId(site), prefixes_taken=[IPv4Network(each) for each in taken]
    )
    return parse_service(written, file="instance", infrastructure=INFRASTRUCTURE)


def test_an_instance_is_an_ordinary_service_whose_members_have_its_name() -> None:
    blue = instance("web", "blue")
    shop = parse_service(SHOP, file="shop.yaml", infrastructure=INFRASTRUCTURE)
    assert (blue.id, blue.home) == ("blue", "west")
    assert blue.chain == (("blue-rt",), ("blue-fw",), ("blue-lb",), ("blue-web1", "blue-web2"))
    assert blue.segments == shop.segments
    assert [m.interfaces for m in blue.members] == [m.interfaces for m in shop.members]
    assert [(m.role, m.memory, m.cpu, m.disk) for m in blue.members] == [
        (m.role, m.memory, m.cpu, m.disk) for m in shop.members
    ]


def test_every_instance_gets_the_first_prefix_that_overlaps_no_other_and_its_address_there() -> None:
    assert instance("small", "a").prefix == IPv4Network("198.51.100.0/29")
    second = instance("small", "b", "198.51.100.0/29", "203.0.113.0/28")
    assert (second.prefix, second.address) == (IPv4Network("198.51.100.8/29"), IPv4Address("198.51.100.10"))
    assert instance("small", "c", "198.51.100.4/30", "198.51.100.0/28").prefix == IPv4Network("198.51.100.16/29")


def test_a_pool_that_is_used_up_a_long_name_and_a_wrong_one_are_refused() -> None:
    with pytest.raises(CatalogueError, match=r"small has no prefix left: all of 198\.51\.100\.0/25 is taken"):
        instance("small", "late", "198.51.100.0/24")
    assert instance("small", "elevenchars").members[1].id == "elevenchars-web"
    with pytest.raises(CatalogueError, match="'twelve-chars' is too long for a service from small: at most 11 char"):
        instance("small", "twelve-chars")
    with pytest.raises(CatalogueError, match="'Blue' is not a name for a service: use 1 to 15 of a-z, 0-9 and -"):
        instance("small", "Blue")


def test_what_a_member_says_itself_comes_before_what_its_appliance_has() -> None:
    larger = TEXT.replace("appliance: edge-router\n", "appliance: edge-router\n        memory: 256 MiB\n", 1)
    assert [m.memory // 2**20 for m in instance("small", "a", text=larger).members] == [256, 128]


def test_classes_and_policies_of_the_catalogue_are_in_its_instances() -> None:
    sites = (EXAMPLES / "sites-realtime.yaml").read_text()
    infrastructure = load_infrastructure(EXAMPLES / "sites-realtime.yaml")
    assert "realtime" in sites
    text = "realtime-classes: {gold: {budget: 1 ms, period: 5 ms}}\n" + TEXT.replace(
        "role: router, memory", "role: router, realtime: gold, memory"
    ).replace("    chain: [rt, web]", "    chain: [rt, web]\n    if-unverified: move-back\n    latency-p999: 60 ms")
    catalogue = parse_catalogue(text, file="catalogue.yaml", infrastructure=infrastructure)
    written = catalogue.instance("small", service=ServiceId("a"), site=SiteId("east"), prefixes_taken=[])
    made = parse_service(written, file="instance", infrastructure=infrastructure)
    assert made.members[0].realtime is not None
    assert made.members[0].realtime.name == "gold"
    assert made.members[1].realtime is None
    assert (made.latency_p999_s, made.if_unverified.value) == (0.06, "move-back")


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as said:
        read(text)
    return [str(problem).removeprefix("catalogue.yaml:") for problem in said.value.problems]


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("role: router, memory: 128 MiB", "role: router",
         "4:3: missing key 'memory' in appliance 'edge-router' (hint: add memory: 128 MiB)"),
        ("role: router, memory", "role: router, memry",
         "4:31: unknown key 'memry' in appliance 'edge-router' (hint: did you mean 'memory'?)"),
        ("role: router,", "role: ruoter,", "4:23: unknown role 'ruoter' (hint: did you mean 'router'?)"),
        ("role: router, memory: 128 MiB", "role: router, memory: 64 MiB",
         "4:39: '64 MiB' is too little memory (hint: a member needs at least 128 MiB)"),
        ("{role: router,", "{role: server,",
         "4:23: appliance 'edge-router' is a server "
         "(hint: write the servers of a template where it has its members)"),
        ("appliance: edge-router", "appliance: edge-ruoter",
         "16:20: unknown appliance 'edge-ruoter' (hint: did you mean 'edge-router'?)"),
        ("appliance: edge-router", "appliance: [edge-router]",
         "16:20: appliance must be a single value, not a list (hint: write it like edge-router)"),
        ("length: 29", "length: 24", "10:47: length '24' does not fit (hint: write a whole number from 25 to 32)"),
        ("address: 2}", "address: 8}", "10:60: address '8' does not fit (hint: write a whole number from 0 to 7)"),
        ("from: 198.51.100.0/25", "from: 198.51.100.1/25",
         "10:22: '198.51.100.1/25' has host bits set (hint: did you mean 198.51.100.0/25?)"),
        ("chain: [rt, web]\n", "chain: [rt, wbe]\n", "26:17: unknown member 'wbe' (hint: did you mean 'web'?)"),
        ("chain: [rt, web]\n", "chain: [rt, web]\n    home: east\n",
         "27:5: key 'home' in template 'small' (hint: remove it: every instance gets its own)"),
        ("chain: [rt, web]\n", "",
         "9:3: missing key 'chain' in template 'small' (hint: add chain: [rt, fw, lb, [web1, web2]])"),
        ("chain: [rt, web]\n", "chain: [rt, web]\n    chian: []\n",
         "27:5: unknown key 'chian' in template 'small' (hint: did you mean 'chain'?)"),
        ("address: 10.20.3.11,", "address: 10.20.4.11,",
         "25:40: address 10.20.4.11 is outside segment 'inside', 10.20.3.0/24 (hint: choose one from 10.20.3.1 to "
         "10.20.3.254)"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_once_with_its_place_in_the_catalogue(written: str, instead: str, said: str) -> None:
    assert written in TEXT
    assert problems(TEXT.replace(written, instead, 1)) == [said]


def test_a_mistake_in_an_appliance_is_told_once_however_many_templates_use_it() -> None:
    assert problems(TEXT.replace("role: router, memory: 128 MiB", "role: router, memory: 1 TiB")) == [
        "4:39: '1 TiB' is more memory than any host has (hint: the largest host, east/h1, has 2048 MiB and 2 cores)"
    ]


def test_mistakes_in_several_templates_and_appliances_are_told_at_once() -> None:
    wrong = TEXT.replace("role: firewall,", "role: firewal,").replace("length: 29", "length: x")
    wrong = wrong.replace("[rt, fw, lb, [web1, web2]]", "[rt, fw, lb, [web1, web3]]")
    assert [problem.partition(" (")[0] for problem in problems(wrong)] == [
        "5:22: unknown role 'firewal'",
        "10:47: length 'x' does not fit",
        "65:32: unknown member 'web3'",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: the file is empty (hint: see examples/ for what a spec looks like)"),
        ("appliances: {}\ntemplates: {}\n", "2:12: there is no template (hint: define at least one, such as {web: "),
        ("templates: {}\n", "1:1: missing key 'appliances' in the file (hint: add appliances: {edge-router: "),
        ("appliances: []\ntemplates: []\n", "1:13: appliances must be a mapping, not a list (hint: "),
        ("appliances: {}\ntemplates: {a: 1}\n", "2:16: template 'a' must be a mapping, not a single value (hint: "),
    ],
)
def test_what_is_no_catalogue_is_refused(text: str, said: str) -> None:
    assert problems(text)[0].startswith(said)

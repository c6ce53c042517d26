"""A lab that could not keep its promises is refused before anything of it is made."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.lab.errors import LabError
from entourage.lab.hosted import Hosted
from entourage.lab.place import Place, SpecTexts
from entourage.model.ids import HostId
from entourage.model.world import Host, Infrastructure, Member, Service, Site
from entourage.operations.examples import example
from entourage.operations.labs import bring_up, read_texts
from entourage.spec import parse_infrastructure, parse_service

TEXTS = read_texts(example("sites-realtime.yaml"), example("shop-realtime.yaml"))
SITES = parse_infrastructure(TEXTS.sites, file=TEXTS.sites_file)
SHOP = parse_service(TEXTS.service, file=TEXTS.service_file, infrastructure=SITES)


class Unmade(Place):
    """A place of which nothing must be made."""

    def __init__(self, infrastructure: Infrastructure, service: Service) -> None:
        self.name, self.infrastructure, self.service = "t-promises", infrastructure, service
        made: Any = SimpleNamespace(id=service.id, hosted=Hosted(service=service, number=0))
        self.services = (made,)

    def copies(self) -> Iterator[tuple[Member, HostId]]:
        """Nothing runs there."""
        return iter(())


def with_hosts(*hosts: Host) -> Infrastructure:
    (home,) = (site for site in SITES.sites if site.id == SHOP.home)
    others = tuple(site for site in SITES.sites if site is not home)
    return replace(SITES, sites=(Site(id=home.id, hosts=hosts), *others))


def refusal(infrastructure: Infrastructure, service: Service = SHOP) -> str:
    texts: Any = SpecTexts
    with pytest.raises(LabError) as said:
        asyncio.run(bring_up(Unmade(infrastructure, service), texts, lambda *_: None))
    return str(said.value)


H1 = SITES.site(SHOP.home).hosts[0]


def test_a_cpu_that_is_not_there_or_promised_by_two_hosts() -> None:
    assert H1.realtime is not None
    far = replace(H1, realtime=replace(H1.realtime, cpus=(0, 4095)))
    assert "east/h1 has CPU 4095 for real time, and there is none" in refusal(with_hosts(far))
    one = replace(H1, realtime=replace(H1.realtime, cpus=(0,)))
    twin = replace(one, id=type(H1.id)("east/h2"))
    assert "east/h1 and east/h2 both have CPU 0 for real time" in refusal(with_hosts(one, twin))


def test_members_without_room_and_a_latency_that_nobody_can_keep() -> None:
    assert H1.realtime is not None
    small = replace(H1, realtime=replace(H1.realtime, cpus=(0,)))
    assert "shop has no room at east: " in refusal(with_hosts(small))
    said = refusal(SITES, replace(SHOP, latency_p999_s=0.001))
    assert said.startswith("shop cannot be started at east: the appliances may add 31 ms there and back, and 1 ms are")


def test_members_without_licences_where_they_are_started() -> None:
    texts = read_texts(example("sites.yaml"), example("shop-licensed.yaml"), licences=example("licences.yaml"))
    infrastructure, service = texts.parse()
    bought = infrastructure.licences
    assert bought is not None
    elsewhere = replace(bought, pools=tuple(pool for pool in bought.pools if pool.site != service.home))
    assert refusal(replace(infrastructure, licences=elsewhere), service) == (
        "shop cannot be started at east: fw of shop on east/h1 needs a seat of vfw, and there is no pool of it at east,"
        " nor one that floats"
    )

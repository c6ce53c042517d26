"""How long a decision takes over very many services: a world made up by a fixed pattern, and the real decision.

Simulated world, real `entourage.rules`: 4 sites of 50 hosts, services of six members, 20 rules that name every kind of
observation. One service in 200 has a member that somebody moved, one in 500 lies on a host in maintenance.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, ServiceId, SiteId, host_id
from entourage.model.world import (
    Host,
    Infrastructure,
    Interface,
    InterSiteLink,
    Member,
    Region,
    Role,
    Segment,
    Service,
    Site,
)
from entourage.planner import HostLoad
from entourage.ports.hypervisor import Capability, RunState
from entourage.rules.deciding import Decided, decide
from entourage.rules.memory import Memory
from entourage.rules.reading import parse_rules
from entourage.rules.rule import RuleSet
from entourage.rules.view import HostState, ServiceView, View

_SITES, _HOSTS = ("east", "west", "north", "south"), 50
_MOVED_EVERY, _FULL_RUNS, _EVENTS = 200, 7, 200
_GIB = 2**30
_ROLES = (Role.ROUTER, Role.FIREWALL, Role.LOAD_BALANCER, Role.SERVER, Role.SERVER, Role.SERVER)
_SEGMENTS = tuple(SegmentId(name) for name in ("transit", "outside", "dmz", "inside"))
_PORTS = ((0, 1), (1, 2), (2, 3), (3,), (3,), (3,))  # of each role, the numbers of its segments
RULES = """
rules:
  frozen: {when: always, if: now.weekday == 5 && now.hour < 2, do: refuse}
  follow-servers: {when: member-moved, if: member.role == 'server' && member.site != service.site, do: follow}
  bring-appliances-back: {when: member-moved, if: member.role != 'server' && service.away > 0, do: bring-back}
  follow-many: {when: member-moved, if: service.away >= 2 && service.settled_s > 30.0, do: follow, hold: 5 s}
  leave-hosts: {when: host-maintenance, do: evacuate, within: mon-sun 20:00-06:00}
  leave-host-east-1: {when: host-maintenance, if: host.id == 'east/h1', do: evacuate}
  host-lost: {when: host-lost, do: notify, webhook: ops}
  site-lost: {when: site-lost, do: notify, webhook: ops}
  licence: {when: licence-violated, if: licence.violations > 0, do: notify, webhook: ops}
  promise: {when: promise-broken, if: promise.broken > 1, do: notify, webhook: ops, hold: 60 s}
  far: {when: always, if: path.crossings > 0 && path.rtt_ms > 200.0, do: notify, webhook: ops}
  dear: {when: always, if: path.bytes_per_hour > 1000000000.0, do: notify, webhook: ops}
  broken: {when: always, if: '!path.delivered', do: notify, webhook: ops, hold: 10 s}
  not-home: {when: always, if: service.site != service.home, do: evacuate, to: east, within: 02:00-03:00}
  few-running: {when: always, if: service.running < service.members, do: notify, webhook: ops}
  entry: {when: always, if: service.ingress != service.site, do: notify, webhook: ops, hold: 30 s}
  seats: {when: always, if: licence.free < 1, do: notify, webhook: ops}
  names: {when: always, if: service.id.startsWith('gold-') && service.away > 0, do: notify, webhook: ops}
  nightly: {when: schedule, at: 'sun 03:00', if: service.site == 'north', do: evacuate, to: south}
  from-east: {when: member-moved, if: member.previous_host.startsWith('east/'), do: notify, webhook: ops}
webhooks: {ops: {url: 'https://ops.example.net/hook'}}
"""


def measure_decisions(services: int) -> dict[str, Any]:
    """Medians and worst of full passes in s and of single events in ms, over so many services of six members."""
    view = world(services)
    rules = parse_rules(RULES, file="the benchmark's rules", infrastructure=view.infrastructure)
    first = decide(view, rules, Memory())  # what it has to remember of each is made once
    memory = first.memory
    view = replace(view, services=_moved(view.services), elapsed=view.elapsed + 60.0)
    full, decided = _full_passes(view, rules, memory)
    return {
        "services": services,
        "members": services * len(_ROLES),
        "rules": len(rules.rules),
        "decisions": len(decided.decisions),
        "to_do": len(decided.to_do()),
        "full_s": _figures(full),
        "event_ms": _figures(_events(view, rules, decided.memory)),
    }


def world(services: int) -> View:
    """So many services, all whole, spread over the sites and their hosts."""
    hosts = {site: [host_id(site=SiteId(site), host=f"h{n}") for n in range(_HOSTS)] for site in _SITES}
    sites = tuple(
        Site(id=SiteId(site), hosts=tuple(Host(id=host, memory=4096 * _GIB, cpu=8192) for host in hosts[site]))
        for site in _SITES
    )
    pairs = [(SiteId(one), SiteId(other)) for n, one in enumerate(_SITES) for other in _SITES[n + 1 :]]
    links = tuple(InterSiteLink(sites=pair, rtt=20.0 + 10 * n, rate=1e10) for n, pair in enumerate(pairs))
    regions = tuple(Region(id=RegionId(f"users-{site}"), near=SiteId(site), rtt=5.0) for site in _SITES)
    made = {ServiceId(f"s{n}"): _service(n, hosts) for n in range(services)}
    return View(
        taken_at=1_700_000_000.0,
        elapsed=1000.0,
        infrastructure=Infrastructure(sites=sites, links=links, regions=regions),
        services=made,
        hosts={hosts["north"][7]: HostState.MAINTENANCE},
        loads={host: HostLoad(memory=0, cpu=0.0) for each in hosts.values() for host in each},
        capabilities=frozenset(Capability),
    )


def _service(number: int, hosts: dict[str, list[HostId]]) -> ServiceView:
    site = _SITES[number % len(_SITES)]
    members = tuple(
        Member(
            id=MemberId(f"s{number}-{n}"),
            role=role,
            memory=_GIB,
            cpu=1.0,
            interfaces=tuple(
                Interface(
                    segment=_SEGMENTS[port],
                    address=IPv4Address(f"10.0.{port}.{10 + n}"),
                    mac=f"52:54:00:00:{port:02x}:{n:02x}",
                )
                for port in _PORTS[n]
            ),
        )
        for n, role in enumerate(_ROLES)
    )
    network = IPv4Network((IPv4Address("100.128.0.0") + 16 * number, 28))
    service = Service(
        id=ServiceId(f"s{number}"),
        prefix=network,
        address=network[1],
        segments=tuple(
            Segment(
                id=segment,
                subnet=IPv4Network(f"10.0.{n}.0/24"),
                gateway=None if n else IPv4Address("10.0.0.1"),
            )
            for n, segment in enumerate(_SEGMENTS)
        ),
        members=members,
        chain=(*((m.id,) for m in members[:3]), tuple(m.id for m in members[3:])),
        home=SiteId(site),
    )
    copies = {(m.id, hosts[site][(number + n) % _HOSTS]): RunState.RUNNING for n, m in enumerate(members)}
    return ServiceView(
        service=service,
        copies=copies,
        ingress={RegionId(f"users-{each}"): SiteId(site) for each in _SITES},
        bytes_per_hour=1000.0 * number,
    )


def _moved(services: dict[ServiceId, ServiceView] | Any) -> dict[ServiceId, ServiceView]:  # noqa: ANN401 - a mapping
    """The same, and somebody has moved a server of each so many to another site."""
    changed = dict(services)
    for number, (service, seen) in enumerate(services.items()):
        if number % _MOVED_EVERY == 0:
            changed[service] = _with_server_elsewhere(seen, number)
    return changed


def _with_server_elsewhere(seen: ServiceView, number: int) -> ServiceView:
    server = seen.service.members[-1].id
    home = seen.service.home
    other = next(site for site in _SITES if site != home)
    copies = {(m, h): s for (m, h), s in seen.copies.items() if m != server}
    copies[(server, HostId(f"{other}/h{number % _HOSTS}"))] = RunState.RUNNING
    inside = {SegmentId("inside"): frozenset({home, SiteId(other)})}
    return replace(seen, copies=copies, stretched=inside)


def _full_passes(view: View, rules: RuleSet, memory: Memory) -> tuple[list[float], Decided]:
    took = []
    for _ in range(_FULL_RUNS):
        began = time.perf_counter()
        decided = decide(view, rules, memory)
        took.append(time.perf_counter() - began)
    return took, decided


def _events(view: View, rules: RuleSet, memory: Memory) -> list[float]:
    """One service after another changes, and it alone is decided on."""
    took = []
    names: Sequence[ServiceId] = list(view.services)
    for number in range(1, _EVENTS + 1):
        service = names[(number * 37) % len(names)]
        services = {**view.services, service: _with_server_elsewhere(view.services[service], number)}
        changed = replace(view, services=services, elapsed=view.elapsed + number)
        began = time.perf_counter()
        memory = decide(changed, rules, memory, only=[service]).memory
        took.append((time.perf_counter() - began) * 1000)
    return took


def _figures(values: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "worst": max(values), "values": list(values)}

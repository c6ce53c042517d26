"""Sites, hosts, inter-site links and the users' regions: from the node tree to the model."""

from entourage.model.ids import RegionId, SiteId, host_id
from entourage.model.units import DURATION, MEMORY, RATE, SHARE
from entourage.model.world import LOCAL_RATE, LOCAL_RTT_MS, Host, Infrastructure, InterSiteLink, Region, Site
from entourage.spec.fields import Fields, as_mapping, as_scalar, named
from entourage.spec.nodes import Mapping, Node, Scalar
from entourage.spec.problems import Position, Problems, quote
from entourage.spec.realtime import CPUS_EXAMPLE, read_realtime_cpus
from entourage.spec.values import read_choice

_HOST = {"memory": "2 GiB", "cpu": "2"}
_HOSTS = "{h1: {memory: 2 GiB, cpu: 2}}"
_SITE = {"hosts": _HOSTS}
_NETWORK = {"rtt": "0.2 ms", "rate": "1 Gbit/s"}
_NETWORK_EXAMPLE = f"{{rtt: {_NETWORK['rtt']}, rate: {_NETWORK['rate']}}}"
_LINK = {"between": "[east, west]", "rtt": "50 ms", "rate": "200 Mbit/s"}
_REGION = {"near": "east", "rtt": "5 ms"}
_TOP = {
    "sites": f"{{east: {{hosts: {_HOSTS}}}}}",
    "links": "[{between: [east, west], rtt: 50 ms, rate: 200 Mbit/s}]",
    "regions": "{users-east: {near: east, rtt: 5 ms}}",
}


def read_infrastructure(root: Node, problems: Problems) -> Infrastructure | None:
    """The infrastructure, or None with at least one problem noted."""
    top = as_mapping(root, "the file", problems, example=f"sites: {_TOP['sites']}")
    if top is None:
        return None
    fields = Fields(top, problems, what="the file", required=_TOP)
    sites = fields.mapping("sites")
    # Without a readable list of sites no name can be called unknown.
    known = None if sites is None else [name.text for name, _ in sites.entries]
    return Infrastructure(
        sites=() if sites is None else _sites(sites, problems),
        links=_links(fields, known, problems),
        regions=_regions(fields, known, problems),
    )


def _sites(node: Mapping, problems: Problems) -> tuple[Site, ...]:
    if not node.entries:
        problems.add(node.at, "there is no site", hint=f"define at least one, such as {_TOP['sites']}")
    sites = []
    for name, value in named(node, "site", problems):
        what = f"site {quote(name.text)}"
        body = as_mapping(value, what, problems, example=f"{{hosts: {_HOSTS}}}")
        if body is None:
            continue
        fields = Fields(body, problems, what=what, required=_SITE, optional={"network": _NETWORK_EXAMPLE}, at=name.at)
        hosts = fields.mapping("hosts")
        if hosts is not None and not hosts.entries:
            problems.add(hosts.at, f"{what} has no host", hint=f"define at least one, such as {_HOSTS}")
        site = SiteId(name.text)
        found = [] if hosts is None else [_host(site, *entry, problems) for entry in named(hosts, "host", problems)]
        rtt, rate = _network(fields, f"the network of {what}", problems)
        sites.append(Site(id=site, hosts=tuple(h for h in found if h is not None), rtt=rtt, rate=rate))
    return tuple(sites)


def _network(site: Fields, what: str, problems: Problems) -> tuple[float, float]:
    """Its RTT in ms and its rate in bit/s; what is usual where nothing is written."""
    body = site.mapping("network")
    if body is None:
        return LOCAL_RTT_MS, LOCAL_RATE
    fields = Fields(body, problems, what=what, required=_NETWORK)
    rtt, rate = fields.quantity("rtt", DURATION), fields.quantity("rate", RATE)
    return (LOCAL_RTT_MS if rtt is None else rtt.value), (LOCAL_RATE if rate is None else rate.value)


def _host(site: SiteId, name: Scalar, value: Node, problems: Problems) -> Host | None:
    what = f"host {quote(name.text)}"
    body = as_mapping(value, what, problems, example="{memory: 2 GiB, cpu: 2}")
    if body is None:
        return None
    fields = Fields(body, problems, what=what, required=_HOST, optional={"realtime": CPUS_EXAMPLE}, at=name.at)
    memory, cpu = fields.quantity("memory", MEMORY), fields.cores("cpu")
    realtime = read_realtime_cpus(fields, problems)
    if memory is None or cpu is None:
        return None
    return Host(id=host_id(site=site, host=name.text), memory=round(memory.value), cpu=cpu.value, realtime=realtime)


def _links(top: Fields, known: list[str] | None, problems: Problems) -> tuple[InterSiteLink, ...]:
    node = top.sequence("links")
    first: dict[frozenset[SiteId], Position] = {}
    links = []
    for item in () if node is None else node.items:
        body = as_mapping(item, "a link", problems, example=_TOP["links"].strip("[]"))
        if body is None:
            continue
        fields = Fields(body, problems, what="a link", required=_LINK, optional={"loss": "0.1 %"})
        rtt, rate = fields.quantity("rtt", DURATION), fields.quantity("rate", RATE)
        loss = _loss(fields, problems)
        sites = _between(fields, known, problems)
        if sites is None:
            continue
        pair = frozenset(sites)
        if pair in first:
            problems.add(
                fields.at("between"),
                f"duplicate link between {quote(sites[0])} and {quote(sites[1])}, first on line {first[pair].line}",
                hint="describe the link between two sites once",
            )
        first.setdefault(pair, fields.at("between"))
        if rtt is not None and rate is not None:
            links.append(InterSiteLink(sites=sites, rtt=rtt.value, rate=rate.value, loss=loss))
    return tuple(links)


def _loss(fields: Fields, problems: Problems) -> float:
    loss = fields.quantity("loss", SHARE, zero=True)
    if loss is not None and loss.value > 1:
        problems.add(loss.at, f"loss {quote(loss.written.text)} is over 100 %", hint="write 0 % to 100 %")
    return 0.0 if loss is None else loss.value


def _between(fields: Fields, known: list[str] | None, problems: Problems) -> tuple[SiteId, SiteId] | None:
    node = fields.sequence("between")
    if node is None:
        return None
    if len(node.items) != 2:
        problems.add(
            node.at, f"a link joins two sites, not {len(node.items)}", hint=f"write it like between: {_LINK['between']}"
        )
        return None
    ends = [as_scalar(item, "a site of a link", problems, example="east") for item in node.items]
    one, other = (_known_site(end, known, problems) for end in ends)
    if one is None or other is None:
        return None
    if one == other:
        problems.add(node.at, f"a link between {quote(one)} and itself", hint="name two different sites")
        return None
    return one, other


def _known_site(scalar: Scalar | None, known: list[str] | None, problems: Problems) -> SiteId | None:
    if scalar is None:
        return None
    if known is None:
        return SiteId(scalar.text)
    name = read_choice(scalar, "site", known, problems)
    return None if name is None else SiteId(name.value)


def _regions(top: Fields, known: list[str] | None, problems: Problems) -> tuple[Region, ...]:
    node = top.mapping("regions")
    regions = []
    for name, value in () if node is None else named(node, "region", problems):
        what = f"region {quote(name.text)}"
        body = as_mapping(value, what, problems, example="{near: east, rtt: 5 ms}")
        if body is None:
            continue
        fields = Fields(body, problems, what=what, required=_REGION, at=name.at)
        near = _known_site(fields.scalar("near"), known, problems)
        rtt = fields.quantity("rtt", DURATION)
        if near is not None and rtt is not None:
            regions.append(Region(id=RegionId(name.text), near=near, rtt=rtt.value))
    return tuple(regions)

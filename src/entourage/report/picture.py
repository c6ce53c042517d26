"""The picture of a service's paths: sites, hosts, members, and the way each region's packets take through them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

from entourage.report import values
from entourage.report.geometry import (
    BOX_H,
    EDGE_W,
    LANE,
    PROVIDER_Y,
    Box,
    Leg,
    Line,
    Plan,
    Point,
    Stop,
    lane_offsets,
    length,
    plan_picture,
    rounded,
    simplified,
)
from entourage.report.icons import icon
from entourage.report.markup import Markup, join, tag
from entourage.report.style import STYLE

SLOW_MOTION = 40  # the moving dots are this many times slower than packets
LINE_COLOURS = 4  # as many as the stylesheet has


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What else a picture can show: the service's members and chain, where packets enter, and what was measured."""

    members: Sequence[Mapping[str, Any]] = ()
    chain: Sequence[Sequence[str]] = ()
    ingress: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inter_site: Mapping[str, Any] | None = None
    title: str = "The path of the users' packets"


def path_picture(
    infrastructure: Mapping[str, Any],
    placement: Mapping[str, str],
    paths: Sequence[Mapping[str, Any]],
    *,
    details: Details | None = None,
    name: str = "picture",
    standalone: bool = False,
) -> Markup:
    """An SVG of `paths` (see `schema.Path`) over the sites and hosts of `infrastructure` and the members on them.

    `name` makes the ids in the SVG unique in a page; a `standalone` one brings its own colours.
    """
    details = details or Details()
    chain = details.chain or chain_of(paths)
    plan = plan_picture(
        sites=_sites(infrastructure, placement),
        regions={region["id"]: region["near"] for region in infrastructure["regions"]},
        placement=placement,
        chain=chain,
    )
    roles = roles_of(paths) | {member["name"]: member["role"] for member in details.members}
    lines = _draw_lines(plan, paths)
    return tag(
        "svg",
        tag("title", details.title, id=f"{name}-title"),
        tag("desc", describe(paths), id=f"{name}-desc"),
        tag("style", Markup(STYLE)) if standalone else None,
        [_site(site, plan, ingress=details.ingress) for site in plan.sites],
        _pipes(plan, infrastructure["links"], busy=any(_crossings(path) for path in paths)),
        _above(plan, paths),
        [_member(member, plan, role=roles.get(member, "member")) for member in plan.members],
        lines,
        [_users(region, plan, details.requests.get(region), colour=index)
         for index, region in enumerate(_regions(plan, paths))],
        _badges(plan, paths, details.inter_site),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {plan.width:.0f} {plan.height:.0f}",
        class_="picture",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )  # fmt: skip


def describe(paths: Sequence[Mapping[str, Any]]) -> str:
    """The picture in words, for those who do not see it."""
    sentences = []
    for path in paths:
        way = ", ".join(f"{hop['name']} at {hop['site']}" for hop in path["hops"])
        crossings = values.plural(_crossings(path), "inter-site crossing")
        sentences.append(f"{path['region']}: {way}; and back. {crossings}, added {values.ms(path.get('added_ms'))}.")
    return " ".join(sentences)


def chain_of(paths: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The stages of a chain as far as paths show them: the members of each path in order, merged stage by stage."""
    stages: list[list[str]] = []
    for path in paths:
        names = [hop["name"] for hop in path["hops"] if hop["kind"] in values.ROLES]
        for index, member in enumerate(names):
            if index == len(stages):
                stages.append([])
            if not any(member in stage for stage in stages):
                stages[index].append(member)
    return stages


def roles_of(paths: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The role of each member that a path passes."""
    return {hop["name"]: hop["kind"] for path in paths for hop in path["hops"] if hop["kind"] in values.ROLES}


def _crossings(path: Mapping[str, Any]) -> int:
    return int(path.get("inter_site_crossings") or 0)


def _regions(plan: Plan, paths: Sequence[Mapping[str, Any]]) -> list[str]:
    drawn = [str(path["region"]) for path in paths]
    return [*drawn, *(region for region in plan.regions if region not in drawn)]


def _sites(infrastructure: Mapping[str, Any], placement: Mapping[str, str]) -> dict[str, list[str]]:
    sites = {site["id"]: list(site["hosts"]) for site in infrastructure["sites"]}
    for where in placement.values():  # a member on a host that the infrastructure does not know is still shown
        site, _, host = where.partition("/")
        hosts = sites.setdefault(site, [])
        if host not in hosts:
            hosts.append(host)
    return sites


def _site(site: str, plan: Plan, *, ingress: Mapping[str, str]) -> Markup:
    here = plan.sites[site]
    box, edge_x, inner = here.box, here.edge[0], here.inward
    users = [region for region, entry in ingress.items() if entry == site]
    label_x = box.x + box.w - 16 if inner > 0 else box.x + 16
    anchor = "end" if inner > 0 else "start"
    announced = "route announced here" if users else None
    return tag(
        "g",
        tag("rect", x=box.x, y=box.y, width=box.w, height=box.h, rx=14, class_="site"),
        tag("text", site, x=label_x, y=box.y + 31, class_="site-name", text_anchor=anchor),
        announced and tag("text", "◉ ", announced, x=edge_x + inner * 34, y=box.y + 29, class_="announced",
                          text_anchor="start" if inner > 0 else "end"),
        [_host(host, band) for host, band in here.hosts.items()],
        tag("rect", x=edge_x - EDGE_W / 2, y=plan.aisle - 30, width=EDGE_W, height=BOX_H, rx=9, class_="edge"),
        icon("edge", x=edge_x - 33, y=plan.aisle + 33),
        tag("text", "edge", x=edge_x - 6, y=plan.aisle + 50, class_="name"),
    )  # fmt: skip


def _host(host: str, band: Box) -> Markup:
    return join(
        tag("rect", x=band.x, y=band.y, width=band.w, height=band.h, rx=9, class_="host"),
        tag("text", host, x=band.x + 9, y=band.y + 14, class_="host-name"),
    )


def _member(member: str, plan: Plan, *, role: str) -> Markup:
    box = plan.members[member]
    shown = member if len(member) <= 7 else member[:6] + "…"
    return tag(
        "g",
        tag("title", f"{member}: {role}"),
        tag("rect", x=box.x, y=box.y, width=box.w, height=box.h, rx=8, class_="member"),
        tag("path", d=f"M{box.x} {box.y + 34}v-26a8 8 0 0 1 8-8h{box.w - 16}a8 8 0 0 1 8 8v26z", class_="member-head"),
        icon(role, x=box.x + 5, y=box.y + 7, size=20),
        tag("text", shown, x=box.x + 29, y=box.y + 22, class_="name"),
        class_=f"role-{role}",
    )


def _above(plan: Plan, paths: Sequence[Mapping[str, Any]]) -> Markup:
    """The provider: a point of presence above each site, and the backbone between them."""
    hops = [hop for path in paths for hop in path["hops"]]
    names = {hop["site"]: hop["name"] for hop in hops if hop["kind"] == "provider"}
    backbone = next((hop.get("one_way_ms") for hop in hops if hop.get("link") == "backbone"), None)
    edges = [site.edge[0] for site in plan.sites.values()]
    takes = "" if backbone is None else f" · {values.ms(backbone)} each way"
    return join(
        tag("path", d=f"M{edges[0]} {PROVIDER_Y}H{edges[-1]}", class_="backbone"),
        tag("text", "provider backbone", takes, x=plan.width / 2, y=PROVIDER_Y + 36, class_="note",
            text_anchor="middle"),
        [join(
            tag("path", d=f"M{here.edge[0]} {PROVIDER_Y}V{plan.aisle}", class_="access"),
            tag("rect", x=here.edge[0] - 42, y=PROVIDER_Y - 25, width=84, height=50, rx=25, class_="provider"),
            tag("text", names.get(site, "provider"), x=here.edge[0] + here.inward * 48, y=PROVIDER_Y + 36,
                class_="note", text_anchor="start" if here.inward > 0 else "end"),
        ) for site, here in plan.sites.items()],
        [tag("path", d=f"M{x} {y}V{PROVIDER_Y}", class_="access") for x, y in plan.regions.values()],
    )  # fmt: skip


def _users(region: str, plan: Plan, requests: Mapping[str, Any] | None, *, colour: int) -> Markup | None:
    if region not in plan.regions:
        return None
    x, y = plan.regions[region]
    side = 1 if x < plan.width / 2 else -1
    anchor = "start" if side > 0 else "end"
    p50 = values.part(requests or {}, "p50_ms")
    return tag(
        "g",
        tag("circle", cx=x, cy=y, r=24, class_="users"),
        icon("users", x=x - 14, y=y - 14, size=28),
        tag("text", region, x=x + side * 34, y=y - 6, class_="region", text_anchor=anchor),
        (requests is not None
        and tag("text", "request p50 ", tag("tspan", values.ms(p50), class_="big"), x=x + side * 34, y=y + 19,
                class_="note", text_anchor=anchor))
        or None,
        class_=f"line-{colour % LINE_COLOURS}",
    )  # fmt: skip


def _pipes(plan: Plan, links: Sequence[Mapping[str, Any]], *, busy: bool) -> Markup:
    """Each inter-site link as a pipe between neighbouring sites, with its RTT and rate."""
    known = {frozenset(link["sites"]): link for link in links}
    drawn = []
    for (one, left), (other, right) in pairwise(plan.sites.items()):
        link = known.get(frozenset((one, other)))
        if link is None:
            continue
        x1, x2, half = left.box.x + left.box.w, right.box.x, 42.0
        middle, y = (x1 + x2) / 2, plan.aisle
        rate = link.get("rate_bps")
        said = f"RTT {values.ms(link.get('rtt_ms'))} · {values.rate(rate) if rate is not None else 'rate not measured'}"
        drawn.append(tag(
            "g",
            tag("path", d=f"M{x1} {y - half}H{x2}a10 {half} 0 0 1 0 {2 * half}H{x1}a10 {half} 0 0 1 0 {-2 * half}z",
                class_="pipe"),
            tag("ellipse", cx=x1, cy=y, rx=10, ry=half, class_="pipe-mouth"),
            tag("text", "inter-site link", x=middle, y=y + half + 22, class_="pipe-name", text_anchor="middle"),
            tag("text", said, x=middle,
                y=y + half + 42, class_="note", text_anchor="middle"),
            class_="link busy" if busy else "link",
        ))  # fmt: skip
    return join(drawn)


def _first_gap(plan: Plan) -> float:
    """The middle between the first two sites."""
    boxes = [site.box for site in plan.sites.values()]
    return (boxes[0].x + boxes[0].w + boxes[1].x) / 2 if len(boxes) > 1 else plan.width / 2


def _badges(plan: Plan, paths: Sequence[Mapping[str, Any]], inter_site: Mapping[str, Any] | None) -> Markup:
    """Above the pipe: how often each region's packets cross it and what that adds; below: what that carries."""
    middle, bottom = _first_gap(plan), plan.aisle - 58
    rows = []
    for index, path in enumerate(reversed(paths)):
        crossings = _crossings(path)
        y = bottom - index * 56
        delivered = bool(path["return_hops"])
        said = values.plural(crossings, "crossing") if delivered else f"✕ {path.get('ending')}"
        cost = f"+{values.ms(path.get('added_ms'))}" if path.get("added_ms") is not None else values.NOT_MEASURED
        rows.append(tag(
            "g",
            tag("rect", x=middle - 100, y=y - 38, width=200, height=46, rx=10, class_="badge"),
            tag("text", path["region"], x=middle, y=y - 21, class_="badge-region", text_anchor="middle"),
            tag("text", said, tag("tspan", f"  {cost}") if crossings and delivered else None, x=middle, y=y - 2,
                class_="badge-count", text_anchor="middle"),
            class_="crossed" if crossings or not delivered else "direct",
        ))  # fmt: skip
    if inter_site is not None:
        carried = f"user traffic {values.rate(inter_site.get('user_rate_bps'))}"
        rows.append(tag("text", carried, x=middle, y=plan.aisle + 104, class_="note", text_anchor="middle"))
    return join(rows)


def _draw_lines(plan: Plan, paths: Sequence[Mapping[str, Any]]) -> Markup:
    lanes = lane_offsets(2 * len(paths))
    return join([
        _draw_path(Line(plan=plan, region=str(path["region"]), lane=lanes[2 * index]), path, colour=index)
        for index, path in enumerate(paths)
    ])  # fmt: skip


def _draw_path(line: Line, path: Mapping[str, Any], *, colour: int) -> Markup:
    """One region's request and return. Every leg over the inter-site link is an element of class `crossing`."""
    back = Line(plan=line.plan, region=line.region, lane=line.lane + LANE)
    there_legs = line.legs(_stops(path["hops"]))
    # the way back starts where the request ended
    back_legs = back.legs(_stops([*path["hops"][-1:], *path["return_hops"]])) if path["return_hops"] else []
    turn = _turn(there_legs, back_legs)
    return tag(
        "g",
        tag("title", path["region"]),
        _draw_way(back_legs, kind="return"),
        _draw_way(there_legs, kind="request"),
        turn and tag("path", d=turn, class_="way request"),
        _packet(path, [*there_legs, *back_legs]),
        None if back_legs else _dead_end(there_legs),
        class_=f"line-{colour % LINE_COLOURS}",
    )


def _stops(hops: Sequence[Mapping[str, Any]]) -> list[Stop]:
    return [Stop(name=hop["name"], kind=hop["kind"], site=hop.get("site") or "", link=hop.get("link")) for hop in hops]


def _draw_way(legs: Sequence[Leg], *, kind: str) -> Markup:
    corners = [corner for leg in legs for corner in leg.corners]
    if not corners:
        return Markup()
    return join(
        tag("path", d=rounded(corners), class_="halo"),
        [tag("path", d=rounded(run), class_=f"way {kind}") for run in _local_runs(legs)],
        [tag("path", d=rounded(leg.corners), class_=f"crossing {kind}") for leg in legs if leg.crossing],
        [_arrow(leg) for leg in legs],
    )


def _local_runs(legs: Sequence[Leg]) -> list[list[Point]]:
    """The corners of each stretch of the way that does not cross an inter-site link."""
    runs = groupby(legs, key=lambda leg: leg.crossing)
    return [[corner for leg in run for corner in leg.corners] for crossing, run in runs if not crossing]


def _arrow(leg: Leg) -> Markup | None:
    """An arrowhead in the middle of the leg's longest straight piece."""
    start, end = max(pairwise(simplified(leg.corners)), key=length, default=((0.0, 0.0), (0.0, 0.0)))
    if length([start, end]) < 30:
        return None
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    turned = 0 if end[0] > start[0] else 180 if end[0] < start[0] else 90 if end[1] > start[1] else 270
    return tag("path", d="M-6-7.5 7 0-6 7.5-3 0z", transform=f"translate({x:.1f} {y:.1f}) rotate({turned})",
               class_="arrow crossing-arrow" if leg.crossing else "arrow")  # fmt: skip


def _turn(there: Sequence[Leg], back: Sequence[Leg]) -> str | None:
    """The half circle inside the server, where the request ends and the answer starts."""
    if not there or not back:
        return None
    (x, y), (back_x, back_y) = there[-1].corners[-1], back[0].corners[0]
    if x != back_x or abs(back_y - y) > LANE:
        return None
    before = there[-1].corners[-2]
    on = 12 if x >= before[0] else -12
    return f"M{x:.1f} {y:.1f}h{on}a5 5 0 0 {1 if on > 0 else 0} 0 {back_y - y:.1f}h{-on}"


def _dead_end(there: Sequence[Leg]) -> Markup | None:
    """A cross where a request ends that is not delivered."""
    if not there:
        return None
    x, y = there[-1].corners[-1]
    return tag("path", d=f"M{x - 9:.1f} {y - 9:.1f}l18 18m0-18-18 18", class_="dead-end")


def _packet(path: Mapping[str, Any], legs: Sequence[Leg]) -> Markup | None:
    """A dot that travels the path in slow motion, on each link as long as the link takes."""
    rtt = path.get("rtt_ms")
    if not rtt or not legs:
        return None
    hops = [*path["hops"][1:], *path["return_hops"]]
    distances = [length(leg.corners) for leg in legs]
    # a link without a figure, or of a few microseconds, still takes the dot a visible moment
    durations = [max(hop.get("one_way_ms") or 0.0, rtt / 200) for hop in hops]
    corners: list[Point] = [corner for leg in legs for corner in leg.corners]
    way = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
    return tag(
        "circle",
        tag("animateMotion", path=way, dur=f"{rtt * SLOW_MOTION / 1000:.2f}s", repeatCount="indefinite",
            calcMode="linear", keyPoints=_shares(distances), keyTimes=_shares(durations)),
        r=7, class_="packet",
    )  # fmt: skip


def _shares(parts: Sequence[float]) -> str:
    total, done, shares = sum(parts) or 1.0, 0.0, ["0"]
    for one in parts[:-1]:
        done += one
        shares.append(f"{done / total:.4f}")
    return ";".join([*shares, "1"])

"""Where everything stands in the picture of a path, and the way a line takes through it. Pure arithmetic.

Sites stand side by side. In each, hosts are bands one above the other, and the stages of the chain are columns that
run from the edge (on the outer side) towards the inter-site link, so that a line that leaves a site, turns round at
a server and comes back looks like what it is. Between the bands an aisle stays free for lines that pass members by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Point = tuple[float, float]

BOX_W, BOX_H = 76.0, 92.0  # a member
LANES_IN_BOX = 63.0  # where in its box a member's lanes pass, from its top
GUTTER = 42.0  # between the columns of two stages
EDGE_W = 74.0
PIPE_W = 232.0  # between two sites
AISLE_H = 56.0
BAND_PAD = 12.0
BAND_HEAD = 18.0
MARGIN = 18.0
USERS_Y, PROVIDER_Y, SITE_Y = 40.0, 128.0, 186.0
LANE = 10.0  # from one line to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle, by its upper left corner."""

    x: float
    y: float
    w: float
    h: float

    @property
    def middle(self) -> Point:
        """The centre."""
        return (self.x + self.w / 2, self.y + self.h / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """One site: its box, its hosts' bands, its edge, and the direction (+1 right, -1 left) in which its chain runs."""

    box: Box
    hosts: Mapping[str, Box]
    edge: Point
    inward: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where everything stands. `members` holds for each member its box, its site and its column."""

    width: float
    height: float
    aisle: float
    sites: Mapping[str, SitePlan]
    members: Mapping[str, Box]
    regions: Mapping[str, Point]
    site_of: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Leg:
    """The piece of a line between two hops: its corners, and whether it crosses the inter-site link."""

    corners: list[Point] = field(default_factory=list)
    crossing: bool = False


def plan_picture(
    *,
    sites: Mapping[str, Sequence[str]],
    regions: Mapping[str, str],
    placement: Mapping[str, str],
    chain: Sequence[Sequence[str]],
) -> Plan:
    """Place everything: `sites` with their hosts, `regions` with the site they are near, members by "site/host"."""
    column = {member: index for index, stage in enumerate(chain) for member in stage}
    for member in placement:
        column.setdefault(member, max(len(chain) - 1, 0))
    columns = max([*column.values(), 0]) + 1
    site_w = MARGIN + EDGE_W + columns * (BOX_W + GUTTER) + 2 * BAND_PAD + GUTTER * 0.8
    most_hosts = max((len(hosts) for hosts in sites.values()), default=1)
    upper = (most_hosts + 1) // 2
    stack = _tallest_stack(placement, column)
    band_h = BAND_HEAD + stack * (BOX_H + BAND_PAD) + 2
    aisle = SITE_Y + 46 + upper * (band_h + BAND_PAD) - BAND_PAD + AISLE_H / 2
    lower_h = (most_hosts - upper) * (band_h + BAND_PAD)
    bottom = aisle + AISLE_H / 2 + lower_h + 6
    plans: dict[str, SitePlan] = {}
    boxes: dict[str, Box] = {}
    for index, (site, hosts) in enumerate(sites.items()):
        box = Box(x=MARGIN + index * (site_w + PIPE_W), y=SITE_Y, w=site_w, h=bottom - SITE_Y)
        inward = 1 if index < len(sites) / 2 else -1
        bands = _bands(hosts, box=box, inward=inward, aisle=aisle, band_h=band_h)
        edge_x = box.x + MARGIN + EDGE_W / 2 if inward > 0 else box.x + box.w - MARGIN - EDGE_W / 2
        plans[site] = SitePlan(box=box, hosts=bands, edge=(edge_x, aisle), inward=inward)
        for host, band in bands.items():
            here = [m for m in placement if placement[m] == f"{site}/{host}"]
            boxes |= _member_boxes(here, band=band, column=column, inward=inward)
    return Plan(
        width=2 * MARGIN + len(sites) * site_w + max(len(sites) - 1, 0) * PIPE_W,
        height=bottom + MARGIN,
        aisle=aisle,
        sites=plans,
        members=boxes,
        regions=_region_points(regions, plans),
        site_of={member: host.partition("/")[0] for member, host in placement.items()},
    )


def _tallest_stack(placement: Mapping[str, str], column: Mapping[str, int]) -> int:
    cells: dict[tuple[str, int], int] = {}
    for member, host in placement.items():
        cell = (host, column[member])
        cells[cell] = cells.get(cell, 0) + 1
    return max([*cells.values(), 1])


def _bands(hosts: Sequence[str], *, box: Box, inward: int, aisle: float, band_h: float) -> dict[str, Box]:
    upper = (len(hosts) + 1) // 2
    x = box.x + MARGIN + EDGE_W + GUTTER / 2 if inward > 0 else box.x + BAND_PAD
    w = box.w - MARGIN - EDGE_W - GUTTER / 2 - BAND_PAD
    bands = {}
    for index, host in enumerate(hosts):
        if index < upper:
            y = aisle - AISLE_H / 2 - (upper - index) * (band_h + BAND_PAD) + BAND_PAD
        else:
            y = aisle + AISLE_H / 2 + (index - upper) * (band_h + BAND_PAD)
        bands[host] = Box(x=x, y=y, w=w, h=band_h)
    return bands


def _member_boxes(members: Sequence[str], *, band: Box, column: Mapping[str, int], inward: int) -> dict[str, Box]:
    boxes: dict[str, Box] = {}
    depth: dict[int, int] = {}
    for member in members:
        at = column[member]
        below = depth.get(at, 0)
        depth[at] = below + 1
        from_edge = GUTTER / 2 + at * (BOX_W + GUTTER)
        x = band.x + from_edge if inward > 0 else band.x + band.w - from_edge - BOX_W
        boxes[member] = Box(x=x, y=band.y + BAND_HEAD + below * (BOX_H + BAND_PAD), w=BOX_W, h=BOX_H)
    return boxes


def _region_points(regions: Mapping[str, str], plans: Mapping[str, SitePlan]) -> dict[str, Point]:
    """Users stand above the edge of the site they are near; further regions of one site stand towards the middle."""
    points: dict[str, Point] = {}
    seen: dict[str, int] = {}
    for region, near in regions.items():
        plan = plans.get(near) or next(iter(plans.values()))
        nth = seen.get(near, 0)
        seen[near] = nth + 1
        points[region] = (plan.edge[0] + plan.inward * nth * 190, USERS_Y)
    return points


def lane_offsets(number: int) -> list[float]:
    """How far each of `number` parallel lines stands from their middle."""
    return [(index - (number - 1) / 2) * LANE for index in range(number)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A hop as the picture knows it. `link` is the link by which it is reached."""

    name: str
    kind: str
    site: str
    link: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One region's line in the picture, shifted by `lane` from the middle so that lines do not cover each other.

    Corners are nested by shifting what is vertical to the side on which the turn keeps the order of the lines.
    """

    plan: Plan
    region: str
    lane: float

    def legs(self, stops: Sequence[Stop]) -> list[Leg]:
        """The pieces of the line through `stops`, one between each two."""
        ingress = next((stop.site for stop in stops if stop.kind == "edge"), "")
        return [
            Leg(corners=self._corners(source, target, ingress=ingress), crossing=target.link == "inter-site")
            for source, target in pairwise(stops)
        ]

    def anchor(self, stop: Stop, *, ingress: str) -> Point:
        """Where the line passes a hop."""
        site = self.plan.sites.get(stop.site) or next(iter(self.plan.sites.values()))
        # a line that enters at another site turns towards it at this site's provider: the other way round
        aside = -site.inward * self.lane * (1 if stop.site == ingress else -1)
        if stop.kind == "users":
            x, y = self.plan.regions.get(self.region, (site.edge[0], USERS_Y))
            return (x + aside, y)
        if stop.kind == "provider":
            return (site.edge[0] + aside, PROVIDER_Y - self.lane)
        box = self.plan.members.get(stop.name)
        if stop.kind == "edge" or box is None:
            return (site.edge[0] - site.inward * self.lane, self.plan.aisle + self.lane)
        return (box.middle[0], box.y + LANES_IN_BOX + self.lane)

    def _corners(self, source: Stop, target: Stop, *, ingress: str) -> list[Point]:
        one, other = self.anchor(source, ingress=ingress), self.anchor(target, ingress=ingress)
        above = {"users", "provider"} & {source.kind, target.kind}
        if not above:
            return self._inside((source, one), (target, other))
        if one[0] == other[0] or one[1] == other[1]:
            return [one, other]
        # users leave downwards, the provider sideways
        down_first = source.kind == "users" or ("users" not in above and target.kind == "provider")
        return [one, (one[0], other[1]) if down_first else (other[0], one[1]), other]

    def _inside(self, source: tuple[Stop, Point], target: tuple[Stop, Point]) -> list[Point]:
        """Between edges and members: by the gutter between neighbours, else by the aisle."""
        (from_stop, one), (to_stop, other) = source, target
        near, far = self._beside(from_stop, one, goal=other), self._beside(to_stop, other, goal=one)
        if from_stop.site == to_stop.site and abs(one[0] - other[0]) <= BOX_W + GUTTER + EDGE_W:
            x = near if from_stop.name in self.plan.members else far
            return [one, (x, one[1]), (x, other[1]), other]
        aisle = self.plan.aisle + self.lane
        return [one, (near, one[1]), (near, aisle), (far, aisle), (far, other[1]), other]

    def _beside(self, stop: Stop, at: Point, *, goal: Point) -> float:
        """The x of the gutter beside a member, on the side where the line goes on."""
        box = self.plan.members.get(stop.name)
        if box is None:
            return at[0]
        side = 1 if goal[0] > at[0] else -1
        down = 1 if self.plan.aisle > at[1] else -1
        return box.middle[0] + side * ((BOX_W + GUTTER) / 2 - down * self.lane)


def simplified(corners: Sequence[Point]) -> list[Point]:
    """`corners` without repetitions and without points in the middle of a straight run."""
    kept: list[Point] = []
    for point in corners:
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == point[0] or kept[-2][1] == kept[-1][1] == point[1]):
            kept.pop()
        kept.append(point)
    return kept


def length(corners: Sequence[Point]) -> float:
    """How long the way along `corners` is."""
    return sum(abs(b[0] - a[0]) + abs(b[1] - a[1]) for a, b in pairwise(corners))


def rounded(corners: Sequence[Point], *, radius: float = 15.0) -> str:
    """SVG path data along `corners`, each corner rounded."""
    points = simplified(corners)
    data = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        enter, leave = _towards(corner, before, radius), _towards(corner, after, radius)
        data.append(f"L{enter[0]:.1f} {enter[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {leave[0]:.1f} {leave[1]:.1f}")
    data.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(data)


def _towards(start: Point, goal: Point, distance: float) -> Point:
    apart = ((goal[0] - start[0]) ** 2 + (goal[1] - start[1]) ** 2) ** 0.5
    share = min(distance, apart / 2) / apart if apart else 0.0
    return (start[0] + (goal[0] - start[0]) * share, start[1] + (goal[1] - start[1]) * share)

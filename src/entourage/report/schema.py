"""The documents that a report is made from, as types, and a check of a document against them.

Units: `_ms` milliseconds, `_s` seconds, `_bytes` bytes, `_bps` bit/s; `_at` seconds since the epoch. A figure
that nobody measured is null: it is never given as 0.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

# pydantic reads TypedDicts of typing only from Python 3.12 on
from typing_extensions import TypedDict

MOVE_SCHEMA = "entourage.move-report/1"
DEMO_SCHEMA = "entourage.demo-report/1"

Number = Annotated[float, Field(allow_inf_nan=False)]
Figure = Number | None  # null: not measured
Count = Annotated[int, Field(ge=0)] | None
Role = Literal["server", "load-balancer", "firewall", "router"]
HopKind = Literal["users", "provider", "edge", "router", "firewall", "load-balancer", "server"]
LinkKind = Literal["access", "provider", "backbone", "local", "inter-site"]


class Hop(TypedDict):
    """One hop of a path. `link` is the link by which it is reached, `one_way_ms` what that link takes."""

    name: str
    kind: HopKind
    site: str
    host: NotRequired[str | None]
    link: LinkKind | None
    one_way_ms: Figure


class Path(TypedDict):
    """One region's path to a server, and back from the hop after it. `added_ms` is the part of `rtt_ms` that it would

    not take with every member where the packets enter. A request that is not delivered ends at its last hop.
    """

    region: str
    ending: str
    hops: list[Hop]
    return_hops: list[Hop]
    inter_site_crossings: int
    rtt_ms: Figure
    added_ms: Figure


class Paths(TypedDict):
    """The paths of all regions at one moment; `hops` is the list of the region that counts most."""

    hops: list[Hop]
    inter_site_crossings: int
    regions: NotRequired[dict[str, Path]]


class PathsOfMove(TypedDict):
    """The paths before a move and after it."""

    before: Paths | None
    after: Paths | None


class Requests(TypedDict):
    """Short requests: half of them took at most `p50_ms`, 99 of 100 at most `p99_ms`."""

    p50_ms: Figure
    p99_ms: Figure
    count: Count
    failed: NotRequired[Count]


class RequestsOfRegions(Requests):
    """The figures of the region that counts most, and of every region."""

    region: str
    regions: dict[str, Requests]


class RequestsOfMove(TypedDict):
    """Requests before and after a move: with every region's beside them, over all regions, or for each by its name."""

    before: RequestsOfRegions | Requests | dict[str, Requests] | None
    after: RequestsOfRegions | Requests | dict[str, Requests] | None


class MemberOfMove(TypedDict):
    """One member in a move: it ran nowhere from `paused_at` to `resumed_at`. Hosts are written "site/host"."""

    name: str
    role: Role
    paused_at: Figure
    resumed_at: Figure
    pause_ms: Figure
    bytes: Count
    source: NotRequired[str | None]
    target: NotRequired[str | None]


class IngressOfMove(TypedDict):
    """Milliseconds from the first member's pause to the first packet at the target's edge, and the last one

    that still entered at the source's.
    """

    first_packet_target_ms: Figure
    last_packet_source_ms: Figure


class Sessions(TypedDict):
    """Long-lived client sessions, and what became of them; `lost` and `reordered` count their messages."""

    opened: Count
    survived: Count
    reset: Count
    stalled_over_1s: Count
    lost: NotRequired[Count]
    reordered: NotRequired[Count]


class Mark(NamedTuple):
    """A moment of the story, in seconds since its `t0`."""

    at: Number
    label: str


class MarkOfMove(TypedDict):
    """A moment of a move, such as the commit: milliseconds after the first member's pause, and what happened."""

    ms: Number
    what: str


class LinkOfMove(TypedDict):
    """The inter-site link that a move went over, unless it was within a site; loss is a share, 0 to 1."""

    rtt_ms: Figure
    rate_bps: Figure
    loss: NotRequired[Figure]


class MoveReport(TypedDict):
    """One move. The paths that users had before it and after it; the switch, second by second, in `marks`."""

    schema: Literal["entourage.move-report/1"]
    move: str
    service: str
    source: str
    target: str
    strategy: Literal["group", "serial", "parallel"]
    outcome: Literal["committed", "rolled-back"]
    members: list[MemberOfMove]
    pause_skew_ms: Figure
    resume_skew_ms: Figure
    blackout_ms: Figure
    split_ms: Figure
    total_s: Figure
    bytes: Count
    ingress: IngressOfMove | None
    sessions: Sessions | None
    requests: RequestsOfMove | None
    path: PathsOfMove | None
    predicted: dict[str, Any] | None
    left_over: list[Any]
    marks: NotRequired[list[MarkOfMove]]
    link: NotRequired[LinkOfMove | None]


class SiteOfDemo(TypedDict):
    """A site and the names of its hosts."""

    id: str
    hosts: list[str]


class RegionOfDemo(TypedDict):
    """A region, the site that it is near, and the milliseconds to that site's edge and back."""

    id: str
    near: str
    rtt_ms: Figure


class LinkOfDemo(TypedDict):
    """The link between two sites; loss is a share, 0 to 1."""

    sites: list[str]
    rtt_ms: NotRequired[Figure]
    rate_bps: NotRequired[Figure]
    loss: NotRequired[Figure]


class InfrastructureOfDemo(TypedDict):
    """What the picture of a path is drawn on."""

    sites: list[SiteOfDemo]
    regions: list[RegionOfDemo]
    links: list[LinkOfDemo]


class MemberOfDemo(TypedDict):
    """A member's name and role."""

    name: str
    role: Role


class ServiceOfDemo(TypedDict):
    """The service of the story; `chain` is the order of the members, several in one stage share the load."""

    id: str
    prefix: str
    address: str
    members: list[MemberOfDemo]
    chain: list[list[str]]


class InterSiteUse(TypedDict):
    """What crossed the inter-site link during an act."""

    user_bytes: Count
    user_rate_bps: Figure
    migration_bytes: Count


class Act(TypedDict):
    """One act of the story: where everything runs, the paths, and what the users had."""

    title: str
    kind: Literal["baseline", "servers-only", "group"]
    placement: dict[str, str]
    ingress: dict[str, str]
    paths: list[Path]
    requests: dict[str, Requests]
    stream: dict[str, Any] | None
    inter_site: InterSiteUse | None
    move: MoveReport | None
    moves_back: NotRequired[list[MoveReport]]


class RequestSample(NamedTuple):
    """One request: when it was sent (seconds since `t0`), from where, and how long it took (null: it failed)."""

    at: Number
    region: str
    ms: Figure


class GapSample(NamedTuple):
    """One gap in the stream: when it began (seconds since `t0`) and how long it was."""

    at: Number
    ms: Number


class Timeline(TypedDict):
    """The whole story in samples. A mark with the title of an act says when that act's measurement began."""

    t0: Number
    requests: list[RequestSample]
    stream_gaps: list[GapSample]
    marks: list[Mark]


class Lab(TypedDict):
    """The inter-site link of the lab."""

    rtt_ms: Figure
    rate_bps: Figure
    loss: Figure


class DemoReport(TypedDict):
    """The story of a demo in acts."""

    schema: Literal["entourage.demo-report/1"]
    created: str | Number
    machine: dict[str, Any]
    lab: Lab
    infrastructure: InfrastructureOfDemo
    service: ServiceOfDemo
    acts: list[Act]
    sessions: Sessions | None
    timeline: Timeline | None


_STRICT = with_config(ConfigDict(strict=True))
_MOVE: TypeAdapter[MoveReport] = TypeAdapter(_STRICT(MoveReport))
_DEMO: TypeAdapter[DemoReport] = TypeAdapter(_STRICT(DemoReport))


def validate_move_report(document: object) -> list[str]:
    """What is wrong with a move report, a line each with the place ("members[0].pause_ms: missing"); empty if right."""
    return _problems(_MOVE, document, MOVE_SCHEMA)


def validate_demo_report(document: object) -> list[str]:
    """What is wrong with a demo's report, a line each with the place; empty if right."""
    return _problems(_DEMO, document, DEMO_SCHEMA)


def _problems(adapter: TypeAdapter[Any], document: object, schema: str) -> list[str]:
    if not isinstance(document, Mapping):
        return [f"the document is not an object, but {type(document).__name__}; expected schema {schema}"]
    if document.get("schema") != schema:
        return [f"schema: expected {schema!r}, found {document.get('schema')!r}"]
    try:
        # by way of JSON: there, arrays are tuples and 1 is a float, but "1" is still not a number
        adapter.validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        return [f"{_place(found['loc'])}: {_complaint(found['type'], found['msg'])}" for found in error.errors()]
    except (TypeError, ValueError) as error:
        return [f"the document is not JSON: {error}"]
    return []


def _place(parts: tuple[int | str, ...]) -> str:
    place = ""
    for part in parts:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return place


def _complaint(kind: str, message: str) -> str:
    return "missing" if kind in {"missing", "missing_argument"} else message[:1].lower() + message[1:]

"""Whole pages: the report of one move and the report of a demo, each one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from typing import Any

from entourage.report import values
from entourage.report.latency_chart import latency_chart
from entourage.report.markup import Markup, join, tag
from entourage.report.picture import Details, path_picture
from entourage.report.sections import (
    left_over,
    link_bars,
    move_section,
    pairs,
    panel,
    paths_details,
    pill,
    request_bars,
    scene_of,
    verdict_pill,
)
from entourage.report.story_chart import story_chart
from entourage.report.style import STYLE
from entourage.report.verdict import Verdict, crossings, of_act, of_demo, of_move


def render_demo(document: Mapping[str, Any]) -> str:
    """The HTML page of a `schema.DemoReport`."""
    acts = document.get("acts") or []
    regions = [region["id"] for region in document["infrastructure"]["regions"]]
    verdict = of_demo(document)
    moves = [move for act in acts for move in [act.get("move"), *(act.get("moves_back") or [])] if move]
    littered = [one for move in moves for one in move.get("left_over") or []]
    return _page(
        verdict.text,
        _header(verdict, kicker=f"Entourage demo · service {document['service']['id']} "
                f"({document['service']['prefix']}) · {values.moment(document.get('created'))}",
                facts=[pill(f"inter-site link {_link(document.get('lab') or {})}")]),
        left_over(littered) if littered else None,
        tag("section", [_thumbnail(document, act, number=n) for n, act in enumerate(acts, 1)], class_="story"),
        tag(
            "section",
            tag("h3", "Every request, over the whole story"),
            story_chart(
                document.get("timeline"),
                acts={act["title"]: bool(crossings(act.get("paths") or [])) for act in acts},
                regions=regions,
            ),
            _region_legend(regions),
            class_="card",
        ),
        [_act(document, act, number=n) for n, act in enumerate(acts, 1)],
        tag("section", tag("div", panel("Sessions over the whole story", pairs(document.get("sessions"))),
                           panel("Machine", pairs(document.get("machine"))), class_="panels"), class_="card"),
    )  # fmt: skip


def render_move(document: Mapping[str, Any]) -> str:
    """The HTML page of a `schema.MoveReport`."""
    verdict = of_move(document)
    requests = document.get("requests") or {}
    columns = [(side, values.by_region(requests.get(side))) for side in ("before", "after")]
    return _page(
        verdict.text,
        _header(verdict, kicker=f"Entourage · move {document.get('move')} of service {document.get('service')} · "
                f"{values.way(document)}",
                facts=[pill(f"total {values.seconds(document.get('total_s'))}"),
                       pill(f"copied {values.size(document.get('bytes'))}")]),
        left_over(document["left_over"]) if document.get("left_over") else None,
        [_side(document, side) for side in ("before", "after")],
        tag(
            "section",
            tag("div", panel("Request p50, before and after",
                             request_bars(columns, [], title="Request p50 per region")),
                class_="panels"),
            class_="card",
        ),
        tag("section", tag("h2", "The switch"), move_section(document, name="switch"), class_="card"),
    )  # fmt: skip


def render_noisy(document: Mapping[str, Any]) -> str:
    """The HTML page of a story with noisy neighbours."""
    cases = document["cases"]
    worst, best = (cases[number].get("p999_ms") for number in (1, 2))
    said = (
        f"Beside noisy neighbours one of a thousand packets takes longer than {values.ms(worst)},"
        f" with real-time CPU than {values.ms(best)}"
    )
    return _page(
        said,
        tag("header", tag("p", "Entourage demo · noisy neighbours", class_="kicker"), tag("h1", said)),
        tag(
            "section",
            tag("h3", "Through router, firewall and load balancer to a server, and back"),
            latency_chart(cases, title="How many packets took longer than so long"),
            class_="card",
        ),
        tag("section", tag("div", panel("Machine", pairs(document.get("machine"))), class_="panels"), class_="card"),
    )


def _page(title: str, header: Markup, *body: object) -> str:
    page = tag(
        "html",
        tag(
            "head",
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
            tag("title", title),
            tag("style", Markup(STYLE)),
        ),
        tag("body", header, tag("main", *body), tag("footer", tag("p", "Made by Entourage from one JSON document."))),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def _header(verdict: Verdict, *, kicker: str, facts: Sequence[Markup]) -> Markup:
    return tag("header", tag("p", kicker, class_="kicker"), tag("h1", verdict.text), tag("div", facts, class_="pills"))


def _link(lab: Mapping[str, Any]) -> str:
    loss = lab.get("loss")
    lost = f"loss {values.NOT_MEASURED}" if loss is None else f"loss {100 * loss:g} %"
    return f"RTT {values.ms(lab.get('rtt_ms'))}, {values.rate(lab.get('rate_bps'))}, {lost}"


def _picture(document: Mapping[str, Any], act: Mapping[str, Any], *, name: str) -> Markup:
    service = document["service"]
    details = Details(
        members=service["members"],
        chain=service["chain"],
        ingress=act.get("ingress") or {},
        requests=act.get("requests") or {},
        inter_site=act.get("inter_site"),
        title=f"{act['title']}: the path of the users' packets",
    )
    paths = act.get("paths") or []
    return path_picture(document["infrastructure"], act.get("placement") or {}, paths, details=details, name=name)


def _thumbnail(document: Mapping[str, Any], act: Mapping[str, Any], *, number: int) -> Markup:
    """An act at a glance: its picture in small, the crossings, and each region's p50."""
    found = crossings(act.get("paths") or [])
    said = values.NOT_MEASURED if found is None else values.plural(found, "inter-site crossing")
    tone = "bad" if found else "good" if found == 0 else "missing"
    requests = values.by_region(act.get("requests"))
    figures = [
        f"{region} {values.ms(measured.get('p50_ms'))}".replace(" ", "\u00a0") for region, measured in requests.items()
    ]
    return tag(
        "a",
        tag("p", tag("span", f"{number}  ", class_="number"), tag("b", act["title"])),
        tag("div", _picture(document, act, name=f"thumb-{number}"), class_="thumb"),
        tag("p", said, class_=f"figure {tone}"),
        tag("p", "request p50: ", [[one, " "] for one in figures] or values.NOT_MEASURED, class_="kicker"),
        class_="card",
        href=f"#act-{number}",
    )


def _act(document: Mapping[str, Any], act: Mapping[str, Any], *, number: int) -> Markup:
    verdict = of_act(act)
    regions = [region["id"] for region in document["infrastructure"]["regions"]]
    first = document["acts"][0]
    columns = [(f"act {number}", values.by_region(act.get("requests")))]
    if number > 1:
        columns.insert(0, ("act 1", values.by_region(first.get("requests"))))
    paths = act.get("paths") or []
    return tag(
        "section",
        tag("div", tag("span", f"Act {number}", class_="number"), tag("h2", act["title"]), verdict_pill(verdict),
            class_="act-head"),
        _picture(document, act, name=f"act-{number}-picture"),
        _picture_legend([path["region"] for path in paths]),
        tag("div",
            panel("Request p50 per region", request_bars(columns, regions, title="Request p50 per region")),
            panel("Bytes over the inter-site link", link_bars(act.get("inter_site"))),
            panel("100 Hz stream", pairs(act.get("stream"))),
            class_="panels"),
        paths_details(paths),
        _moves(act, number=number),
        id=f"act-{number}",
        class_=f"card act {'crossed' if verdict.good is False else 'direct' if verdict.good else ''}".strip(),
    )  # fmt: skip


def _moves(act: Mapping[str, Any], *, number: int) -> Markup:
    move, back = act.get("move"), act.get("moves_back") or []
    return join(
        tag("div", panel("The switch, member by member", move_section(move, name=f"act-{number}-switch")),
            class_="panels") if move else None,
        [tag("details", tag("summary", f"Move before this act: {one.get('move')} ({values.way(one)}, "
                            f"{one.get('strategy')})"),
             move_section(one, name=f"act-{number}-back-{n}"))
         for n, one in enumerate(back)],
    )  # fmt: skip


def _side(document: Mapping[str, Any], side: str) -> Markup:
    infrastructure, placement, paths = scene_of(document, side)
    if not paths:
        return tag("section", tag("h2", side.capitalize()), tag("p", f"paths {values.NOT_MEASURED}", class_="missing"),
                   class_="card")  # fmt: skip
    verdict = of_act({"paths": paths})
    details = Details(
        requests=values.by_region(values.part(document, "requests", side)),
        ingress={path["region"]: hop["site"] for path in paths for hop in path["hops"] if hop["kind"] == "edge"},
        title=f"The path of the users' packets {side} the move",
    )
    return tag(
        "section",
        tag("div", tag("h2", side.capitalize()), verdict_pill(verdict), class_="act-head"),
        path_picture(infrastructure, placement, paths, details=details, name=f"{side}-picture"),
        _picture_legend([path["region"] for path in paths]),
        paths_details(paths),
        class_=f"card act {'direct' if verdict.good else 'crossed'}",
    )


def _picture_legend(regions: Sequence[str]) -> Markup:
    def sample(style: str, said: str, *, colour: int | str = "none") -> Markup:
        line = tag("path", d="M0 7H44", class_=style)
        group = tag("g", line, class_=f"line-{colour}")
        return tag("span", tag("svg", group, viewBox="0 0 44 14", class_="picture", aria_hidden="true"), said)

    return tag(
        "p",
        [sample("way", region, colour=index % 4) for index, region in enumerate(regions)],
        sample("way request", "request"),
        sample("way return", "answer"),
        sample("inter-site", "over the inter-site link"),
        tag("span", "The dots travel 40 times slower than packets."),
        class_="legend",
    )


def _region_legend(regions: Sequence[str]) -> Markup:
    return tag("p", [
        tag("span", tag("svg", tag("g", tag("path", d="M0 7H44", class_="median"), class_=f"line-{index % 4}"),
                        viewBox="0 0 44 14", class_="chart", aria_hidden="true"), region)
        for index, region in enumerate(regions)
    ], tag("span", "lines: median · dots: extremes · × failed"), class_="legend")  # fmt: skip

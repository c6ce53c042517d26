"""Pages: what a reader must see is in them, and nothing that a user's file says can break them."""

import json
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from report_sample import INFRASTRUCTURE, act, both_paths, demo_document, move, placement

from entourage.report import path_picture, render_demo, render_move

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("1")</script>&\'\x00\u202e]]>'
FIGURES = ("blackout_ms", "split_ms", "pause_skew_ms", "resume_skew_ms", "total_s", "bytes")


class Page(HTMLParser):
    """The tags of a page that are open or were, and every reference to something outside of it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in {"href", "src", "data", "action"}]

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def pictures(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r'<svg [^>]*viewBox[^>]*class="picture".*?</svg>', page)]


def marked(picture: ElementTree.Element) -> int:
    return sum("crossing" in one.get("class", "").split() for one in picture.iter(f"{SVG}path"))


def picture_of(paths: list[dict[str, Any]], where: dict[str, str]) -> ElementTree.Element:
    return ElementTree.fromstring(path_picture(INFRASTRUCTURE, where, paths))


def test_every_act_has_a_picture_and_the_headline_has_the_numbers() -> None:
    page = Page(render_demo(demo_document()))
    for title in ("Everything at east", "Only the servers move to west", "The whole group moves to west"):
        assert f"{title}: the path of the users' packets" in page.text
    assert "The whole path moved: 1,000 of 1,000 sessions alive, blackout 251 ms" in page.text


def test_a_page_needs_nothing_from_outside() -> None:
    for text in (render_demo(demo_document()), render_move(move())):
        page = Page(text)
        assert all(reference.startswith("#") for reference in page.references)
        assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
        assert "url(" not in text
        assert "@import" not in text


def test_the_crossings_of_a_trombone_are_as_many_as_the_marked_pieces_of_its_line() -> None:
    where = placement(web1="west", web2="west")
    paths = both_paths("east", where)
    assert [path["inter_site_crossings"] for path in paths] == [2, 2]
    assert marked(picture_of(paths, where)) == 4
    assert marked(picture_of(paths[:1], where)) == 2


def test_a_service_spread_over_the_sites_shows_each_crossing() -> None:
    where = placement(fw="west", web1="west")
    paths = both_paths("east", where)[:1]
    assert paths[0]["inter_site_crossings"] == 6
    assert marked(picture_of(paths, where)) == 6


def test_a_direct_path_has_no_marked_piece() -> None:
    assert marked(picture_of(both_paths("east", placement()), placement())) == 0


def test_a_crossing_is_drawn_from_one_site_into_the_other() -> None:
    where = placement(web1="west", web2="west")
    picture = picture_of(both_paths("east", where)[:1], where)
    boxes = [one for one in picture.iter(f"{SVG}rect") if one.get("class") == "site"]
    east_ends = float(boxes[0].get("x", "")) + float(boxes[0].get("width", ""))
    west_starts = float(boxes[1].get("x", ""))
    for line in picture.iter(f"{SVG}path"):
        if "crossing" in line.get("class", "").split():
            xs = [float(x) for x in re.findall(r"[ML](-?[\d.]+) ", line.get("d", ""))]
            assert min(xs) < east_ends < west_starts < max(xs)


def test_lines_of_different_regions_lie_beside_each_other() -> None:
    picture = picture_of(both_paths("east", placement()), placement())
    ways = [one.get("d") for one in picture.iter(f"{SVG}path") if "way" in one.get("class", "").split()]
    drawn = [way for way in ways if way]
    assert len(drawn) == len(set(drawn)) >= 4


def test_a_request_that_is_not_delivered_ends_with_a_cross_and_its_reason() -> None:
    path = both_paths("east", placement())[0]
    path |= {"ending": "member-not-running", "hops": path["hops"][:5], "return_hops": [], "rtt_ms": None}
    picture = picture_of([path], placement())
    assert [one for one in picture.iter(f"{SVG}path") if one.get("class") == "dead-end"]
    assert "✕ member-not-running" in "".join(picture.itertext())


def test_a_picture_alone_brings_its_colours_and_its_text_alternative() -> None:
    where = placement(web1="west", web2="west")
    text = path_picture(INFRASTRUCTURE, where, both_paths("east", where), standalone=True)
    picture = ElementTree.fromstring(text)
    assert picture.find(f"{SVG}title") is not None
    described = picture.findtext(f"{SVG}desc") or ""
    assert "users-east" in described
    assert "2 inter-site crossings" in described
    assert "--line-0" in (picture.findtext(f"{SVG}style") or "")


def hostile_demo() -> dict[str, Any]:
    document = demo_document()
    text = json.dumps(document)
    for name in ("rt", "users-east", "east/h2"):
        text = text.replace(json.dumps(name), json.dumps(HOSTILE))
    evil: dict[str, Any] = json.loads(text)
    evil["service"]["id"] = evil["acts"][0]["title"] = evil["machine"]["cpu"] = HOSTILE
    evil["acts"][2]["move"] |= {"left_over": [HOSTILE], "move": HOSTILE, "marks": [{"ms": 100.0, "what": HOSTILE}]}
    return evil


def test_hostile_names_stay_text() -> None:
    evil = hostile_demo()
    for text in (render_demo(evil), render_move(evil["acts"][2]["move"])):
        page = Page(text)
        assert "script" not in page.tags
        assert '<script>alert("1")</script>' in page.text
        assert "\x00" not in text
        assert "\u202e" not in text
        assert pictures(text)  # and each is well-formed: it was parsed as XML


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_that_is_missing_reads_not_measured_and_never_0(name: str) -> None:
    whole = render_move(move()).count("not measured")
    assert render_move(move() | {name: None}).count("not measured") > whole
    absent = move()
    del absent[name]
    render_move(absent)


def test_a_report_with_nothing_measured_still_renders() -> None:
    bare = dict.fromkeys(move()) | {"schema": move()["schema"], "members": [], "left_over": []}
    text = Page(render_move(bare)).text
    assert "sessions not measured" in text
    assert "paths not measured" in text


def test_a_demo_that_ended_early_says_so() -> None:
    document = demo_document()
    document |= {"acts": [document["acts"][0]], "sessions": None, "timeline": None}
    document["acts"][0] |= {"requests": {}, "stream": None, "inter_site": None}
    text = Page(render_demo(document)).text
    assert "The story ended before the whole group moved" in text
    assert "Requests over time: not measured" in text


def test_what_is_left_over_is_a_loud_warning_and_nothing_is_said_quietly() -> None:
    littered, clean = render_move(move(left_over=["namespace lab-east-h1"])), render_move(move())
    assert 'role="alert"' in littered
    assert "namespace lab-east-h1" in littered
    assert "but something was left over" in littered
    assert 'role="alert"' not in clean
    assert "Nothing left over" in clean


def test_a_move_that_was_rolled_back_does_not_claim_to_have_moved() -> None:
    text = Page(render_move(move(outcome="rolled-back"))).text
    assert "Nothing moved: rolled back" in text
    assert "The whole path moved" not in text


def test_a_member_that_never_resumed_is_named() -> None:
    document = move()
    document["members"][1] |= {"resumed_at": None, "pause_ms": None}
    assert "never resumed" in Page(render_move(document)).text


@pytest.mark.parametrize(("strategy", "said"), [("serial", "split for 21.0 s"), ("group", "never at both sites")])
def test_the_split_time_is_seen_in_the_chart(strategy: str, said: str) -> None:
    assert said in Page(render_move(move(strategy))).text


def test_sessions_that_died_are_not_counted_as_alive() -> None:
    document = demo_document()
    document["sessions"] |= {"survived": 997, "reset": 3}
    assert "997 of 1,000 sessions alive" in Page(render_demo(document)).text


def test_a_host_that_the_infrastructure_does_not_name_is_shown() -> None:
    one = act("baseline", "x", where=placement() | {"web2": "north/h9"}, ingress="east", p50=(1.0, 2.0))
    picture = picture_of(one["paths"][:1], one["placement"])
    assert {"north", "h9"} <= {text.strip() for text in picture.itertext()}


def test_a_member_that_no_path_passes_is_still_in_the_pictures_of_its_move() -> None:
    document = move()
    for side in ("before", "after"):
        only_web1 = document["path"][side]["regions"]["users-east"]
        assert "web2" not in [hop["name"] for hop in only_web1["hops"]]
        document["path"][side]["regions"] = {"users-east": only_web1}
    drawn = [ElementTree.tostring(picture, encoding="unicode") for picture in pictures(render_move(document))]
    assert sum("web2: " in picture for picture in drawn) == 2


def test_marks_stand_where_they_happened() -> None:
    text = render_move(move() | {"marks": [{"ms": 0.0, "what": "first"}, {"ms": 251.0, "what": "last"}]})
    found = re.search(r'<svg [^>]*class="chart" role="img" aria-labelledby="switch.*?</svg>', text)
    assert found
    chart = ElementTree.fromstring(found[0])
    lines = [one.get("d", "") for one in chart.iter(f"{SVG}path") if one.get("class") == "mark"]
    paused = [one for one in chart.iter(f"{SVG}rect") if one.get("class") == "paused"]
    starts = [float(one.get("x", "")) for one in paused]
    ends = [float(one.get("x", "")) + float(one.get("width", "")) for one in paused]
    assert [float(line[1:].partition("V")[0].split()[0]) for line in lines] == pytest.approx(
        [min(starts), max(ends)], abs=0.3
    )


def test_a_move_within_a_site_says_from_which_host_to_which_and_blames_no_link() -> None:
    within = move(source="east", target="east", link=None)
    within["members"] = [{**member, "source": "east/h1", "target": "east/h2"} for member in within["members"]]
    page = Page(render_move(within))
    assert "east/h1 → east/h2" in page.text
    assert f"{len(within['members'])} members moved within east" in page.text
    assert "The whole path moved" not in page.text
    assert "something was left over" in Page(render_move({**within, "left_over": ["web1 on east/h1"]})).text

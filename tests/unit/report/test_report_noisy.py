"""The page of a story with noisy neighbours, and its chart."""

from itertools import pairwise
from typing import Any

from entourage.report import render_noisy
from entourage.report.latency_chart import latency_chart

SHARES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def case(name: str, *latencies: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "p999_ms": latencies[3],
        "quantiles": [list(pair) for pair in zip(SHARES, latencies, strict=True)],
    }


QUIET = case("alone", 0.8, 1.0, 1.5, 3.0, 5.0)
NOISY = case("noisy <neighbours>", 2.0, 8.0, 30.0, 90.0, 200.0)
PROMISED = case("promised", 0.7, 0.9, 1.1, 1.5, 2.0)


def test_the_page_says_what_the_promise_is_worth_and_shows_every_case() -> None:
    page = render_noisy({"cases": [QUIET, NOISY, PROMISED], "machine": {"cores": 2}})
    said = "Beside noisy neighbours one of a thousand packets takes longer than 90 ms, with real-time CPU than 1.5 ms"
    assert said in page
    assert "noisy &lt;neighbours&gt;: 200 ms" in page
    assert page.count('class="median"') == 6  # its line, and which it is


def test_no_two_labels_are_over_each_other_and_no_two_lines_look_the_same() -> None:
    cases = [QUIET, NOISY, PROMISED, {**QUIET, "name": "nice"}, {**QUIET, "name": "deadline"}]
    chart = latency_chart(cases, title="Latency")
    assert len({(part[:8], "dasharray" in part) for part in chart.split('<g class="')[1:]}) == len(cases)
    labels = [part.split(">")[0] for part in chart.split("<text ")[1:] if 'class="strong"' in part.split(">")[0]]
    heights = sorted(float(label.split('y="')[1].split('"')[0]) for label in labels)
    assert all(below - above >= 20 for above, below in pairwise(heights))


def test_what_was_not_measured_is_said() -> None:
    assert "not measured" in latency_chart([case("nobody", None, None, None, None, None)], title="Latency")

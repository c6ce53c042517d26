"""Whatever the text, a spec is read into a model or refused with problems that lie in the file."""

import re
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spec_edits import INFRASTRUCTURE, LICENCES, SHOP, SITES

from entourage.model.licences import Licences
from entourage.model.world import Infrastructure, Service
from entourage.spec import Problem, SpecError, parse_infrastructure, parse_licences, parse_service

# How long an example takes is the machine's affair.
UNHURRIED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
YAML_PIECES = st.sampled_from(
    [
        *"a:-[]{},#'\"\\\n\t\r\ufeff\x85~@%",
        ": ",
        "- ",
        "  ",
        "&a ",
        "*a",
        "!t ",
        "!!",
        "? ",
        "|\n",
        ">-\n",
        "%YAML 1.1\n",
        "---\n",
    ]
)


def problems_of(parse: Callable[[], Infrastructure | Service | Licences]) -> tuple[Problem, ...] | None:
    try:
        parse()
    except SpecError as error:
        return error.problems
    return None


def check(text: str, parse: Callable[[], Infrastructure | Service | Licences]) -> None:
    problems = problems_of(parse)
    if problems is None:
        return
    assert problems
    lines = re.split(r"\r\n|\n|\r", text)
    for problem in problems:
        assert 1 <= problem.line <= len(lines), problem
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1, problem
        assert problem.message
        assert problem.hint
        shown = str(problem)
        assert shown.isprintable()
        assert len(shown) < 1000
    assert list(problems) == sorted(problems, key=lambda p: (p.line, p.column))


def read_both(text: str) -> None:
    check(text, lambda: parse_infrastructure(text, file="spec.yaml"))
    check(text, lambda: parse_service(text, file="spec.yaml", infrastructure=INFRASTRUCTURE))


@given(st.text(max_size=200))
@UNHURRIED
def test_random_text(text: str) -> None:
    read_both(text)


@given(st.lists(YAML_PIECES, max_size=40).map("".join))
@UNHURRIED
def test_random_pieces_of_yaml(text: str) -> None:
    read_both(text)


@st.composite
def mutations(draw: st.DrawFn, text: str) -> str:
    """`text` with some lines and characters dropped, doubled, swapped or replaced."""
    for _ in range(draw(st.integers(1, 4))):
        by_line = draw(st.booleans())
        parts = text.splitlines(keepends=True) if by_line else list(text)
        if not parts:
            return text
        at = draw(st.integers(0, len(parts) - 1))
        match draw(st.sampled_from(["drop", "double", "swap", "replace"])):
            case "drop":
                del parts[at]
            case "double":
                parts.insert(at, parts[at])
            case "swap":
                other = draw(st.integers(0, len(parts) - 1))
                parts[at], parts[other] = parts[other], parts[at]
            case _:
                parts[at] = draw(YAML_PIECES | st.text(max_size=5))
        text = "".join(parts)
    return text


@given(mutations(SHOP))
@UNHURRIED
def test_mutated_service(text: str) -> None:
    check(text, lambda: parse_service(text, file="spec.yaml", infrastructure=INFRASTRUCTURE))


@given(mutations(SITES))
@UNHURRIED
def test_mutated_sites(text: str) -> None:
    check(text, lambda: parse_infrastructure(text, file="spec.yaml"))


@given(mutations(LICENCES))
@UNHURRIED
def test_mutated_licences(text: str) -> None:
    check(text, lambda: parse_licences(text, file="spec.yaml", infrastructure=INFRASTRUCTURE))

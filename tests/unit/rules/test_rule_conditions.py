"""Expressions: what they are true of, what they cannot be evaluated for, and which can never be true."""

from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from entourage.rules.condition import TEXTS as LOOKS_INTO
from entourage.rules.condition import ConditionError, read_condition
from entourage.rules.observations import BY_PATH, Kind
from entourage.rules.trying import check
from entourage.rules.values import Value, context

SITES = ("east", "west")
NEVER = "the expression can never be true"
Values = Mapping[str, Value]

TEXTS = ("", "a", "ab", "b", "east", "web1")
NUMBERS = (0, 1, 2, 23, 24, 3.5, 1e3, 10.0, 10.4)
OPEN_TEXTS = ("member.id", "service.id", "member.host")
WHOLE = ("path.crossings", "service.away", "now.hour", "now.weekday")
DOUBLE = ("path.rtt_ms", "service.settled_s")
TRUTHS = ("service.whole", "path.delivered")
CLOSED: Mapping[str, tuple[Value, ...]] = {
    "now.weekday": tuple(range(7)),
    "member.role": ("server", "load-balancer", "firewall", "router", ""),
    "service.site": ("", *SITES),
    "member.site": ("", *SITES),
    "site.state": ("up", "unreachable", "lost", ""),
    "service.whole": (False, True),
    "path.delivered": (False, True),
}
ORDER = st.sampled_from(("==", "!=", "<", "<=", ">", ">="))
UNHURRIED = settings(max_examples=250, deadline=None)


def holds(text: str, values: Values) -> bool:
    return read_condition(text).holds(context(tuple(values), tuple(values.values())))


def problem_of(text: str) -> str | None:
    """What is said of the expression; None if it can be used."""
    try:
        check(read_condition(text), sites=SITES)
    except ConditionError as error:
        return str(error)
    return None


def is_refused_as_never_true(text: str) -> bool:
    problem = problem_of(text)
    assert problem in (None, NEVER)
    return problem == NEVER


def comparisons(operands: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("{0} {1} {2}".format, operands, ORDER, operands)


def joined(atoms: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions of some atoms with &&, || and !."""
    return st.recursive(
        atoms,
        lambda inner: (
            st.builds("({0} && {1})".format, inner, inner)
            | st.builds("({0} || {1})".format, inner, inner)
            | st.builds("!({0})".format, inner)
        ),
        max_leaves=5,
    )


QUOTED = st.sampled_from(TEXTS).map(repr)
LOOKS = st.builds(
    "{0}.{1}({2})".format,
    st.sampled_from(OPEN_TEXTS),
    st.sampled_from(("startsWith", "endsWith", "contains")),
    QUOTED | st.sampled_from(("member.site", "service.id")),
)
OPEN_ATOMS = (
    comparisons(st.sampled_from((*OPEN_TEXTS, "member.site")) | QUOTED)
    | comparisons(st.sampled_from((*WHOLE, *DOUBLE)) | st.sampled_from(NUMBERS).map(str))
    | LOOKS
    | st.sampled_from(TRUTHS)
)


def values_of(name: str) -> st.SearchStrategy[Value]:
    """Any value that the observation can have, more often one near to what expressions compare with."""
    observation = BY_PATH[name]
    match observation.kind:
        case Kind.TRUTH:
            return st.booleans()
        case Kind.TEXT if observation.is_site:
            return st.sampled_from(("", *SITES))
        case Kind.TEXT:
            few = st.lists(st.sampled_from(("a", "b", "c", "web1", "~", "")), max_size=4).map("".join)
            return few | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=4)
        case Kind.WHOLE:
            most = 10**9 if observation.most is None else observation.most
            return st.integers(0, min(30, most)) | st.integers(0, most)
        case Kind.NUMBER:
            return st.floats(0, 30) | st.integers(0, 30).map(float) | st.floats(0, 1e300)


EVERYTHING = st.fixed_dictionaries(
    {name: values_of(name) for name in (*OPEN_TEXTS, *WHOLE, *DOUBLE, *TRUTHS, "member.site")}
)


@given(joined(OPEN_ATOMS), EVERYTHING)
@UNHURRIED
def test_what_is_true_of_some_values_is_never_said_to_be_never_true(text: str, values: Values) -> None:
    assume(holds(text, values))
    assert not is_refused_as_never_true(text)


@pytest.mark.parametrize(
    "text",
    [
        "member.id.startsWith('web') && member.id.endsWith('1')",
        "member.id.startsWith('a') && member.id.endsWith('a') && member.id != 'a'",
        "member.id.contains('a') && member.id.contains('b') && !member.id.contains('ab') && !member.id.contains('ba')",
        "member.id > 'a' && member.id < 'b'",
        "member.id > 'a' && service.id > member.id && service.id < 'ab'",
        "member.site != '' && member.host.startsWith(member.site)",
        "member.host == member.site && member.site != ''",
        "path.rtt_ms > 10.0 && path.rtt_ms < 10.4",
        "path.rtt_ms > 1e3",
        "path.rtt_ms > .5 && path.rtt_ms < .6",
        "path.bytes_per_hour > 1e17 && path.rtt_ms > path.bytes_per_hour && service.settled_s > path.rtt_ms",
        "service.members > 5 && service.away > service.members",
        "service.members > 5 && service.members < 7 && path.rtt_ms > 5.0 && path.rtt_ms < service.members",
        "path.rtt_ms == path.crossings && path.crossings > 5",
        "path.crossings > 0x10",
        "path.crossings > -1",
        "-path.crossings > -5",
        r"member.id == 'we\x62'",
        "member.id == '''web'''",
        "member.id == r'a\\d'",
        "member.id == 'web' // don't ask\n",
        "member.role in ['server', 'router']",
        "member.role == 'server' ? path.crossings > 0 : service.away > 1",
        "now.hour >= 22 || now.hour < 5",
        "now.hour == 23 && now.minute == 59 && now.weekday == 6",
        "path.crossings * 2 > 1000000",  # arithmetic: not decided
        "size(member.id) > 300",
        "service.id == 'shop' && licence.free < 3 && promise.broken == 0",
    ],
)
def test_what_can_be_true_is_let_through(text: str) -> None:
    assert not is_refused_as_never_true(text)


@given(
    joined(comparisons(st.sampled_from(sorted(CLOSED)) | QUOTED | st.sampled_from(("0", "3", "6", "7", "'server'"))))
)
@example("now.weekday == 7")
@UNHURRIED
def test_where_all_values_are_known_never_true_is_said_exactly_when_it_is_so(text: str) -> None:
    names = read_condition(text).names
    combinations = [dict(zip(names, values, strict=True)) for values in product(*(CLOSED[name] for name in names))]
    assume(len(combinations) <= 1000)
    try:
        was_true = [holds(text, values) for values in combinations]
    except ConditionError:
        assume(False)
    is_sometimes_true = any(was_true)
    assert is_refused_as_never_true(text) is not is_sometimes_true


@given(joined(OPEN_ATOMS))
@UNHURRIED
def test_what_contradicts_itself_is_found(text: str) -> None:
    condition = read_condition(text)
    # With more there may be too many combinations of texts to try, and then it is not decided.
    assume(len(condition.names) <= (1 if condition.functions & LOOKS_INTO else 2))
    assume(not condition.functions & LOOKS_INTO or len(condition.texts) <= 3)
    assume(not any(f"({name})" in text for name in ("member.site", "service.id")))
    assert is_refused_as_never_true(f"{text} && !({text})")


@pytest.mark.parametrize(
    "text",
    [
        "false",
        "1 == 2",
        "path.crossings < 0",
        "path.crossings > 1 && path.crossings < 2",
        "path.rtt_ms > 1.0 && path.rtt_ms < 1.0",
        "path.rtt_ms < -0.5",
        "now.hour > 23",
        "now.minute == 60",
        "now.weekday >= 7",
        "-path.crossings > 0",
        "service.whole && !service.whole",
        "member.role == 'sever'",
        "member.role.startsWith('x')",
        "member.site == 'nowhere'",
        "member.site in ['north', 'south']",
        "site.state == 'gone' || host.state == 'gone'",
        "member.id == 'a' && member.id == 'b'",
        "member.id.startsWith('web') && !member.id.startsWith('w')",
        "member.id < ''",
        "member.id > 'b' && member.id < 'a'",
        "member.id == 3",
    ],
)
def test_what_can_never_be_true_is_found(text: str) -> None:
    assert is_refused_as_never_true(text)


def test_without_known_sites_any_name_may_be_one() -> None:
    check(read_condition("member.site == 'nowhere'"))


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("10 / path.crossings > 1", {"path.crossings": 0}, "10 / path.crossings > 1: divides by zero"),
        ("10 % path.crossings > 1", {"path.crossings": 0}, "10 % path.crossings > 1: divides by zero"),
        ("path.crossings", {"path.crossings": 2}, "path.crossings: is 2, neither true nor false"),
        ("member.id", {"member.id": "web1"}, "member.id: is 'web1', neither true nor false"),
        (
            "path.crossings > 'a'",
            {"path.crossings": 2},
            "path.crossings > 'a': No such overload: the operation is not defined for the given operand types",
        ),
        ("path.crossings > 1", {}, "path.crossings > 1: "),
        (
            "path.crossings * 9223372036854775807 > 1",
            {"path.crossings": 2},
            "path.crossings * 9223372036854775807 > 1: ",
        ),
        ("int(member.id) > 3", {"member.id": ""}, "int(member.id) > 3: Function 'int' error"),
        ("member.id.matches('[')", {"member.id": ""}, "member.id.matches('['): Function 'matches' error"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_a_sentence(text: str, values: Values, message: str) -> None:
    with pytest.raises(ConditionError) as told:
        holds(text, values)
    assert str(told.value).startswith(message)
    assert "\n" not in str(told.value)


@given(st.text(max_size=60))
@UNHURRIED
def test_any_text_is_an_expression_or_a_condition_error(text: str) -> None:
    assert problem_of(text) != ""


PIECES = st.sampled_from(
    ["path.crossings", "member.id", "now.hour", "(", ")", "[", "]", "{", "}", "&&", "||", "!", "-", "==", "<", ">=",
     "+", "/", "%", "?", ":", ".", ",", "'a'", '"b"', "'", "r'", "'''", "b'x'", "//", "\n", "0", "1.5", "1e9", "0x1",
     "1u", "in", "null", "true", "size", ".matches", ".contains", ".map", "has", "string", "double", "x"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map(" ".join) | st.lists(PIECES, max_size=12).map("".join))
@settings(max_examples=500, deadline=None)
def test_any_pieces_of_expressions_are_an_expression_or_a_condition_error(text: str) -> None:
    assert problem_of(text) != ""


def test_what_an_expression_depends_on_is_known() -> None:
    condition = read_condition(
        "member . role == 'path.rtt_ms' && member.site.startsWith('w') || now.hour > 3 // host.id"
    )
    assert condition.names == ("member.role", "member.site", "now.hour")


def test_it_is_true_of_what_it_says() -> None:
    text = "member.role == 'server' && path.crossings > 1"
    assert holds(text, {"member.role": "server", "path.crossings": 2})
    assert not holds(text, {"member.role": "router", "path.crossings": 2})
    assert not holds(text, {"member.role": "server", "path.crossings": 1})

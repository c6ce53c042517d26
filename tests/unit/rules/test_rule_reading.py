"""Rule files: what a good one says, and of a bad one every mistake with its place and a hint."""

import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rules_world import INFRASTRUCTURE

from entourage.model.ids import ServiceId
from entourage.rules.reading import parse_rules
from entourage.rules.rule import Act, Action, Event, Limit, RuleSet, Webhook, Window
from entourage.spec import Problem, SpecError

WINDOW_HINT = "write it like mon-fri 22:00-05:00, or 22:00-05:00 for every day"
AT_HINT = "write it like sat 22:00, or 22:00 for every day"
NO_VALUES = "no values of what it names make it true"
REFERENCE = "see docs/reference/rules.md for what there is"
CEL = "see https://cel.dev for CEL"
LOOPS = "compare with `in`"
FUNCTIONS = "there are contains, double, endsWith, int, matches, size, startsWith, string, and `in`"
EVERY_DAY = frozenset(range(7))
GOOD = """\
timezone: Europe/Berlin
webhooks:
  ops: {url: 'https://ops.example.net/hook', secret-file: /etc/entourage/ops.secret}
  chat: {url: 'http://chat.example.net'}
commands:
  page: [/usr/local/bin/page-oncall, --now]
  beep: /usr/bin/beep
rules:
  follow-servers:
    when: member-moved
    if: member.role == 'server' && path.rtt_ms > 1.5
    do: follow
    hold: 5 s
    within: [mon-fri 22:00-05:00, "sat,sun 9:30-17:00"]
    limit: {at-once: 1, per-hour: 4}
    for: [shop, mail]
  home: {when: member-moved, do: bring-back, for: shop, hold: 2 min}
  leave: {when: host-maintenance, do: evacuate, to: west, within: 0:00-23:59}
  nightly: {when: schedule, at: fri-sun 23:55, do: evacuate}
  daily: {when: schedule, at: "6:00", do: notify, webhook: ops}
  freeze: {when: always, if: now.hour < 6, do: refuse}
  page: {when: site-lost, do: run, command: page, limit: {per-hour: 2}}
"""
Said = tuple[str, str, str]  # "line:column", message, hint


def parsed(text: str) -> RuleSet:
    services = frozenset({ServiceId("shop"), ServiceId("mail")})
    return parse_rules(text, file="rules.yaml", infrastructure=INFRASTRUCTURE, services=services)


def problems(text: str) -> list[Said]:
    with pytest.raises(SpecError) as told:
        parsed(text)
    assert all(problem.file == "rules.yaml" for problem in told.value.problems)
    return [(f"{p.line}:{p.column}", p.message, p.hint) for p in told.value.problems]


def of_rule(body: str) -> list[Said]:
    """What is said of a rule `r` written on the second line, from column 3; its body begins in column 7."""
    return problems(f"rules:\n  r: {{{body}}}\n")


def of_expression(expression: str) -> list[Said]:
    return problems(f"rules:\n  r:\n    when: member-moved\n    do: follow\n    if: |-\n      {expression}\n")


def test_a_good_file_is_read_as_it_is_written() -> None:
    found = parsed(GOOD)
    assert found.zone == ZoneInfo("Europe/Berlin")
    assert found.webhooks == {
        "ops": Webhook(url="https://ops.example.net/hook", secret_file="/etc/entourage/ops.secret"),
        "chat": Webhook(url="http://chat.example.net"),
    }
    assert found.commands == {"page": ("/usr/local/bin/page-oncall", "--now"), "beep": ("/usr/bin/beep",)}
    follow, home, leave, nightly, daily, freeze, page = found.rules
    assert (follow.name, follow.line, follow.when, follow.do) == (
        "follow-servers", 9, Event.MEMBER_MOVED, Action(act=Act.FOLLOW),
    )  # fmt: skip
    assert follow.condition is not None
    assert follow.condition.text == "member.role == 'server' && path.rtt_ms > 1.5"
    assert follow.hold_s == 5.0
    assert follow.within == (
        Window(days=frozenset(range(5)), start=22 * 60, end=5 * 60),
        Window(days=frozenset({5, 6}), start=9 * 60 + 30, end=17 * 60),
    )
    assert follow.limit == Limit(at_once=1, per_hour=4)
    assert follow.services == frozenset({"shop", "mail"})
    assert (home.do.act, home.services, home.hold_s, home.within) == (Act.BRING_BACK, frozenset({"shop"}), 120.0, ())
    assert (str(leave.do), leave.services, leave.limit) == ("evacuate to west", None, Limit())
    assert leave.within == (Window(days=EVERY_DAY, start=0, end=23 * 60 + 59),)
    assert nightly.at == Window(days=frozenset({4, 5, 6}), start=23 * 60 + 55, end=5)
    assert nightly.within == ()
    assert daily.at == Window(days=EVERY_DAY, start=360, end=370)
    assert str(daily.do) == "notify ops"
    assert (freeze.do.act, freeze.when, freeze.condition is None) == (Act.REFUSE, Event.ALWAYS, False)
    assert (str(page.do), page.limit) == ("run page", Limit(per_hour=2))


def test_without_a_time_zone_times_are_utc() -> None:
    assert parsed("rules:\n  r: {when: site-lost, do: evacuate}\n").zone == ZoneInfo("UTC")


def test_services_need_not_be_known_where_they_are_not_to_be_checked() -> None:
    text = "rules:\n  r: {when: site-lost, do: evacuate, for: anything}\n"
    (rule,) = parse_rules(text, file="rules.yaml", infrastructure=INFRASTRUCTURE).rules
    assert rule.services == frozenset({"anything"})


RULE_LIKE = "{when: member-moved, if: member.role == 'server', do: follow}"
RULES_LIKE = f"{{follow-servers: {RULE_LIKE}}}"
ZONES = "write a name of the time zone database, such as Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ("1:1", "the file is empty", "see examples/ for what a spec looks like")),
        ("- a", ("1:1", "the file must be a mapping, not a list", f"write it like rules: {RULES_LIKE}")),
        ("rules: {}", ("1:8", "there is no rule", f"write at least one: {RULES_LIKE}")),
        ("rules: [r]", ("1:8", "rules must be a mapping, not a list", f"write it like {RULES_LIKE}")),
        ("rule: {}", ("1:1", "unknown key 'rule' in the file", "did you mean 'rules'?")),
        ("timezone: UTC", ("1:1", "missing key 'rules' in the file", f"add rules: {RULES_LIKE}")),
        ("rules:\n  r: 3", ("2:6", "rule 'r' must be a mapping, not a single value", f"write it like {RULE_LIKE}")),
        (
            "timezone: Europe/Belrin\nrules:\n  r: {when: site-lost, do: evacuate}",
            ("1:11", "unknown time zone 'Europe/Belrin'", ZONES),
        ),
        (
            "timezone: ../../etc/passwd\nrules:\n  r: {when: site-lost, do: evacuate}",
            ("1:11", "unknown time zone '../../etc/passwd'", ZONES),
        ),
        (
            "rules:\n  r: {when: site-lost, do: evacuate}\n  r: {when: site-lost, do: evacuate}",
            ("3:3", "duplicate rule 'r', first on line 2", "give every rule a name of its own"),
        ),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_its_place_and_a_hint(text: str, said: Said) -> None:
    assert problems(text) == [said]


def test_a_name_that_is_none_is_told() -> None:
    ((at, message, hint),) = problems("rules:\n  Move!: {when: site-lost, do: evacuate}\n")
    assert (at, message) == ("2:3", "'Move!' is not a name for a rule")
    assert "of a-z, 0-9 and -, a letter first" in hint


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("do: follow", ("2:3", "missing key 'when' in rule 'r'", "add when: member-moved")),
        ("when: site-lost", ("2:3", "missing key 'do' in rule 'r'", "add do: follow")),
        ("when: site-lost, do: refuse, hodl: 5 s", ("2:36", "unknown key 'hodl' in rule 'r'", "did you mean 'hold'?")),
        ("when: member-mvoed, do: follow", ("2:13", "unknown event 'member-mvoed'", "did you mean 'member-moved'?")),
        ("when: site-lost, do: folow", ("2:28", "unknown action 'folow'", "did you mean 'follow'?")),
        ("when: site-lost, do: evacuate, to: wset", ("2:42", "unknown site 'wset'", "did you mean 'west'?")),
        (
            "when: member-moved, do: follow, to: west",
            ("2:39", "follow takes no site", "remove to: where it goes is where the moved member is, or was"),
        ),
        ("when: site-lost, do: evacuate, for: shp", ("2:43", "unknown service 'shp'", "did you mean 'shop'?")),
        ("when: site-lost, do: evacuate, for: [mail, x]", ("2:50", "unknown service 'x'", "use one of mail, shop")),
        ("when: site-lost, do: evacuate, for: {a: b}", ("2:43", "for must be a list of words", "write it like [shop]")),
        ("when: site-lost, do: notify", ("2:3", "rule 'r' does not say which webhook", "define one under webhooks:")),
        ("when: site-lost, do: run", ("2:3", "rule 'r' does not say which command", "define one under commands:")),
        ("when: site-lost, do: notify, webhook: ops", ("2:45", "unknown webhook 'ops'", "none is defined")),
        ("when: site-lost, do: run, command: page", ("2:42", "unknown command 'page'", "none is defined")),
        ("when: site-lost, do: evacuate, webhook: ops", ("2:38", "evacuate takes no webhook", "remove webhook:")),
        (
            "when: always, do: evacuate",
            ("2:3", "rule 'r' is always true", "add if: what must be observed, such as path.crossings > 0"),
        ),
        ("when: always, do: evacuate, if: ''", ("2:39", "if has no value", "write it like member.role == 'server'")),
        (
            "when: always, do: evacuate, if: [a]",
            ("2:39", "if must be a single value, not a list", "write it like member.role == 'server'"),
        ),
        ("when: site-lost, do: evacuate, hold: 5", ("2:44", "'5' has no unit", "add one of us, µs, ms, s, min: 5 s")),
        (
            "when: site-lost, do: evacuate, hold: -5 s",
            ("2:44", "'-5 s' is negative", "write a positive quantity, such as 5 s"),
        ),
        (
            "when: site-lost, do: evacuate, limit: 3",
            ("2:45", "limit must be a mapping, not a single value", "write it like {at-once: 1, per-hour: 4}"),
        ),
        (
            "when: site-lost, do: evacuate, limit: {per-day: 3}",
            ("2:46", "unknown key 'per-day' in the limit of rule 'r'", "use one of at-once, per-hour"),
        ),
        (
            "when: site-lost, do: evacuate, limit: {at-once: 0}",
            ("2:55", "'0' is not a number", "write it like at-once: 1"),
        ),
        (
            "when: site-lost, do: evacuate, limit: {per-hour: many}",
            ("2:56", "'many' is not a number", "write it like per-hour: 4"),
        ),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_told_with_its_place_and_a_hint(body: str, said: Said) -> None:
    assert of_rule(body) == [said]


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("22:00", "'22:00' is not a window"),
        ("tonight", "'tonight' is not a window"),
        ("22:00-22:00", "'22:00-22:00' is not a window: no such hours"),
        ("24:00-05:00", "'24:00-05:00' is not a window: no such hours"),
        ("mon 22:00-22:60", "'mon 22:00-22:60' is not a window: no such hours"),
        ("mon--fri 1:00-2:00", "unknown day '-fri'"),
        ("fir 1:00-2:00", "unknown day 'fir'"),
        ("monday 1:00-2:00", "unknown day 'monday'"),
        ("mon,,tue 1:00-2:00", "unknown day ''"),
    ],
)
def test_a_wrong_window_is_told(window: str, said: str) -> None:
    day_hints = {"'-fri'": "did you mean 'fri'?", "'fir'": "did you mean 'fri'?", "'monday'": "did you mean 'mon'?"}
    use = "use one of mon, tue, wed, thu, fri, sat, sun"
    hint = day_hints.get(said.removeprefix("unknown day "), use) if "day" in said else WINDOW_HINT
    assert of_rule(f'when: site-lost, do: evacuate, within: [1:00-2:00, "{window}"]') == [("2:58", said, hint)]


def test_windows_that_are_no_words_are_told() -> None:
    hint = "write it like [mon-fri 22:00-05:00]"
    for node in ("{}", "[]"):
        assert of_rule(f"when: site-lost, do: evacuate, within: {node}") == [
            ("2:46", "within must be a list of words", hint)
        ]
    assert of_rule("when: site-lost, do: evacuate, within: [[a]]") == [
        ("2:47", "within must be a single value, not a list", hint)
    ]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("when: schedule, do: evacuate", ("2:3", "rule 'r' does not say at what time", "add at: sat 22:00")),
        (
            "when: site-lost, do: evacuate, at: 22:00",
            ("2:38", "site-lost takes no time", "write within: for hours, or when: schedule"),
        ),
        ("when: schedule, do: evacuate, at: 25:00", ("2:41", "'25:00' is not a time", AT_HINT)),
        ("when: schedule, do: evacuate, at: 22:00-23:00", ("2:41", "'22:00-23:00' is not a time", AT_HINT)),
        ("when: schedule, do: evacuate, at: noon", ("2:41", "'noon' is not a time", AT_HINT)),
        (
            "when: schedule, do: evacuate, at: xyz 1:00",
            ("2:41", "unknown day 'xyz'", "use one of mon, tue, wed, thu, fri, sat, sun"),
        ),
    ],
)
def test_a_wrong_time_is_told(rest: str, said: Said) -> None:
    assert of_rule(rest) == [said]


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        # names
        ("member.sit == 'west'", "unknown observation 'member.sit'", "did you mean 'member.site'?"),
        ("member == 'west'", "unknown observation 'member'", "did you mean 'member.id'?"),
        ("memmber.site == 'west'", "unknown observation 'memmber.site'", "did you mean 'member.site'?"),
        ("now.day == 3", "unknown observation 'now.day'", "did you mean 'now.weekday'?"),
        (
            "path.zzz == 3",
            "unknown observation 'path.zzz'",
            "use one of path.rtt_ms, path.crossings, path.delivered, path.bytes_per_hour",
        ),
        # types
        ("member.role == 3", "the expression can never be true", NO_VALUES),
        (
            "path.crossings > 'a'",
            "path.crossings > 'a': No such overload: the operation is not defined for the given operand types",
            REFERENCE,
        ),
        (
            "member.role == 'server' && path.crossings > 'a'",
            "member.role == 'server' && path.crossings > 'a': No such overload: the operation is not defined for the "
            "given operand types",
            REFERENCE,
        ),
        ("path.crossings", "path.crossings: is 0, neither true nor false", REFERENCE),
        ("member.site", "member.site: is '', neither true nor false", REFERENCE),
        ("1 + 1", "1 + 1: is 2, neither true nor false", REFERENCE),
        # what goes wrong
        ("path.crossings / 0 > 1", "path.crossings / 0 > 1: divides by zero", REFERENCE),
        ("10 / path.crossings > 1", "10 / path.crossings > 1: divides by zero", REFERENCE),
        ("10 % service.away > 0", "10 % service.away > 0: divides by zero", REFERENCE),
        ("member.site == 'west' || 1 / 0 > 1", "member.site == 'west' || 1 / 0 > 1: divides by zero", REFERENCE),
        # never true
        ("false", "the expression can never be true", NO_VALUES),
        ("1 > 2", "the expression can never be true", NO_VALUES),
        ("path.crossings < 0", "the expression can never be true", NO_VALUES),
        ("path.crossings > 1 && path.crossings < 2", "the expression can never be true", NO_VALUES),
        ("now.hour > 23", "the expression can never be true", NO_VALUES),
        ("member.id == 'a' && member.id == 'b'", "the expression can never be true", NO_VALUES),
        (
            "member.role == 'sever'",
            "the expression can never be true",
            "'sever' is none of firewall, load-balancer, router, server",
        ),
        (
            "site.state == 'gone'",
            "the expression can never be true",
            "'gone' is none of lost, unreachable, up",
        ),
        ("member.site == 'north'", "the expression can never be true", "'north' is none of east, south, west"),
        # what is not evaluated
        ("['a', 'b'].exists(x, x == member.id)", "loops over lists are not evaluated: exists()", LOOPS),
        ("[1].map(x, x * 2) == [2]", "loops over lists are not evaluated: map()", LOOPS),
        ("service.members.all(x, x > 1)", "loops over lists are not evaluated: all()", LOOPS),
        (
            "member['site'] == 'west'",
            "square brackets are not evaluated",
            "write a name with a dot, such as member.site",
        ),
        ("lower(member.id) == 'a'", "lower() is not evaluated in rules", FUNCTIONS),
        ("member.id.lower() == 'a'", "lower() is not evaluated in rules", FUNCTIONS),
        ("timestamp('2020-01-01T00:00:00Z') == now.hour", "timestamp() is not evaluated in rules", FUNCTIONS),
        # syntax
        ("path.crossings >", "not an expression: at its character 17: mismatched input '<EOF>'", CEL),
        ("(path.crossings > 1", "not an expression: at its character 20: missing ')' at '<EOF>'", CEL),
        ("path.crossings >> 1", "not an expression: at its character 17: extraneous input '>'", CEL),
        ("path.crossings > 99999999999999999999", "not an expression: at its character 18: invalid int literal", CEL),
    ],
)  # fmt: skip
def test_a_wrong_expression_is_told_with_its_reason(expression: str, message: str, hint: str) -> None:
    assert of_expression(expression) == [("5:9", message, hint)]


def test_what_is_told_of_an_expression_is_one_line_of_printable_text() -> None:
    ((_, message, _),) = problems('rules: {r: {when: site-lost, do: refuse, if: "1 +\\n1 == \\e[2J"}}')
    assert message == "not an expression: at its character 6: token recognition error at: '\\x1b'"
    ((_, message, _),) = problems('rules: {r: {when: site-lost, do: refuse, if: "1 /\\n0 == 1"}}')
    assert message == "1 /\\n0 == 1: divides by zero"


def test_an_expression_that_is_too_long_is_told() -> None:
    longest = "member.id == '" + "a" * 485 + "'"
    assert len(longest) == 500
    assert parsed(f'rules:\n  r: {{when: member-moved, do: follow, if: "{longest}"}}').rules
    assert of_expression(longest.replace("a'", "aa'")) == [
        ("5:9", "the expression has 501 characters, at most 500 are evaluated", "split it into several rules")
    ]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
webhooks:
  ops: {url: ftp://ops, secret-file: ops.secret}
  none: {}
  word: x
commands:
  page: [bin/page]
  empty: []
  list: [/bin/a, [b]]
timezone: Mars
rules:
  one: {when: site-lost, do: notify, webhook: opps}
  two: {when: site-losst, do: run, command: pag, within: never}
  three: {if: path.crossing > 0, when: always, do: follow, limit: {at-once: -1}}
  four: {when: always, do: evacuate, to: nowhere, hold: long}
"""
    hook = "{url: 'https://ops.example.net/hook'}"
    words = "write it like [/usr/local/bin/page-oncall]"
    found = problems(text)
    assert found[:-1] == [
        ("2:14", "'ftp://ops' is not an address", "it begins with https://"),
        ("2:38", "'ops.secret' is not an absolute path", "begin it with /"),
        ("3:3", "missing key 'url' in webhook 'none'", "add url: https://ops.example.net/hook"),
        ("4:9", "webhook 'word' must be a mapping, not a single value", f"write it like {hook}"),
        ("6:10", "'bin/page' is not an absolute path", "begin it with /"),
        ("7:10", "command 'empty' must be a list of words", words),
        ("8:18", "command 'list' must be a single value, not a list", words),
        ("9:11", "unknown time zone 'Mars'", ZONES),
        ("11:47", "unknown webhook 'opps'", "did you mean 'ops'?"),
        ("12:15", "unknown event 'site-losst'", "did you mean 'site-lost'?"),
        ("12:45", "unknown command 'pag'", "did you mean 'page'?"),
        ("13:15", "unknown observation 'path.crossing'", "did you mean 'path.crossings'?"),
        ("13:77", "'-1' is not a number", "write it like at-once: 1"),
        ("14:3", "rule 'four' is always true", "add if: what must be observed, such as path.crossings > 0"),
        ("14:42", "unknown site 'nowhere'", "use one of east, west, south"),
    ]
    assert found[-1][:2] == ("14:57", "'long' is not a quantity")


# Whatever the text.

UNHURRIED = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEYS = st.sampled_from(
    ["rules", "timezone", "webhooks", "commands", "when", "do", "if", "to", "for", "within", "at", "limit", "hold",
     "webhook", "command", "at-once", "per-hour", "url", "secret-file", "r", "ops", "", "~", "[a]"]
)  # fmt: skip
SCALARS = st.sampled_from(
    ["always", "schedule", "member-moved", "follow", "evacuate", "notify", "run", "west", "shop", "5 s", "22:00-5:00",
     "mon 22:00", "UTC", "/bin/page", "https://x", "3", "''", "~", "path.crossings > 0", "'1 / 0 > 1'", "ops", "*a",
     "&a b", "!t x", "1" * 600]
) | st.text(max_size=8).map(repr)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(KEYS, inner), max_size=5).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"
        )
    ),
    max_leaves=12,
)


def problems_or_none(text: str) -> tuple[Problem, ...]:
    try:
        parsed(text)
    except SpecError as error:
        assert error.problems  # noqa: PT017 - whether there is an error is open
        return error.problems
    return ()


def check(text: str) -> None:
    """It is read, or refused with problems that lie in the file."""
    found = problems_or_none(text)
    lines = re.split(r"\r\n|\n|\r", text)
    for problem in found:
        assert 1 <= problem.line <= len(lines), problem
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1, problem
        assert problem.message, problem
        assert problem.hint, problem
        assert str(problem).isprintable(), problem
        assert len(str(problem)) < 1500, problem
    assert list(found) == sorted(found, key=lambda p: (p.line, p.column))


@given(st.text(max_size=200))
@UNHURRIED
def test_any_text_is_rules_or_a_spec_error(text: str) -> None:
    check(text)


@given(TREES)
@UNHURRIED
def test_any_tree_is_rules_or_a_spec_error(text: str) -> None:
    check(text)
    check(f"rules: {{r: {text}}}")


@given(st.lists(st.tuples(KEYS, TREES), max_size=6))
@UNHURRIED
def test_any_rule_is_a_rule_or_a_spec_error(entries: list[tuple[str, str]]) -> None:
    body = ", ".join(f"{key}: {value}" for key, value in {"when": "schedule", "do": "run", **dict(entries)}.items())
    check(f"commands: {{page: /bin/page}}\nrules: {{r: {{{body}}}}}")


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 40), st.text(max_size=4))
@UNHURRIED
def test_a_good_file_with_a_part_replaced_is_rules_or_a_spec_error(at: int, length: int, other: str) -> None:
    check(GOOD[:at] + other + GOOD[at + length :])


@given(st.text(max_size=30))
@UNHURRIED
def test_any_expression_is_one_or_a_spec_error(expression: str) -> None:
    check(f"rules: {{r: {{when: always, do: follow, if: {expression!r}}}}}")

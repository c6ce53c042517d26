"""Rule files: YAML to rules, every mistake at once with its line, column and a hint."""

import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from entourage.model.ids import ServiceId, SiteId
from entourage.model.units import DURATION
from entourage.model.world import Infrastructure
from entourage.rules.condition import Condition, ConditionError, read_condition
from entourage.rules.rule import Act, Action, Event, Limit, Rule, RuleSet, Webhook, Window
from entourage.rules.trying import check
from entourage.spec.fields import Fields, as_mapping, as_scalar
from entourage.spec.nodes import Mapping, Node, Scalar, Sequence, read_document
from entourage.spec.problems import Problems, quote, suggest
from entourage.spec.values import read_choice

_RULE_EXAMPLE = "{when: member-moved, if: member.role == 'server', do: follow}"
_RULE = {"when": "member-moved", "do": "follow"}
_RULE_OPTIONAL = {
    "for": "[shop]",
    "if": "member.role == 'server'",
    "to": "west",
    "webhook": "ops",
    "command": "page",
    "within": "mon-fri 22:00-05:00",
    "at": "sat 22:00",
    "limit": "{at-once: 1, per-hour: 4}",
    "hold": "5 s",
    "ingress": "first",
    "disks": "may-be-empty",
}
_LIMIT = {"at-once": "1", "per-hour": "4"}
_TOP = {"rules": f"{{follow-servers: {_RULE_EXAMPLE}}}"}
_TOP_OPTIONAL = {
    "timezone": "Europe/Berlin",
    "webhooks": "{ops: {url: 'https://ops.example.net/hook', secret-file: /etc/entourage/ops.secret}}",
    "commands": "{page: [/usr/local/bin/page-oncall]}",
}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(?:([a-z,-]+)\s+)?(\d{1,2}):(\d{2})(?:\s*-\s*(\d{1,2}):(\d{2}))?")
_WINDOW_HINT = "write it like mon-fri 22:00-05:00, or 22:00-05:00 for every day"
_AT_HINT = "write it like sat 22:00, or 22:00 for every day"
_AT_LASTS_MIN = 10  # a schedule that was missed for so long is not made up for
_NEEDS = {Act.NOTIFY: "webhook", Act.RUN: "command"}
_TAKES_SITE = (Act.EVACUATE, Act.FAIL_OVER)
_INGRESS, _DISKS = ("last", "first"), ("from-replica", "may-be-empty")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_COUNT = re.compile(r"[1-9]\d{0,5}")


def parse_rules(
    text: str, *, file: str, infrastructure: Infrastructure, services: frozenset[ServiceId] | None = None
) -> RuleSet:
    """The rules in `text`, checked against what there is. SpecError with every problem; `file` is the name in messages.

    `services`: the names of those that a rule may be for; None if that is not to be checked.
    """
    problems = Problems(file)
    root = read_document(text, problems)
    found = None if root is None else _Reader(infrastructure, services, problems).read(root)
    if found is None or problems.count:
        raise problems.error()
    return found


class _Reader:
    def __init__(
        self, infrastructure: Infrastructure, services: frozenset[ServiceId] | None, problems: Problems
    ) -> None:
        self._sites = [site.id for site in infrastructure.sites]
        self._services = services
        self._problems = problems
        self._webhooks: dict[str, Webhook] = {}
        self._commands: dict[str, tuple[str, ...]] = {}

    def read(self, root: Node) -> RuleSet | None:
        top = as_mapping(root, "the file", self._problems, example=f"rules: {_TOP['rules']}")
        if top is None:
            return None
        fields = Fields(top, self._problems, what="the file", required=_TOP, optional=_TOP_OPTIONAL)
        zone = self._zone(fields)
        self._read_webhooks(fields)
        self._read_commands(fields)
        node = fields.mapping("rules")
        if node is None:
            return None
        if not node.entries:
            self._problems.add(node.at, "there is no rule", hint=f"write at least one: {_TOP['rules']}")
        rules = [self._rule(name, value) for name, value in self._named(node, "rule")]
        return RuleSet(
            rules=tuple(rule for rule in rules if rule is not None),
            zone=zone,
            webhooks=self._webhooks,
            commands=self._commands,
        )

    def _named(self, node: Mapping, kind: str) -> Iterator[tuple[Scalar, Node]]:
        """The entries under their names, which may be longer than those of parts of a lab."""
        first: dict[str, int] = {}
        for name, value in node.entries:
            if not _NAME.fullmatch(name.text):
                hint = "use 1 to 40 of a-z, 0-9 and -, a letter first"
                self._problems.add(name.at, f"{quote(name.text)} is not a name for a {kind}", hint=hint)
            if name.text in first:
                message = f"duplicate {kind} {quote(name.text)}, first on line {first[name.text]}"
                self._problems.add(name.at, message, hint=f"give every {kind} a name of its own")
            first.setdefault(name.text, name.at.line)
            yield name, value

    def _zone(self, fields: Fields) -> ZoneInfo:
        scalar = fields.scalar("timezone")
        if scalar is not None:
            try:
                return ZoneInfo(scalar.text)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                hint = "write a name of the time zone database, such as Europe/Berlin"
                self._problems.add(scalar.at, f"unknown time zone {quote(scalar.text)}", hint=hint)
        return ZoneInfo("UTC")

    def _read_webhooks(self, top: Fields) -> None:
        node = top.mapping("webhooks")
        for name, value in self._named(node, "webhook") if node is not None else ():
            what, example = f"webhook {quote(name.text)}", "{url: 'https://ops.example.net/hook'}"
            body = as_mapping(value, what, self._problems, example=example)
            if body is None:
                continue
            fields = Fields(
                body,
                self._problems,
                what=what,
                required={"url": "https://ops.example.net/hook"},
                optional={"secret-file": "/etc/entourage/ops.secret"},
                at=name.at,
            )
            url, secret = fields.scalar("url"), fields.scalar("secret-file")
            if url is not None and not re.fullmatch(r"https?://[^\s/?#]+\S*", url.text):
                self._problems.add(url.at, f"{quote(url.text)} is not an address", hint="it begins with https://")
            if secret is not None:
                self._check_absolute(secret)
            if url is not None:
                self._webhooks[name.text] = Webhook(url=url.text, secret_file=None if secret is None else secret.text)

    def _read_commands(self, top: Fields) -> None:
        node = top.mapping("commands")
        for name, value in self._named(node, "command") if node is not None else ():
            what = f"command {quote(name.text)}"
            words = self._words(value, what, example="[/usr/local/bin/page-oncall]")
            if words:
                self._check_absolute(words[0])
                self._commands[name.text] = tuple(word.text for word in words)

    def _check_absolute(self, path: Scalar) -> None:
        if not path.text.startswith("/"):
            self._problems.add(path.at, f"{quote(path.text)} is not an absolute path", hint="begin it with /")

    def _words(self, node: Node, what: str, *, example: str) -> list[Scalar]:
        """A list of words, or one alone."""
        if isinstance(node, Scalar):
            node = Sequence(at=node.at, items=(node,))
        if not isinstance(node, Sequence) or not node.items:
            self._problems.add(node.at, f"{what} must be a list of words", hint=f"write it like {example}")
            return []
        words = [as_scalar(item, what, self._problems, example=example) for item in node.items]
        return [word for word in words if word is not None]

    def _rule(self, name: Scalar, value: Node) -> Rule | None:
        what = f"rule {quote(name.text)}"
        body = as_mapping(value, what, self._problems, example=_RULE_EXAMPLE)
        if body is None:
            return None
        fields = Fields(body, self._problems, what=what, required=_RULE, optional=_RULE_OPTIONAL, at=name.at)
        when = fields.choice("when", "event", [event.value for event in Event])
        action = self._action(fields, what, name)
        condition = self._condition(fields)
        hold = fields.quantity("hold", DURATION)
        event = None if when is None else Event(when.value)
        at = self._at(fields, event, what, name)
        if action is not None and action.act is Act.FAIL_OVER and event not in (None, Event.SITE_LOST):
            self._problems.add(
                fields.at("do"), "only of a site that is lost something fails over", hint="write when: site-lost"
            )
        if event is Event.ALWAYS and condition is None and not fields.has("if"):
            self._problems.add(
                name.at, f"{what} is always true", hint="add if: what must be observed, such as path.crossings > 0"
            )
        if event is None or action is None:
            return None
        return Rule(
            name=name.text,
            line=name.at.line,
            when=event,
            condition=condition,
            do=action,
            services=self._for(fields),
            within=self._within(fields),
            at=at,
            limit=self._limit(fields, what),
            hold_s=0.0 if hold is None else hold.value / 1000,
        )

    def _action(self, fields: Fields, what: str, name: Scalar) -> Action | None:
        found = fields.choice("do", "action", [act.value for act in Act])
        if found is None:
            return None
        act = Act(found.value)
        for key, known in (("webhook", self._webhooks), ("command", self._commands)):
            wanted = _NEEDS.get(act) == key
            if wanted and not fields.has(key):
                hint = f"add {key}: and one of {', '.join(known)}" if known else f"define one under {key}s:"
                self._problems.add(name.at, f"{what} does not say which {key}", hint=hint)
            elif fields.has(key) and not wanted:
                self._problems.add(fields.at(key), f"{act.value} takes no {key}", hint=f"remove {key}:")
        if fields.has("to") and act not in _TAKES_SITE:
            hint = "remove to: where it goes is where the moved member is, or was"
            self._problems.add(fields.at("to"), f"{act.value} takes no site", hint=hint)
        site = fields.choice("to", "site", [*self._sites])
        needed = _NEEDS.get(act)
        ingress = fields.choice("ingress", "order of the ingress", list(_INGRESS))
        disks = fields.choice("disks", "choice of disks", list(_DISKS))
        for key in ("ingress", "disks"):
            if fields.has(key) and act is not Act.FAIL_OVER:
                hint = f"remove {key}: it is for fail-over"
                self._problems.add(fields.at(key), f"{act.value} takes no {key}", hint=hint)
        if needed is None:
            return Action(
                act=act,
                to=None if site is None else SiteId(site.value),
                ingress_first=ingress is not None and ingress.value == _INGRESS[1],
                without_data=disks is not None and disks.value == _DISKS[1],
            )
        named_one = fields.choice(needed, needed, list(self._webhooks if needed == "webhook" else self._commands))
        return None if named_one is None else Action(act=act, name=named_one.value)

    def _condition(self, fields: Fields) -> Condition | None:
        scalar = fields.scalar("if")
        if scalar is None:
            return None
        try:
            condition = read_condition(scalar.text)
            check(condition, sites=self._sites)
        except ConditionError as error:
            self._problems.add(
                scalar.at, str(error), hint=error.hint or "see docs/reference/rules.md for what there is"
            )
            return None
        return condition

    def _for(self, fields: Fields) -> frozenset[ServiceId] | None:
        node = fields.node("for")
        if node is None:
            return None
        words = self._words(node, "for", example=_RULE_OPTIONAL["for"])
        if self._services is not None:
            for word in words:
                read_choice(word, "service", sorted(self._services), self._problems)
        return frozenset(ServiceId(word.text) for word in words)

    def _within(self, fields: Fields) -> tuple[Window, ...]:
        node = fields.node("within")
        if node is None:
            return ()
        words = self._words(node, "within", example=f"[{_RULE_OPTIONAL['within']}]")
        return tuple(window for word in words if (window := self._window(word)) is not None)

    def _window(self, word: Scalar) -> Window | None:
        found = _WINDOW.fullmatch(word.text.strip().lower())
        days = None if found is None else self._days(found[1] or "mon-sun", word)
        if found is None or found[4] is None or days is None:
            if found is None or found[4] is None:
                self._problems.add(word.at, f"{quote(word.text)} is not a window", hint=_WINDOW_HINT)
            return None
        start, end = _minutes(found[2], found[3]), _minutes(found[4], found[5])
        if start is None or end is None or start == end:
            self._problems.add(word.at, f"{quote(word.text)} is not a window: no such hours", hint=_WINDOW_HINT)
            return None
        return Window(days=days, start=start, end=end)

    def _at(self, fields: Fields, event: Event | None, what: str, name: Scalar) -> Window | None:
        scalar = fields.scalar("at")
        if scalar is None:
            if event is Event.SCHEDULE and not fields.has("at"):
                self._problems.add(name.at, f"{what} does not say at what time", hint=f"add at: {_RULE_OPTIONAL['at']}")
            return None
        if event is not Event.SCHEDULE and event is not None:
            self._problems.add(
                fields.at("at"), f"{event.value} takes no time", hint="write within: for hours, or when: schedule"
            )
            return None
        found = _WINDOW.fullmatch(scalar.text.strip().lower())
        start = None if found is None or found[4] is not None else _minutes(found[2], found[3])
        days = None if found is None else self._days(found[1] or "mon-sun", scalar)
        if start is None or days is None:
            if start is None:
                self._problems.add(scalar.at, f"{quote(scalar.text)} is not a time", hint=_AT_HINT)
            return None
        return Window(days=days, start=start, end=(start + _AT_LASTS_MIN) % 1440)

    def _days(self, text: str, word: Scalar) -> frozenset[int] | None:
        days: set[int] = set()
        for part in text.split(","):
            first, _, last = part.partition("-")
            for day in (first, last or first):
                if day not in _DAYS:
                    self._problems.add(word.at, f"unknown day {quote(day)}", hint=suggest(day, list(_DAYS)))
                    return None
            number, end = _DAYS.index(first), _DAYS.index(last or first)
            while number != end:
                days.add(number)
                number = (number + 1) % 7
            days.add(end)
        return frozenset(days)

    def _limit(self, fields: Fields, what: str) -> Limit:
        node = fields.mapping("limit")
        if node is None:
            return Limit()
        inner = Fields(node, self._problems, what=f"the limit of {what}", required={}, optional=_LIMIT)
        return Limit(at_once=self._count(inner, "at-once"), per_hour=self._count(inner, "per-hour"))

    def _count(self, fields: Fields, key: str) -> int | None:
        scalar = fields.scalar(key)
        if scalar is None:
            return None
        if not _COUNT.fullmatch(scalar.text):
            self._problems.add(
                scalar.at, f"{quote(scalar.text)} is not a number", hint=f"write it like {key}: {_LIMIT[key]}"
            )
            return None
        return int(scalar.text)


def _minutes(hour: str, minute: str) -> int | None:
    """Minutes after midnight; None if there is no such time."""
    return int(hour) * 60 + int(minute) if int(hour) < 24 and int(minute) < 60 else None

"""A rule as it was read: when, if, do, and what keeps it from doing too much or too soon."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from entourage.model.ids import ServiceId, SiteId
from entourage.rules.condition import Condition


class Event(Enum):
    """What makes a rule look at a service. Each lasts for as long as it is so."""

    MEMBER_MOVED = "member-moved"  # somebody else than Entourage put a member on another host
    SITE_LOST = "site-lost"  # no vantage point hears of a site that the service is at, and it has given up its right
    HOST_LOST = "host-lost"  # a host that a member is on does not answer, its site does
    HOST_MAINTENANCE = "host-maintenance"  # somebody said that a host that a member is on is to be left
    LICENCE_VIOLATED = "licence-violated"  # more copies than licences, or at the wrong place
    PROMISE_BROKEN = "promise-broken"  # a member has not the real-time CPU that it was promised
    SCHEDULE = "schedule"  # it is the time that the rule's `at` says
    ALWAYS = "always"  # at each look: what is observed decides alone


class Act(Enum):
    """What a rule asks for."""

    FOLLOW = "follow"  # the rest of the group goes to the site where the moved member is
    BRING_BACK = "bring-back"  # what was moved goes back to where the rest of its group is
    EVACUATE = "evacuate"  # of a host, its members go to others of the site; else the whole group to another site
    FAIL_OVER = "fail-over"  # the group is started at another site: its own is lost
    REFUSE = "refuse"  # no other rule may move the service
    NOTIFY = "notify"  # a webhook is told
    RUN = "run"  # an approved command is run

    @property
    def moves(self) -> bool:
        """Whether it changes where members are."""
        return self in (Act.FOLLOW, Act.BRING_BACK, Act.EVACUATE, Act.FAIL_OVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An act with what it needs: `to` a site, for moves that may choose one; `name` of a webhook or a command.

    Of a failover: `ingress_first`, and `without_data` for disks of which there is no replica.
    """

    act: Act
    to: SiteId | None = None
    name: str | None = None
    ingress_first: bool = False
    without_data: bool = False

    def __str__(self) -> str:
        words = (self.act.value, self.name or "", f"to {self.to}" if self.to else "")
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hours of some days: from `start` to `end`, in minutes after midnight; `end` before `start` is the next day's.

    `days`: 0 is Monday; the day on which the window begins.
    """

    days: frozenset[int]
    start: int
    end: int

    def has(self, moment: datetime) -> bool:
        """Whether the (local) moment is in it."""
        minute = moment.hour * 60 + moment.minute
        if self.start < self.end:
            return moment.weekday() in self.days and self.start <= minute < self.end
        began_today = moment.weekday() in self.days and minute >= self.start
        return began_today or ((moment.weekday() - 1) % 7 in self.days and minute < self.end)

    def opens(self, moment: datetime) -> datetime:
        """When it opens next after the (local) moment."""
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        for ahead in range(8):
            begins = midnight + timedelta(days=ahead, minutes=self.start)
            if begins.weekday() in self.days and begins > moment:
                return begins
        raise AssertionError("a window has at least one day")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How often a rule may act: on so many services at once, and so often in an hour; None for any number."""

    at_once: int | None = None
    per_hour: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `line` is where it stands in its file; `services` None for all; `hold_s` seconds.

    `within` empty: at any time. `at`: minutes after midnight and the days on which `when: schedule` begins.
    """

    name: str
    line: int
    when: Event
    condition: Condition | None
    do: Action
    services: frozenset[ServiceId] | None = None
    within: tuple[Window, ...] = ()
    at: Window | None = None
    limit: Limit = field(default_factory=Limit)
    hold_s: float = 0.0

    def is_for(self, service: ServiceId) -> bool:
        """Whether it looks at that service."""
        return self.services is None or service in self.services


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Whom to tell: an address, and the file of the secret that messages are signed with."""

    url: str
    secret_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """The rules in the order of their file: an earlier one goes before a later one. `zone` of windows and schedules."""

    rules: tuple[Rule, ...]
    zone: ZoneInfo
    webhooks: Mapping[str, Webhook] = field(default_factory=dict)
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

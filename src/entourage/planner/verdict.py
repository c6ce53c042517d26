"""Verdicts in the manner of kube-scheduler's: a code, reasons, who said it, and whether anything could help."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Outlook(Enum):
    """What whoever asked may do about a verdict."""

    READY = "ready"  # go ahead
    NOTHING_TO_DO = "nothing-to-do"  # what was asked for is so already
    FIXABLE = "fixable"  # the same request may pass once something else has changed
    HOPELESS = "hopeless"  # this request will never pass; ask for something else


class Code(Enum):
    """What a planner may say of a request."""

    OK = "ok"
    ALREADY_THERE = "already-there"  # every member asked for, and the ingress, is at the target
    UNKNOWN_SERVICE = "unknown-service"  # the snapshot is of another service
    UNKNOWN_SITE = "unknown-site"  # the target is no site
    UNKNOWN_MEMBER = "unknown-member"  # the service has no such member, or none was named
    NO_LINK = "no-link"  # no inter-site link joins a source and the target
    PATH_BROKEN = "path-broken"  # requests that arrive now would not arrive after the move
    INGRESS_ELSEWHERE = "ingress-elsewhere"  # the members are at the target, the ingress is not: no move of members
    NOT_RUNNING = "not-running"  # a member asked for runs nowhere
    ELSEWHERE = "elsewhere"  # part of a service that is to fail over runs at a third site
    NO_REPLICA = "no-replica"  # a disk of a lost site has no copy at the target
    RULE = "rule"  # a rule that is in force forbids it just now
    NO_ROOM = "no-room"  # no placement at the target was found
    LATENCY = "latency"  # the service's promised latency would not be kept
    LICENCE = "licence"  # there are too few licences while both copies of a member exist, or they exist for too long
    LINK_TOO_SLOW = "link-too-slow"  # members dirty memory as fast as the link can carry it, or faster
    CAPABILITY_MISSING = "capability-missing"  # a member's driver cannot do what the strategy needs

    @property
    def outlook(self) -> Outlook:
        """What whoever asked may do about it."""
        return _OUTLOOKS[self]


_OUTLOOKS: Mapping[Code, Outlook] = {
    Code.OK: Outlook.READY,
    Code.ALREADY_THERE: Outlook.NOTHING_TO_DO,
    Code.UNKNOWN_SERVICE: Outlook.HOPELESS,
    Code.UNKNOWN_SITE: Outlook.HOPELESS,
    Code.UNKNOWN_MEMBER: Outlook.HOPELESS,
    Code.NO_LINK: Outlook.HOPELESS,
    Code.PATH_BROKEN: Outlook.HOPELESS,
    Code.INGRESS_ELSEWHERE: Outlook.FIXABLE,
    Code.NOT_RUNNING: Outlook.FIXABLE,
    Code.ELSEWHERE: Outlook.FIXABLE,
    Code.NO_REPLICA: Outlook.FIXABLE,
    Code.RULE: Outlook.FIXABLE,
    Code.NO_ROOM: Outlook.FIXABLE,
    Code.LATENCY: Outlook.FIXABLE,
    Code.LICENCE: Outlook.FIXABLE,
    Code.LINK_TOO_SLOW: Outlook.FIXABLE,
    Code.CAPABILITY_MISSING: Outlook.FIXABLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A code, the reasons for it (sentences with names and numbers), and the check that said it."""

    code: Code
    said_by: str
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The verdict as it stands in plans."""
        return {
            "code": self.code.value,
            "outlook": self.code.outlook.value,
            "said_by": self.said_by,
            "reasons": list(self.reasons),
        }

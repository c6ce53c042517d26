"""What planning results in: a plan, or a refusal with everything that stands against the request."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from entourage.model.ids import HostId, MemberId, ServiceId, SiteId
from entourage.planner.cost import PathChange, SegmentStretch
from entourage.planner.figures import Forecast
from entourage.planner.request import Strategy
from entourage.planner.steps import Step
from entourage.planner.verdict import Verdict


class CaveatCode(Enum):
    """What a plan may be unable to promise."""

    SPLIT_MEANWHILE = "split-meanwhile"  # members of the service run at both sites during the move
    NOT_ALIGNED = "not-aligned"  # members pause at different moments, each when its hypervisor sees fit
    NO_WAY_BACK = "no-way-back"  # no commit point: what has moved when something fails can only move back
    PATH_BROKEN_MEANWHILE = "path-broken-meanwhile"  # there are moments in which requests do not arrive
    NOT_ENCRYPTED = "not-encrypted"  # who is on the way can read and change what is copied
    LICENCE_GRACE = "licence-grace"  # who waits for longer has two copies of a member for longer than its vendor allows
    SPLIT_AFTERWARDS = "split-afterwards"  # the service is left at both sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """One thing that the plan cannot promise, with the figures of this case in `text`."""

    code: CaveatCode
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The checked steps of a move, and what they are predicted to take and to cost.

    `strategy_reason` says why it is this strategy. `forecast.members` is in the order of copying.
    """

    service: ServiceId
    target: SiteId
    sources: tuple[SiteId, ...]
    strategy: Strategy
    strategy_reason: str
    verdict: Verdict
    placement: Mapping[MemberId, HostId]
    moves_ingress: bool
    steps: tuple[Step, ...]
    stretch: tuple[SegmentStretch, ...]
    paths: tuple[PathChange, ...]
    cannot_promise: tuple[Caveat, ...]
    forecast: Forecast

    @property
    def order(self) -> tuple[MemberId, ...]:
        """The members in the order of copying."""
        return tuple(each.member for each in self.forecast.members)

    @property
    def total_s(self) -> float:
        """The whole move in seconds: all steps, one after another."""
        return sum(step.predicted_ms for step in self.steps) / 1000

    def predicted(self) -> dict[str, object]:
        """The figures under the names that a move's report uses."""
        forecast = self.forecast
        return {
            "members": [
                {"name": each.member, "bytes": round(each.bytes), "copy_s": each.copy_s, "pause_ms": each.pause_ms}
                for each in forecast.members
            ],
            "bytes": round(forecast.bytes),
            "copy_s": forecast.copy_s,
            "blackout_ms": forecast.blackout_ms,
            "pause_skew_ms": forecast.pause_skew_ms,
            "resume_skew_ms": forecast.resume_skew_ms,
            "split_ms": forecast.split_ms,
            "total_s": self.total_s,
        }

    def to_json(self) -> dict[str, object]:
        """The plan as a document, `schema: entourage.plan/1`."""
        return {
            "schema": "entourage.plan/1",
            "service": self.service,
            "sources": list(self.sources),
            "target": self.target,
            "verdict": self.verdict.to_json(),
            "strategy": self.strategy.value,
            "strategy_reason": self.strategy_reason,
            "placement": dict(self.placement),
            "moves_ingress": self.moves_ingress,
            "order": list(self.order),
            "steps": [step.to_json() for step in self.steps],
            "stretch": [each.to_json() for each in self.stretch],
            "paths": [change.to_json() for change in self.paths],
            "cannot_promise": [{"code": each.code.value, "text": each.text} for each in self.cannot_promise],
            "predicted": self.predicted(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No plan, and every verdict against it that could be found at once; the first is the gravest."""

    service: ServiceId
    target: SiteId
    verdicts: tuple[Verdict, ...]

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict."""
        return self.verdicts[0]

    def to_json(self) -> dict[str, object]:
        """The refusal as a document: `schema` and `verdict` as in a plan, and all `verdicts`."""
        return {
            "schema": "entourage.plan/1",
            "service": self.service,
            "target": self.target,
            "verdict": self.verdict.to_json(),
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }

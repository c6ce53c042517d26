"""Snapshot and request in, plan or refusal out. Pure: nothing here looks, waits or acts."""

from entourage.planner.cost import PathChange, SegmentStretch
from entourage.planner.figures import Forecast, MemberForecast
from entourage.planner.plan import Caveat, CaveatCode, Plan, Refusal
from entourage.planner.planning import plan
from entourage.planner.request import HostLoad, MoveRequest, Strategy, back_again, off_host
from entourage.planner.steps import Step, StepKind
from entourage.planner.verdict import Code, Outlook, Verdict

__all__ = [
    "Caveat",
    "CaveatCode",
    "Code",
    "Forecast",
    "HostLoad",
    "MemberForecast",
    "MoveRequest",
    "Outlook",
    "PathChange",
    "Plan",
    "Refusal",
    "SegmentStretch",
    "Step",
    "StepKind",
    "Strategy",
    "Verdict",
    "back_again",
    "off_host",
    "plan",
]

"""The group switch as a pure state machine: `advance(state, event) -> (state, commands)`."""

from entourage.switch.machine import begin, begin_back, begin_forward
from entourage.switch.steps import advance
from entourage.switch.types import Group, Policy, ProtocolError

__all__ = ["Group", "Policy", "ProtocolError", "advance", "begin", "begin_back", "begin_forward"]

"""Who may act when a site is lost: a lease protocol among the sites and one witness, and the judgement for people.

`machine.advance(state, event) -> (state, effects)` is the protocol; docs/design/0012 has the reasons and a proof.
"""

from entourage.quorum.machine import advance, begin
from entourage.quorum.types import WITNESS, AgentId, State, Takeover, Terms

__all__ = ["WITNESS", "AgentId", "State", "Takeover", "Terms", "advance", "begin"]

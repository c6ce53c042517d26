"""An agent's state as JSON: for its control socket, and from there for people and rules.

`status` gives {"agent": NAME, "start": N, "right": BOOL, "right_s": S | null, "why": SENTENCE,
"removing": TAKEOVER | null, "won": [TAKEOVER], "may_start": [TAKEOVER], "terms": {...}, "sites": {SITE:
{"condition": WORD, "epoch": N, "acting": SITE | null, "taken": TAKEOVER | null, "may_act": [SITE],
"reasons": [SENTENCE], "seen": {AGENT: {"heard_s": S | null, "told_s": S | null}}}}}. Times are in seconds, all of them
differences.
"""

from dataclasses import asdict
from typing import Any

from entourage.quorum.judging import judge
from entourage.quorum.rights import may_start
from entourage.quorum.types import State


def status(state: State, now: float) -> dict[str, Any]:
    """What the agent can tell now."""
    judgement = judge(state, now)
    sites = {
        site.site: {
            "condition": site.condition.value,
            "epoch": state.entry(site.site).epoch,
            "acting": None if site.taken is None else site.taken.by,
            "taken": None if site.taken is None else asdict(site.taken),
            "may_act": list(site.may_act),
            "reasons": list(site.reasons),
            "seen": {agent: asdict(vantage) for agent, vantage in site.seen.items()},
        }
        for site in judgement.sites
    }
    return {
        "agent": state.me,
        "start": state.ledger.starts,
        "right": judgement.has_right,
        "right_s": judgement.right_s,
        "why": judgement.why,
        "removing": None if state.removing is None else asdict(state.removing),
        "won": [asdict(takeover) for takeover in state.ledger.won],
        "may_start": [asdict(takeover) for takeover in may_start(state, now)],
        "sites": sites,
        "terms": asdict(state.terms),
    }

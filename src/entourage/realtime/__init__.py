"""Real-time CPU for appliances: whether a host can keep what is promised, and how. It knows no host and no driver."""

from entourage.realtime.fitting import edf_excess, global_edf_excess, response_time, response_times
from entourage.realtime.keeping import Keeper, Kept, Shortage, keep, priorities, priority
from entourage.realtime.latency import ChainLatency, chain_latency

__all__ = [
    "ChainLatency",
    "Keeper",
    "Kept",
    "Shortage",
    "chain_latency",
    "edf_excess",
    "global_edf_excess",
    "keep",
    "priorities",
    "priority",
    "response_time",
    "response_times",
]

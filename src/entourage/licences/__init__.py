"""Licences of appliances: seats used, reserved and free, what a move needs, what sets of them cost. Pure."""

from entourage.licences.account import Account, PoolUse, Violation, ViolationCode, account, observations
from entourage.licences.admission import Reservation, Shortage, admit
from entourage.licences.cost import Cost, Costs, compare
from entourage.licences.holdings import copies_of, licensed, ways_of

__all__ = [
    "Account",
    "Cost",
    "Costs",
    "PoolUse",
    "Reservation",
    "Shortage",
    "Violation",
    "ViolationCode",
    "account",
    "admit",
    "compare",
    "copies_of",
    "licensed",
    "observations",
    "ways_of",
]

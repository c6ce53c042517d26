"""Drivers over a world in memory: for tests, for trying things out, and to see what a move does without a lab.

Nothing takes real time: a step of progress is one `asyncio.sleep(0)` and one millisecond of the world's own clock.
"""

from entourage.drivers.memory.guard import MemoryGuard
from entourage.drivers.memory.hypervisor import MemoryHypervisor
from entourage.drivers.memory.network import MemoryIngress, MemorySegments
from entourage.drivers.memory.records import MemoryJournal, MemoryVerifier, MemoryWatch
from entourage.drivers.memory.world import Fault, MemoryCopy, MemoryWorld

__all__ = [
    "Fault",
    "MemoryCopy",
    "MemoryGuard",
    "MemoryHypervisor",
    "MemoryIngress",
    "MemoryJournal",
    "MemorySegments",
    "MemoryVerifier",
    "MemoryWatch",
    "MemoryWorld",
]

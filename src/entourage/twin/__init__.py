"""The simulated world: a move by the real engine over two sites under virtual time, with faults that a seed decides."""

from entourage.twin.simulation import Run, Simulation, simulate

__all__ = ["Run", "Simulation", "simulate"]

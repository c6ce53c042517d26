"""Moves that are interrupted on purpose in a real lab, and what became of them: for the demo and the benchmark."""

"""Benchmarks: each writes one JSON file with every run, what it was measured on, and a summary."""

"""Entourage: moves a whole service, path and all, between data centres."""

__version__ = "0.1.0"

"""Measuring clients: what live users see while a service moves, through the whole chain.

One process per user region (`python -m entourage.probe CONFIG.json`), run inside the region's network namespace.
It writes a raw log; `analysis` reads it afterwards, `runner` starts and stops the process.
"""

"""Drivers: what fulfils the ports on real hypervisors, routers and networks, and in memory."""

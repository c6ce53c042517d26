"""Identifiers. Each is a plain string at run time and a type of its own for the checker."""

from typing import NewType

SiteId = NewType("SiteId", str)
HostId = NewType("HostId", str)  # written "site/host": unique over all sites
RegionId = NewType("RegionId", str)
ServiceId = NewType("ServiceId", str)
SegmentId = NewType("SegmentId", str)
MemberId = NewType("MemberId", str)
MoveId = NewType("MoveId", str)
ProductId = NewType("ProductId", str)  # what a vendor licenses


def host_id(*, site: SiteId, host: str) -> HostId:
    """The id of `host` at `site`: "east/h1"."""
    return HostId(f"{site}/{host}")


def site_of(host: HostId) -> SiteId:
    """The site that a host id names: "east" for "east/h1"."""
    return SiteId(host.partition("/")[0])

"""The names of a lab's parts, all made from the lab's name, so that nothing needs to be remembered.

A namespace is `ent.<lab>.<node>`. A lab's name has no dot, so the names of lab `a` never match those of `a-b`.
"""

import hashlib
import re
from pathlib import Path

from entourage.drivers.netns import RUN_DIR
from entourage.lab.errors import LabError
from entourage.model.ids import HostId, MemberId, RegionId, ServiceId, SiteId

RELAY = "relay"
LATE_DEVICE = "late"
_IFNAME_MAX = 15
LATE_VNI = 0xFFFF00  # the relay counts this VNI and those above it as late packets
_LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")
_RESERVED = frozenset({"frr"})  # FRR has a folder of its own beside those of the labs


def check_lab_name(lab: str) -> None:
    """LabError unless `lab` is a name that a lab may have."""
    if not _LAB_NAME.fullmatch(lab):
        raise LabError(
            f"{lab!r} is no name for a lab: write 1 to 15 lower-case letters, digits and hyphens, a letter first"
        )
    if lab in _RESERVED:
        raise LabError(f"a lab cannot be named {lab!r}; choose another name")


def namespace_prefix(lab: str) -> str:
    """What the names of all of the lab's namespaces, and of no other lab's, start with."""
    return f"ent.{lab}."


def labs_of_namespaces() -> set[str]:
    """The names of all labs that have a namespace."""
    return {path.name.split(".")[1] for path in RUN_DIR.glob("ent.*.*")}


def namespace_path(lab: str, node: str) -> Path:
    """Where the namespace of a node is to be opened."""
    return RUN_DIR / f"{namespace_prefix(lab)}{node}"


def run_dir(root: Path, lab: str) -> Path:
    """The folder of the lab's sockets, configurations and logs; `/run/<lab>` for processes inside the root."""
    return root / "run" / lab


def edge(site: SiteId) -> str:
    """The node of a site's edge router."""
    return f"edge-{site}"


def vrf(site: SiteId, service: ServiceId) -> str:
    """The node of a service's own routing table at a site's edge. A dot is in no id, so it is no other node's name."""
    return f"vrf-{site}.{service}"


def pop(site: SiteId) -> str:
    """The node of the provider's router near a site."""
    return f"pop-{site}"


def host(host_id: HostId) -> str:
    """The node of a host: "h-east-h1" for "east/h1"."""
    return "h-" + host_id.replace("/", "-")


def users(region: RegionId) -> str:
    """The node of a region's users."""
    return f"users-{region}"


def inter_site(one: SiteId, other: SiteId) -> str:
    """The relay's link between two sites' edges; the sites as in the `InterSiteLink`."""
    return f"inter-site:{one}-{other}"


def backbone(one: SiteId, other: SiteId) -> str:
    """The relay's link between the provider's routers near two sites."""
    return f"backbone:{one}-{other}"


def access(region: RegionId) -> str:
    """The relay's link between a region's users and the provider."""
    return f"access:{region}"


def bridge(number: int) -> str:
    """The bridge of the segment with that VNI, on hosts and edges."""
    return f"br-{number}"


def vxlan(number: int) -> str:
    """The VXLAN device of the segment with that VNI, on hosts and edges."""
    return f"vx-{number}"


def tap(member: MemberId, number: int) -> str:
    """The TAP of a member's interface: readable, and unique within Linux's 15 characters."""
    name = f"t{number}-{member}"
    if len(name) <= _IFNAME_MAX:
        return name
    return f"t{number}-{member[:6]}{hashlib.sha256(member.encode()).hexdigest()[:6]}"

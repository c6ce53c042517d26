"""How fresh the copies of a service's disks at another site are to be: `rpo`, and `replica-at`."""

from collections.abc import Iterable

from entourage.model.ids import SiteId
from entourage.model.units import DURATION
from entourage.model.world import Infrastructure
from entourage.spec.drafts import MemberDraft
from entourage.spec.fields import Fields
from entourage.spec.problems import Problems
from entourage.spec.values import Found

REPLICATION_OPTIONAL = {"rpo": "10 s", "replica-at": "west"}
_RPO_MIN_S = 1.0  # a round starts two processes and shakes hands over the inter-site link


def read_replication(
    fields: Fields,
    home: Found[str] | None,
    members: Iterable[MemberDraft] | None,
    infrastructure: Infrastructure,
    problems: Problems,
) -> tuple[float | None, SiteId | None]:
    """Seconds, and the site that was named; None for what was not written, or was reported."""
    rpo = fields.quantity("rpo", DURATION)
    sites = [site.id for site in infrastructure.sites]
    at = fields.choice("replica-at", "site", list(sites))
    if at is not None and not fields.has("rpo"):
        problems.add(at.at, "replica-at without rpo: nothing is replicated", hint="add rpo: 10 s, or remove it")
    if at is not None and home is not None and at.value == home.value:
        others = " or ".join(site for site in sites if site != home.value)
        hint = f"name another site: {others}" if others else "define another site"
        problems.add(at.at, f"{at.value} is the home of the service, its disks are there already", hint=hint)
    if rpo is None:
        return None, None
    if rpo.value / 1000 < _RPO_MIN_S:
        problems.add(rpo.at, f"{rpo.written.text!r} is too short", hint=f"write at least {_RPO_MIN_S:g} s")
    if home is not None and not any(home.value in link.sites for link in infrastructure.links):
        problems.add(
            rpo.at, f"there is no link from {home.value} to another site", hint="add one to links, or leave rpo out"
        )
    if members is not None and not any(member.disk for member in members):
        problems.add(rpo.at, "there is no disk to be replicated", hint="add disk: 64 MiB to a member, or leave rpo out")
    return rpo.value / 1000, None if at is None else SiteId(at.value)

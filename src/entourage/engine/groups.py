"""A group as JSON, so that whoever has to finish a move knows what it was to be."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from entourage.model.ids import HostId, MemberId, SegmentId, SiteId
from entourage.switch import Group, Policy


def group_to_json(group: Group) -> dict[str, Any]:
    """All of the group; `group_from_json` makes the same again."""
    return {
        "order": list(group.order),
        "sources": dict(group.sources),
        "targets": dict(group.targets),
        "source_site": group.source_site,
        "target_site": group.target_site,
        "moves_ingress": group.moves_ingress,
        "stretch": list(group.stretch),
        "unstretch": list(group.unstretch),
        "policy": asdict(group.policy),
    }


def group_from_json(data: Mapping[str, Any]) -> Group:
    """The group; KeyError or TypeError if the document is none."""
    return Group(
        order=tuple(MemberId(member) for member in data["order"]),
        sources={MemberId(member): HostId(host) for member, host in data["sources"].items()},
        targets={MemberId(member): HostId(host) for member, host in data["targets"].items()},
        source_site=SiteId(data["source_site"]),
        target_site=SiteId(data["target_site"]),
        moves_ingress=data["moves_ingress"],
        stretch=tuple(SegmentId(segment) for segment in data["stretch"]),
        unstretch=tuple(SegmentId(segment) for segment in data["unstretch"]),
        policy=Policy(**data["policy"]),
    )

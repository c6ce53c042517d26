"""The chain of a service: every member once, from the ingress to the servers, each stage beside the next.

A misspelt name is not also a gap in the chain: what builds on a check runs only where that found nothing.
"""

from itertools import pairwise

from entourage.model.world import Role
from entourage.spec.drafts import MemberDraft, SegmentDraft
from entourage.spec.fields import Fields, as_scalar
from entourage.spec.nodes import Node, Scalar, Sequence
from entourage.spec.problems import Position, Problems, closest, quote, suggest

_EXAMPLE = "[rt, fw, lb, [web1, web2]]"
_Stage = list[tuple[Scalar, MemberDraft]]


def read_chain(
    top: Fields, members: list[MemberDraft] | None, segments: list[SegmentDraft] | None, problems: Problems
) -> tuple[tuple[str, ...], ...] | None:
    """The names of the members of each stage; None if there is a problem, noted here or with the members."""
    node = top.sequence("chain")
    if node is None or not members:
        return None
    if not node.items:
        problems.add(node.at, "the chain is empty", hint=f"list the members in the order of the packets: {_EXAMPLE}")
        return None
    before = problems.count
    written = [_read_stage(item, problems) for item in node.items]
    readable = [stage for stage in written if stage is not None]
    stages = _resolve(readable, members, problems)
    if len(readable) < len(written):
        return None
    _report_left_out([name.text for stage in readable for name in stage], members, problems)
    if all(stages) and not any(m.role in (Role.SERVER, None) for stage in stages for _, m in stage):
        problems.add(top.at("chain"), "the chain has no server", hint=f"end it with the servers: {_EXAMPLE}")
    if problems.count > before:
        return None
    _check_order(stages, problems)
    _check_ingress(stages[0], segments, problems)
    if problems.count == before:
        _check_adjacent(stages, problems)
    return tuple(tuple(name.text for name, _ in stage) for stage in stages)


def _read_stage(item: Node, problems: Problems) -> list[Scalar] | None:
    if not isinstance(item, Sequence):
        name = as_scalar(item, "a stage of the chain", problems, example=_EXAMPLE)
        return None if name is None else [name]
    if not item.items:
        problems.add(item.at, "a stage of the chain is empty", hint=f"name its members: {_EXAMPLE}")
        return None
    names = [as_scalar(part, "a member in a stage", problems, example=_EXAMPLE) for part in item.items]
    found = [name for name in names if name is not None]
    return found if len(found) == len(names) else None


def _resolve(written: list[list[Scalar]], members: list[MemberDraft], problems: Problems) -> list[_Stage]:
    """The members of each stage; names that are unknown or written again are reported and left out."""
    by_name = {member.name.text: member for member in members}
    mentioned = {name.text for stage in written for name in stage}
    missing = [name for name in by_name if name not in mentioned]
    names_of_members = [member.name.text for member in members]
    first: dict[str, Position] = {}
    stages: list[_Stage] = []
    for names in written:
        stages.append([])
        for name in names:
            member = by_name.get(name.text)
            if member is None:
                known = missing if closest(name.text, missing) else names_of_members
                problems.add(name.at, f"unknown member {quote(name.text)}", hint=suggest(name.text, known))
            elif name.text in first:
                at = first[name.text]
                problems.add(
                    name.at,
                    f"member {quote(name.text)} is in the chain twice, first on line {at.line}, column {at.column}",
                    hint="packets pass every member once: remove one of the two",
                )
            else:
                first[name.text] = name.at
                stages[-1].append((name, member))
    return stages


def _report_left_out(written: list[str], members: list[MemberDraft], problems: Problems) -> None:
    by_name = {member.name.text: member for member in members}
    mentioned = set(written)
    missing = [name for name in by_name if name not in mentioned]
    meant = {closest(name, missing) for name in written if name not in by_name}
    for name in missing:
        if name not in meant:
            problems.add(
                by_name[name].name.at,
                f"member {quote(name)} is not in the chain",
                hint="add it to the chain, or remove the member",
            )


def _check_order(stages: list[_Stage], problems: Problems) -> None:
    for name, member in (entry for stage in stages[:-1] for entry in stage):
        if member.role is Role.SERVER:
            problems.add(
                name.at,
                f"server {quote(name.text)} is not in the last stage of the chain",
                hint=f"servers end the chain: {_EXAMPLE}",
            )
    last = stages[-1]
    if any(member.role is Role.SERVER for _, member in last):
        for name, member in last:
            if member.role not in (Role.SERVER, None):
                problems.add(
                    name.at,
                    f"{quote(name.text)} is no server, but shares the last stage with servers",
                    hint="give it a stage of its own before the servers",
                )


def _check_ingress(first: _Stage, segments: list[SegmentDraft] | None, problems: Problems) -> None:
    ingress = [s.name.text for s in segments or () if s.is_ingress]
    if len(ingress) != 1:
        return
    for name, member in first:
        joined = member.segments()
        if joined is not None and ingress[0] not in joined:
            problems.add(
                name.at,
                f"{quote(name.text)} is first in the chain, but not on the ingress segment {quote(ingress[0])}",
                hint="begin the chain with the member that has an interface where the gateway is",
            )


def _check_adjacent(stages: list[_Stage], problems: Problems) -> None:
    for stage, following in pairwise(stages):
        for name, member in following:
            joined = member.segments()
            apart = [
                n.text for n, m in stage if joined is not None and (s := m.segments()) is not None and not joined & s
            ]
            if apart:
                problems.add(
                    name.at,
                    f"{quote(name.text)} has no segment in common with {quote(apart[0])}, the stage before it",
                    hint="give both an interface on one segment, or change the order of the chain",
                )

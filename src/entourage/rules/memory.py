"""What is remembered from one decision to the next. Data: whoever decides gives it back, changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entourage.model.ids import HostId, MemberId, ServiceId

RuleKey = tuple[str, ServiceId]  # a rule's name and the service


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a service's members are, as last seen, and `since` when (`View.elapsed`) none has changed its place.

    `whole`: the same when all were last at one site, which is where the service belongs until it is whole elsewhere.
    `before`: where members were that have changed their host, until the news is old.
    """

    where: Mapping[MemberId, HostId]
    since: float
    whole: Mapping[MemberId, HostId] | None = None
    before: Mapping[MemberId, HostId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """How often a rule's action has failed in succession, and when last (`View.elapsed`)."""

    times: int
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """`since`: for each service, from when on (`View.elapsed`) a rule's condition has been true without a break.

    `acted`: when (`View.elapsed`) each rule acted in the last hour, and for which service. `running`: the services on
    which a rule acts now. `told`: conditions that a rule has acted on already and that have not ended since: it does
    so once for each.
    """

    placed: Mapping[ServiceId, Placed] = field(default_factory=dict)
    since: Mapping[ServiceId, Mapping[str, float]] = field(default_factory=dict)
    acted: Mapping[str, tuple[tuple[float, ServiceId], ...]] = field(default_factory=dict)
    running: Mapping[RuleKey, float] = field(default_factory=dict)
    failed: Mapping[RuleKey, Failed] = field(default_factory=dict)
    told: frozenset[RuleKey] = frozenset()


def memory_to_json(memory: Memory) -> dict[str, Any]:
    """As a document; `memory_from_json` makes the same again."""
    return {
        "placed": {
            service: {
                "where": dict(each.where),
                "since": each.since,
                "whole": None if each.whole is None else dict(each.whole),
                "before": dict(each.before),
            }
            for service, each in memory.placed.items()
        },
        "since": {service: dict(each) for service, each in memory.since.items()},
        "acted": {rule: [list(each) for each in times] for rule, times in memory.acted.items()},
        "running": [[*key, at] for key, at in memory.running.items()],
        "failed": [[*key, each.times, each.last] for key, each in memory.failed.items()],
        "told": sorted(map(list, memory.told)),
    }


def memory_from_json(data: Mapping[str, Any]) -> Memory:
    """From a document. Raises KeyError, TypeError or ValueError if it is none, or one of another version."""
    try:
        return Memory(
            placed={service: _placed_from_json(each) for service, each in data["placed"].items()},
            since={service: {rule: float(at) for rule, at in each.items()} for service, each in data["since"].items()},
            acted={rule: tuple((float(at), service) for at, service in times) for rule, times in data["acted"].items()},
            running={(rule, service): float(at) for rule, service, at in data["running"]},
            failed={
                (rule, service): Failed(times=int(times), last=float(last))
                for rule, service, times, last in data["failed"]
            },
            told=frozenset((rule, service) for rule, service in data["told"]),
        )
    except AttributeError as error:
        raise TypeError(f"not what was remembered: {error}") from error


def _placed_from_json(data: Mapping[str, Any]) -> Placed:
    return Placed(
        where=dict(data["where"]),
        since=float(data["since"]),
        whole=None if data["whole"] is None else dict(data["whole"]),
        before=dict(data["before"]),
    )

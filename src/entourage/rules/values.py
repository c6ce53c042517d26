"""The values of the observations that expressions may name; `observations` lists them all."""

from collections.abc import Callable, Mapping

from entourage.rules.facts import Facts, Occurrence
from entourage.rules.observations import NO_POOL
from entourage.rules.view import HostState, SiteState

Values = Mapping[str, str | int | float | bool]


def context(facts: Facts, roots: frozenset[str], about: Occurrence) -> dict[str, Values]:
    """The observations under these roots, for an expression that is about `about`."""
    return {root: _ROOTS[root](facts, about) for root in roots}


def _service_values(facts: Facts, _: Occurrence) -> Values:
    entered = set(facts.seen.ingress.values())
    return {
        "id": facts.service,
        "home": facts.seen.service.home,
        "site": facts.site,
        "ingress": next(iter(entered)) if len(entered) == 1 else "",
        "whole": not facts.away and len(facts.where) == len(facts.seen.service.members),
        "members": len(facts.seen.service.members),
        "away": len(facts.away),
        "running": len(facts.where),
        "settled_s": facts.view.elapsed - facts.placed.since,
    }


def _member_values(facts: Facts, about: Occurrence) -> Values:
    if about.member is None:
        return {"id": "", "role": "", "site": "", "host": "", "previous_host": ""}
    previous = facts.placed.before.get(about.member) or (facts.placed.whole or {}).get(about.member)
    return {
        "id": about.member,
        "role": facts.seen.service.member(about.member).role.value,
        "site": about.site or "",
        "host": about.host or "",
        "previous_host": previous or "",
    }


def _host_values(facts: Facts, about: Occurrence) -> Values:
    if about.host is None:
        return {"id": "", "state": ""}
    return {"id": about.host, "state": facts.view.hosts.get(about.host, HostState.UP).value}


def _site_values(facts: Facts, about: Occurrence) -> Values:
    if about.site is None:
        return {"id": "", "state": ""}
    return {"id": about.site, "state": facts.view.sites.get(about.site, SiteState.UP).value}


def _path_values(facts: Facts, _: Occurrence) -> Values:
    path = facts.path()
    measured = facts.seen.bytes_per_hour
    return {
        "rtt_ms": path.rtt_ms,
        "crossings": path.crossings,
        "delivered": path.delivered,
        "bytes_per_hour": 0.0 if measured is None else measured,
    }


def _licence_values(facts: Facts, _: Occurrence) -> Values:
    free = facts.seen.free_licences
    return {"violations": len(facts.seen.licence_violations), "free": NO_POOL if free is None else free}


def _promise_values(facts: Facts, _: Occurrence) -> Values:
    return {"broken": len(facts.seen.broken_promises)}


def _now_values(facts: Facts, _: Occurrence) -> Values:
    return {"hour": facts.now.hour, "minute": facts.now.minute, "weekday": facts.now.weekday()}


_ROOTS: Mapping[str, Callable[[Facts, Occurrence], Values]] = {
    "service": _service_values,
    "member": _member_values,
    "host": _host_values,
    "site": _site_values,
    "path": _path_values,
    "licence": _licence_values,
    "promise": _promise_values,
    "now": _now_values,
}

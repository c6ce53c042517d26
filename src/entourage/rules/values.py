"""The values of the observations that expressions may name; `observations` lists them all."""

from collections.abc import Callable, Mapping, Sequence

from entourage.rules.facts import Facts, Occurrence
from entourage.rules.observations import NO_POOL
from entourage.rules.view import HostState, SiteState

Value = str | int | float | bool


def values(facts: Facts, about: Occurrence, names: Sequence[str]) -> tuple[Value, ...]:
    """What the observations of these names are, for an expression that is about `about`."""
    return tuple([_VALUES[name](facts, about) for name in names])


def context(names: Sequence[str], found: Sequence[Value]) -> dict[str, dict[str, Value]]:
    """The observations as an expression wants them: under each root by their names."""
    made: dict[str, dict[str, Value]] = {}
    for name, value in zip(names, found, strict=True):
        root, _, leaf = name.partition(".")
        made.setdefault(root, {})[leaf] = value
    return made


def _role(facts: Facts, about: Occurrence) -> str:
    return "" if about.member is None else facts.seen.service.member(about.member).role.value


def _previous_host(facts: Facts, about: Occurrence) -> str:
    if about.member is None:
        return ""
    return facts.placed.before.get(about.member) or (facts.placed.whole or {}).get(about.member) or ""


def _host_state(facts: Facts, about: Occurrence) -> str:
    return "" if about.host is None else facts.world.view.hosts.get(about.host, HostState.UP).value


def _site_state(facts: Facts, about: Occurrence) -> str:
    return "" if about.site is None else facts.world.view.sites.get(about.site, SiteState.UP).value


_VALUES: Mapping[str, Callable[[Facts, Occurrence], Value]] = {
    "service.id": lambda facts, _: facts.service,
    "service.home": lambda facts, _: facts.seen.service.home,
    "service.site": lambda facts, _: facts.site,
    "service.ingress": lambda facts, _: facts.ingress(),
    "service.whole": lambda facts, _: not facts.away and len(facts.where) == len(facts.seen.service.members),
    "service.members": lambda facts, _: len(facts.seen.service.members),
    "service.away": lambda facts, _: len(facts.away),
    "service.running": lambda facts, _: len(facts.where),
    "service.settled_s": lambda facts, _: facts.world.view.elapsed - facts.placed.since,
    "member.id": lambda _, about: about.member or "",
    "member.role": _role,
    "member.site": lambda _, about: (about.site or "") if about.member else "",
    "member.host": lambda _, about: (about.host or "") if about.member else "",
    "member.previous_host": _previous_host,
    "host.id": lambda _, about: about.host or "",
    "host.state": _host_state,
    "site.id": lambda _, about: about.site or "",
    "site.state": _site_state,
    "path.rtt_ms": lambda facts, _: facts.path().rtt_ms,
    "path.crossings": lambda facts, _: facts.path().crossings,
    "path.delivered": lambda facts, _: facts.path().delivered,
    "path.bytes_per_hour": lambda facts, _: facts.seen.bytes_per_hour or 0.0,
    "licence.violations": lambda facts, _: len(facts.seen.licence_violations),
    "licence.free": lambda facts, _: NO_POOL if facts.seen.free_licences is None else facts.seen.free_licences,
    "promise.broken": lambda facts, _: len(facts.seen.broken_promises),
    "now.hour": lambda facts, _: facts.world.now.hour,
    "now.minute": lambda facts, _: facts.world.now.minute,
    "now.weekday": lambda facts, _: facts.world.now.weekday(),
}

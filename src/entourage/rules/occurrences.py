"""The events that are so of one service now."""

from collections.abc import Callable, Iterator, Mapping

from entourage.model.ids import site_of
from entourage.rules.facts import Facts, Occurrence
from entourage.rules.rule import Event
from entourage.rules.view import HostState


def occurrences(facts: Facts, event: Event) -> list[Occurrence]:
    """What of that kind is so now. Whether it is the time for `schedule` is the rule's to know."""
    return list(_OCCURRENCES[event](facts))


def _members_moved(facts: Facts) -> Iterator[Occurrence]:
    """Members at another site, or lately on another host, than where they were, and not put there by Entourage."""
    if facts.away or facts.placed.before:
        for member, host in facts.where.items():
            if facts.seen.put.get(member) != host and (member in facts.away or member in facts.placed.before):
                yield Occurrence(event=Event.MEMBER_MOVED, member=member, host=host, site=site_of(host))


def _at_lost_sites(facts: Facts) -> Iterator[Occurrence]:
    # Of a service that runs elsewhere whole nothing is lost.
    if facts.world.lost_sites and (facts.missing or facts.world.lost_sites & set(map(site_of, facts.where.values()))):
        for site in sorted(facts.world.lost_sites & {facts.site, *map(site_of, facts.where.values())}):
            yield Occurrence(event=Event.SITE_LOST, site=site)


def _in_maintenance(facts: Facts) -> Iterator[Occurrence]:
    hosts = facts.world.hosts[HostState.MAINTENANCE]
    if hosts:
        for host in sorted(hosts.intersection(facts.where.values())):
            yield Occurrence(event=Event.HOST_MAINTENANCE, host=host, site=site_of(host))


def _lost_hosts(facts: Facts) -> Iterator[Occurrence]:
    """Hosts that do not answer, on which members were that run nowhere now."""
    hosts = facts.world.hosts[HostState.LOST]
    if hosts and facts.missing:
        were = facts.placed.whole or {}
        for host in sorted(hosts & {were[member] for member in facts.missing if member in were}):
            yield Occurrence(event=Event.HOST_LOST, host=host, site=site_of(host))


def _if(is_so: object, event: Event) -> Iterator[Occurrence]:
    if is_so:
        yield Occurrence(event=event)


_OCCURRENCES: Mapping[Event, Callable[[Facts], Iterator[Occurrence]]] = {
    Event.MEMBER_MOVED: _members_moved,
    Event.SITE_LOST: _at_lost_sites,
    Event.HOST_LOST: _lost_hosts,
    Event.HOST_MAINTENANCE: _in_maintenance,
    Event.LICENCE_VIOLATED: lambda facts: _if(facts.seen.licence_violations, Event.LICENCE_VIOLATED),
    Event.PROMISE_BROKEN: lambda facts: _if(facts.seen.broken_promises, Event.PROMISE_BROKEN),
    Event.SCHEDULE: lambda _: _if(True, Event.SCHEDULE),
    Event.ALWAYS: lambda _: _if(True, Event.ALWAYS),
}

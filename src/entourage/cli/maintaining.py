"""`entourage maintenance`."""

from datetime import datetime

from entourage.cli.exits import UsageError, need_root
from entourage.cli.output import show, show_json, table
from entourage.cli.rule_commands import Maintenance
from entourage.lab.place import open_place
from entourage.operations.maintenance import begin_maintenance, end_maintenance, hosts_named, in_maintenance


def maintenance(wanted: Maintenance) -> None:
    """Begin or end it, and list the hosts that are to be left."""
    need_root("maintenance")
    place = open_place(wanted.lab)
    hosts = hosts_named(place, wanted.hosts or [])
    if wanted.over and not hosts:
        raise UsageError("whose maintenance is over? write the hosts, or the site, such as east/h1")
    if wanted.over:
        end_maintenance(place, hosts)
    elif hosts:
        begin_maintenance(place, hosts, wanted.reason)
    left = in_maintenance(place)
    if wanted.as_json:
        hosts_json = [{"host": host, "since": each.since, "reason": each.reason} for host, each in left.items()]
        show_json({"lab": place.name, "maintenance": hosts_json})
        return
    rows = [
        (host, f"{datetime.fromtimestamp(each.since).astimezone():%Y-%m-%d %H:%M}", each.reason)
        for host, each in left.items()
    ]
    show(table(("host in maintenance", "since", "what for"), rows) if rows else "no host is in maintenance")

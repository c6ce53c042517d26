"""A service once more, cut off from everything: its members under other names, on segments of their own at one site.

They have the addresses and MACs of the service's own members, and that is no harm: their segments reach only hosts of
that site and a namespace with the service's gateway, where clients are; no edge has a route into it, and nothing is
announced. A file says that it is there before anything of it is made, so what is left after a crash can be taken away.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from entourage.drivers.netns import Namespace, NetworkError, remove_name
from entourage.lab import joining, names
from entourage.lab.errors import LabError
from entourage.lab.hosted import MOST_SERVICES, Hosted
from entourage.lab.kept import write_whole
from entourage.lab.place import Lab, Place
from entourage.lab.topology import Topology
from entourage.model.ids import MemberId, ServiceId, SiteId
from entourage.model.world import Service

SUFFIX = "-test"
_FOLDER = "bubbles"


def bubble_of(lab: Lab, service: Service, site: SiteId) -> Place:
    """The service's bubble at the site, as a place: nothing is made."""
    taken = {kept.hosted.number for kept in lab.services} | {number for _, _, number in _noted(lab).values()}
    known = _noted(lab).get(service.id)
    number = known[2] if known is not None else max(set(range(MOST_SERVICES)) - taken)
    return Place(lab, Hosted(service=renamed(service, site), number=number))


def renamed(service: Service, site: SiteId) -> Service:
    """The service under another name, at home at the site, its members under other names."""
    members = tuple(replace(member, id=name_of(member.id)) for member in service.members)
    chain = tuple(tuple(map(name_of, stage)) for stage in service.chain)
    return replace(service, id=ServiceId(f"{service.id}{SUFFIX}"), members=members, chain=chain, home=site)


def name_of(member: MemberId) -> MemberId:
    """What the member is called in the bubble."""
    return MemberId(f"{member}{SUFFIX}")


def left_bubbles(lab: Lab) -> dict[ServiceId, SiteId]:
    """The services of which a bubble is there, whole or what is left of one, and at which site."""
    return {service: site for service, (_, site, _) in _noted(lab).items()}


def clients_of(bubble: Place) -> Path:
    """The namespace from which clients reach the bubble's service."""
    return bubble.fabric.netns_path(names.vrf(bubble.service.home, bubble.service.id))


async def make_bubble(lab: Lab, service: ServiceId, bubble: Place) -> None:
    """The bubble's network. LabError if it cannot be made; what was made of it is there until `remove_bubble`."""
    folder = lab.run_dir / _FOLDER
    folder.mkdir(exist_ok=True)
    note = {"service": service, "site": bubble.service.home, "number": bubble.hosted.number}
    write_whole(folder / f"{service}.json", json.dumps(note))
    await _in_nodes(bubble, joining.join_apart)


async def remove_bubble(lab: Lab, service: ServiceId, bubble: Place) -> None:
    """Take the bubble's network and its note away; its members must be gone."""
    await _in_nodes(bubble, joining.part_apart)
    with suppress(FileNotFoundError):
        await asyncio.to_thread(remove_name, clients_of(bubble))
    bubble.remove_images()
    (lab.run_dir / _FOLDER / f"{service}.json").unlink(missing_ok=True)


async def _in_nodes(bubble: Place, work: Callable[..., object]) -> None:
    topology = Topology(lab=bubble.name, infrastructure=bubble.infrastructure)
    site, hosted = bubble.infrastructure.site(bubble.service.home), bubble.hosted
    wanted = [*(names.host(host.id) for host in site.hosts), hosted.vrf(site.id)]
    nodes = {node: Namespace(bubble.fabric.netns_path(node)) for node in wanted}
    try:
        await partial(work, nodes, topology, hosted, site)()  # type: ignore[misc] # either of the two
    except (NetworkError, OSError) as error:
        raise LabError(f"the bubble of {bubble.service.id}: {error}") from error
    finally:
        for namespace in nodes.values():
            namespace.close()


def _noted(lab: Lab) -> dict[ServiceId, tuple[ServiceId, SiteId, int]]:
    found = {}
    for file in sorted((lab.run_dir / _FOLDER).glob("*.json")):
        note = json.loads(file.read_text())
        service = ServiceId(note["service"])
        found[service] = (service, SiteId(note["site"]), int(note["number"]))
    return found

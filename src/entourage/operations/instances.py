"""Services made in a lab that is up, each an instance of a template with appliances of its own; and taken away."""

import asyncio
from pathlib import Path

from entourage.lab.errors import LabError
from entourage.lab.hosted import check_room, free_number
from entourage.lab.kept import ServiceText
from entourage.lab.place import Lab, Place, read_catalogue, replace_catalogue
from entourage.model.ids import ServiceId, SiteId
from entourage.operations.driving import driving
from entourage.operations.old_disks import ALL, discard
from entourage.operations.recovering import open_moves
from entourage.operations.starting import Progress, placement_of, start_service
from entourage.ports.errors import DriverError
from entourage.ports.ingress import Announcement
from entourage.spec import parse_catalogue, read_text
from entourage.spec.catalogue import Catalogue
from entourage.wiring import wire


def catalogue_of(lab: Lab, file: Path | None) -> Catalogue:
    """What the file has, or without one what the lab keeps. SpecError; LabError if there is none."""
    kept = read_catalogue(lab.name) if file is None else (str(file), read_text(file))
    if kept is None:
        raise LabError(f"lab {lab.name} was brought up without a catalogue; give one with --catalogue FILE")
    name, text = kept
    return parse_catalogue(text, file=name, infrastructure=lab.infrastructure)


async def create(
    lab: Lab, catalogue: Catalogue, template: str, *, service: ServiceId, site: SiteId, progress: Progress
) -> Place:
    """A new service at a site, from that template of the catalogue, which the lab keeps from now on.

    It serves users when this returns; otherwise nothing of it is left. LabError or CatalogueError if it cannot be
    made, or something else is being done with the lab's members.
    """
    async with driving(lab):
        lab.refresh()  # now that nobody else changes it
        services = [kept.hosted for kept in lab.services]
        text = catalogue.instance(
            template, service=service, site=site, prefixes_taken=[hosted.service.prefix for hosted in services]
        )
        source = ServiceText(file=f"{service} from {template}", text=text, template=template)
        hosted = source.hosted(free_number(services), lab.infrastructure)
        check_room(hosted.service, services)
        place = lab.new_place(hosted, source)
        placement = placement_of(place)
        try:
            await start_service(place, placement, progress)
            replace_catalogue(lab.name, file=catalogue.file, text=catalogue.text)
        except BaseException as error:
            try:
                await _take_away(place)
            except LabError as left:
                raise LabError(f"{service} was not made: {error}; and then: {left}") from error
            raise
    return place


async def delete(lab: Lab, service: ServiceId) -> None:
    """Take a service away, whole or half-made. LabError if a move is under way, or one of it is open."""
    async with driving(lab):
        lab.refresh()
        place = lab.place(service)
        waiting = [move.move for move in open_moves(lab) if move.document["service"] == service]
        if waiting:
            raise LabError(
                f"{', '.join(waiting)} did not end, so {service} is not taken away before; "
                f"entourage recover --lab {lab.name}"
            )
        await _take_away(place)


async def _take_away(place: Place) -> None:
    """Remove all of the service, in whatever state it is. LabError if something cannot be removed: then it is kept."""
    place.keep(is_whole=False)
    problems = await _withdraw(place)
    try:
        await _remove_members(place)
        await place.fabric.part()
    except (DriverError, LabError) as error:
        problems.append(str(error))
    place.remove_images()
    if problems:
        service = place.service.id
        raise LabError(f"{service} is half taken away; again: entourage delete {service}; {'; '.join(problems)}")
    discard(place, ALL)
    place.forget()


async def _withdraw(place: Place) -> list[str]:
    """Announce it nowhere: what went wrong."""
    wired = wire(place, only_look=True)
    try:
        for site, edge in (await wired.ingress.observe(place.service)).items():
            # An edge whose router is dead announces nothing.
            if edge.announcement not in (Announcement.ABSENT, Announcement.UNKNOWN):
                await wired.ingress.withdraw(place.service, site)
    except DriverError as error:
        return [str(error)]
    finally:
        await wired.close()
    return []


async def _remove_members(place: Place) -> None:
    wired = wire(place)
    try:
        copies = [(member.id, host) for member in place.service.members for host in place.hosts()]
        await asyncio.gather(*(wired.hypervisor.remove(member, host) for member, host in copies))
    finally:
        await wired.close()

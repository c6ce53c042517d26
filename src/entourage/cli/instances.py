"""`entourage create` and `entourage delete`: services made of templates, and taken away."""

from entourage.cli.commands import Create, Delete
from entourage.cli.exits import need_root
from entourage.cli.output import placement_table, show, show_json
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.lab.place import open_lab
from entourage.model.ids import ServiceId
from entourage.operations import instances
from entourage.operations.labs import look
from entourage.operations.observe import Observation
from entourage.operations.words import UnknownNameError, site_named


def create(wanted: Create) -> None:
    """Make a service, and show where it runs."""
    need_root("create")
    lab = open_lab(wanted.lab)
    catalogue = instances.catalogue_of(lab, wanted.catalogue)
    site = site_named(lab, wanted.site)
    if wanted.template not in catalogue.templates:
        raise UnknownNameError("template", wanted.template, catalogue.templates, where=catalogue.file)
    with telling(as_json=wanted.as_json) as tell:
        tell.phase(f"making {wanted.service} from {wanted.template} at {site}")

        async def work(_: object) -> Observation:
            service = ServiceId(wanted.service)
            await instances.create(lab, catalogue, wanted.template, service=service, site=site, progress=tell.step)
            return await look(wanted.lab, service=service)

        seen = run(work)
    if wanted.as_json:
        show_json({"lab": wanted.lab, **seen.to_json()})
        return
    service = seen.snapshot.service
    show(f"{service.id} answers at {service.address}, of its own prefix {service.prefix}", placement_table(seen))


def delete(wanted: Delete) -> None:
    """Take a service away."""
    need_root("delete")
    lab = open_lab(wanted.lab)
    service = lab.place(wanted.service).service.id
    with telling(as_json=wanted.as_json) as tell:
        tell.phase(f"taking {service} away")
        run(lambda _: instances.delete(lab, service))
    if wanted.as_json:
        show_json({"lab": wanted.lab, "deleted": service})
    else:
        show(f"{service} is gone")

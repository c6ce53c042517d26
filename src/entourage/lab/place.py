"""A lab that is up, as the drivers and the commands see it: its record on disk, its hosts, its guests' boot files.

A `Lab` has any number of services. A `Place` is the lab as one of them sees it: nearly all work is for one service.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from entourage.drivers.qemu.process import BootFiles, HostAccess, instance_paths, running_pid
from entourage.drivers.qemu.tls import Identity
from entourage.drivers.records import sqlite_url
from entourage.lab import names
from entourage.lab.accel import usable_accel
from entourage.lab.certificates import write_certificates
from entourage.lab.edgewatch import EdgePoint
from entourage.lab.errors import LabError
from entourage.lab.fabric import Fabric
from entourage.lab.guests import KERNEL_COMMAND_LINE
from entourage.lab.hosted import Hosted
from entourage.lab.image import kernel, write_initrd
from entourage.lab.kept import Kept, ServiceText, forget_service, keep_service, read_services, write_whole
from entourage.lab.leftovers import namespaces
from entourage.lab.setup import lab_root, qemu_version
from entourage.model.ids import HostId, MemberId, SiteId
from entourage.model.world import Infrastructure, Member, Service
from entourage.spec import parse_catalogue, parse_infrastructure, parse_licences, parse_service
from entourage.spec.problems import SpecError, quote, suggest

_RECORD = "lab.json"
_DATABASE = "database-url"  # not in the record: it may have a password
UPLINK_DEVICE = "pop"  # an edge's cable to its provider router


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOverrides:
    """What every inter-site link has instead of what the file says: `rtt` in ms, `rate` in bit/s, `loss` 0..1."""

    rtt: float | None = None
    rate: float | None = None
    loss: float | None = None

    def apply(self, infrastructure: Infrastructure) -> Infrastructure:
        """The infrastructure with these links."""
        changes: dict[str, Any] = {name: value for name, value in asdict(self).items() if value is not None}
        links = tuple(replace(link, **changes) for link in infrastructure.links)
        return replace(infrastructure, links=links)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecTexts:
    """What a lab is made from: name and text of files as they were read, and what was asked for instead.

    `catalogue`: what more services of the lab can be made of; None without. `licences`: None if nobody counts them.
    """

    sites_file: str
    sites: str
    service_file: str
    service: str
    links: LinkOverrides = field(default_factory=LinkOverrides)
    catalogue_file: str | None = None
    catalogue: str | None = None
    licences_file: str = ""
    licences: str | None = None

    def infrastructure(self) -> Infrastructure:
        """The model of the sites, with the licences; raises SpecError."""
        infrastructure = self.links.apply(parse_infrastructure(self.sites, file=self.sites_file))
        if self.licences is None:
            return infrastructure
        licences = parse_licences(self.licences, file=self.licences_file, infrastructure=infrastructure)
        return replace(infrastructure, licences=licences)

    def parse(self) -> tuple[Infrastructure, Service]:
        """The model of sites and service; raises SpecError, also if the catalogue is wrong."""
        infrastructure = self.infrastructure()
        if self.catalogue is not None:
            parse_catalogue(self.catalogue, file=self.catalogue_file or "", infrastructure=infrastructure)
        return infrastructure, parse_service(self.service, file=self.service_file, infrastructure=infrastructure)


class WhichServiceError(LabError):
    """It cannot be told which service of a lab is meant; the message says which there are."""


class Lab:
    """The lab of that name, with all of its services."""

    def __init__(
        self,
        name: str,
        *,
        infrastructure: Infrastructure,
        accel: str,
        is_encrypted: bool = False,
        database: str | None = None,
        services: tuple[Kept, ...] = (),
    ) -> None:
        """`database`: the URL of the one that moves are kept in, if it is not the lab's own."""
        self.name = name
        self.is_encrypted = is_encrypted
        self.infrastructure = infrastructure
        self.services = services
        self.accel = accel
        self.fabric = Fabric(name, infrastructure)
        self._root = lab_root()
        self.database = database

    def place(self, service: str | None = None) -> "Place":
        """The lab as that service sees it; without a name the one that there is. WhichServiceError."""
        known = [kept.id for kept in self.services]
        if service is None and len(known) != 1:
            words = f"has {len(known)} services: {', '.join(known)}; say which" if known else "has no service"
            raise WhichServiceError(f"lab {self.name} {words}")
        for each in self.services:
            if service in (None, each.id):
                return Place(self, each.hosted)
        word = service or ""
        raise WhichServiceError(f"unknown service {quote(word)} in lab {self.name}: {suggest(word, known)}")

    def refresh(self) -> None:
        """Look again which services the lab has: others may have made some, or taken some away."""
        self.services = read_services(self.services_dir, self.infrastructure, self.services)

    def new_place(self, hosted: Hosted, source: ServiceText) -> "Place":
        """The lab as a service will see it that is about to be made in it."""
        place = Place(self, hosted)
        new = Kept(hosted=hosted, source=source, created=time.time(), is_whole=False)
        place.services = (*self.services, new)
        return place

    @property
    def run_dir(self) -> Path:
        """The folder of all that belongs to this lab while it is up."""
        return self.fabric.run_dir()

    @property
    def services_dir(self) -> Path:
        """The folder with a file of each service."""
        return self.run_dir / "services"

    @property
    def moves_url(self) -> str:
        """The database of the lab's moves. Its own goes with it."""
        given = self.database or _read_if_there(self.run_dir / _DATABASE)
        return given or sqlite_url(self.run_dir / "moves.sqlite")

    def hosts(self) -> list[HostId]:
        """All hosts of all sites."""
        return [host.id for site in self.infrastructure.sites for host in site.hosts]

    def access(self, host: HostId) -> HostAccess:
        """How to run QEMU on the host."""
        return HostAccess(
            id=host,
            netns=self.fabric.netns_path(names.host(host)),
            root=self._root,
            run_dir=self.run_dir / names.host(host),
            address=str(self.fabric.underlay_address(host)),
            version=qemu_version(),
            identity=self._identity(host) if self.is_encrypted else None,
            realtime=self.infrastructure.host(host).realtime,
        )

    def _identity(self, host: HostId) -> Identity:
        return Identity(name=names.host(host), directory=self.run_dir / "tls" / names.host(host))

    def write_certificates(self) -> None:
        """A certificate for every host, where the streams are to be encrypted."""
        if self.is_encrypted:
            made = {
                self._identity(h).directory: (names.host(h), str(self.fabric.underlay_address(h))) for h in self.hosts()
            }
            write_certificates(self.name, made)

    def copies(self) -> Iterator[tuple[Member, HostId]]:
        """Every copy of every service's members that is there, by its process."""
        for member in (member for each in self.services for member in each.hosted.service.members):
            for host in self.hosts():
                if running_pid(instance_paths(self.access(host), member.id)) is not None:
                    yield member, host


class Place(Lab):
    """A lab as one of its services sees it. Fulfils `entourage.drivers.qemu.process.Machines`."""

    def __init__(self, lab: Lab, hosted: Hosted) -> None:
        super().__init__(
            lab.name,
            infrastructure=lab.infrastructure,
            accel=lab.accel,
            is_encrypted=lab.is_encrypted,
            database=lab.database,
            services=lab.services,
        )
        self.hosted = hosted
        self.service = hosted.service
        self.fabric = Fabric(lab.name, lab.infrastructure, hosted.service, number=hosted.number)

    def boot(self, member: Member) -> BootFiles:
        """The member's kernel and image."""
        return BootFiles(kernel=kernel(), initrd=self._initrd(member.id), command_line=KERNEL_COMMAND_LINE)

    def write_images(self) -> None:
        """Write every member's image; they differ in their own files only, never by site."""
        for member in self.service.members:
            write_initrd(self.service, member, self._initrd(member.id))

    def remove_images(self) -> None:
        """Remove every member's image; nothing if there is none."""
        for member in self.service.members:
            self._initrd(member.id).unlink(missing_ok=True)

    def console(self, member: MemberId, host: HostId) -> Path:
        """Where the console of the member's copy on the host is written."""
        return self.run_dir / names.host(host) / f"{member}.console"

    async def plug(self, member: Member, host: HostId) -> Sequence[str]:
        """A TAP for each interface; one that is there already is made anew."""
        taps = [names.tap(member.id, number) for number in range(len(member.interfaces))]
        for tap, interface in zip(taps, member.interfaces, strict=True):
            await self.fabric.remove_tap(host, ifname=tap)
            await self.fabric.add_tap(host, member, interface, ifname=tap)
        return taps

    async def unplug(self, member: MemberId, host: HostId) -> None:
        """Remove the member's TAPs."""
        for number in range(len(self.service.member(member).interfaces)):
            await self.fabric.remove_tap(host, ifname=names.tap(member, number))

    def edge_points(self) -> dict[SiteId, EdgePoint]:
        """Where to watch the users' packets."""
        device = self.fabric.delivery_device()
        return {
            site.id: EdgePoint(
                namespace=self.fabric.netns_path(names.edge(site.id)), uplink=UPLINK_DEVICE, delivery=device
            )
            for site in self.infrastructure.sites
        }

    def copies_of_others(self) -> dict[tuple[MemberId, HostId], Member]:
        """The copies of other services' members, which use the same hosts."""
        own = {member.id for member in self.service.members}
        return {(member.id, host): member for member, host in self.copies() if member.id not in own}

    @property
    def kept(self) -> Kept:
        """The service as the lab keeps it. LabError if somebody has taken it away."""
        for each in self.services:
            if each.id == self.service.id:
                return each
        raise LabError(f"lab {self.name} has no service {self.service.id} any more")

    def keep(self, *, is_whole: bool) -> None:
        """Write down that the service is there, and whether it is whole."""
        kept = replace(self.kept, is_whole=is_whole)
        keep_service(self.services_dir, kept)
        self.services = (*(each for each in self.services if each.id != kept.id), kept)

    def forget(self) -> None:
        """The lab has this service no more."""
        forget_service(self.services_dir, self.service.id)

    def record(self, texts: SpecTexts) -> None:
        """Write what `open_lab` needs. The last step of bringing a lab up: without it there is no lab to use."""
        if self.database is not None:
            (self.run_dir / _DATABASE).touch(mode=0o600)
            (self.run_dir / _DATABASE).write_text(self.database)
        data = {
            "lab": self.name,
            "created": time.time(),
            "accel": self.accel,
            "encrypted": self.is_encrypted,
            **asdict(texts),
        }
        write_whole(self.run_dir / _RECORD, json.dumps(data))

    def _initrd(self, member: MemberId) -> Path:
        return self.run_dir / f"{member}.initrd"


def new_place(name: str, texts: SpecTexts, *, is_encrypted: bool = True, database: str | None = None) -> Place:
    """The place for a lab that is about to be brought up. Raises SpecError, LabError, SetupMissingError."""
    names.check_lab_name(name)
    infrastructure, service = texts.parse()
    lab = Lab(name, infrastructure=infrastructure, accel=usable_accel(), is_encrypted=is_encrypted, database=database)
    source = ServiceText(file=texts.service_file, text=texts.service)
    return lab.new_place(Hosted(service=service, number=0), source)


def open_place(name: str, *, service: str | None = None) -> Place:
    """The lab of that name as a service sees it; without a `service` the one that there is.

    LabError if it is not up, or was left half-way; WhichServiceError.
    """
    return open_lab(name).place(service)


def open_lab(name: str) -> Lab:
    """The lab of that name, which is up; LabError if it is not, was left half-way, or is of another version."""
    data = _read_record(name)
    try:
        lab = Lab(
            name,
            infrastructure=_texts(data).infrastructure(),
            accel=data["accel"],
            is_encrypted=data.get("encrypted", False),
        )
        lab.refresh()
    except SpecError as error:  # they were read once, by whoever brought it up
        raise LabError(f"lab {name} is of another version of Entourage: {error.problems[0]}") from error
    return lab


def read_catalogue(name: str) -> tuple[str, str] | None:
    """Name and text of the catalogue that the lab keeps; None if it has none. LabError as `open_lab`."""
    texts = _texts(_read_record(name))
    return None if texts.catalogue is None else (texts.catalogue_file or "the catalogue", texts.catalogue)


def replace_catalogue(name: str, *, file: str, text: str) -> None:
    """Keep another catalogue in the lab. LabError as `open_lab`."""
    data = _read_record(name) | {"catalogue_file": file, "catalogue": text}
    write_whole(names.run_dir(lab_root(), name) / _RECORD, json.dumps(data))


def _read_record(name: str) -> dict[str, Any]:
    names.check_lab_name(name)
    file = names.run_dir(lab_root(), name) / _RECORD
    try:
        data: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        hint = f"bring it up with: entourage lab up --lab {name}"
        if namespaces(name):
            hint = f"it was left half-way; first: entourage lab down --lab {name}"
        raise LabError(f"lab {name} is not up; {hint}") from None
    return data


def _texts(data: dict[str, Any]) -> SpecTexts:
    given = {each.name: data[each.name] for each in fields(SpecTexts) if each.name in data}
    return SpecTexts(**given | {"links": LinkOverrides(**given["links"])})


def _read_if_there(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def known_labs() -> list[str]:
    """The names of all labs that are up, or have left something."""
    folders = {entry.name for entry in (lab_root() / "run").iterdir() if entry.is_dir() and _may_be_lab(entry.name)}
    return sorted(folders | names.labs_of_namespaces())


def _may_be_lab(name: str) -> bool:
    try:
        names.check_lab_name(name)
    except LabError:
        return False
    return True

"""A lab that is up, as the drivers and the commands see it: its record on disk, its hosts, its guests' boot files."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from entourage.drivers.qemu.process import BootFiles, HostAccess
from entourage.drivers.qemu.tls import Identity
from entourage.drivers.records import sqlite_url
from entourage.lab import names
from entourage.lab.accel import usable_accel
from entourage.lab.certificates import write_certificates
from entourage.lab.edgewatch import EdgePoint
from entourage.lab.errors import LabError
from entourage.lab.fabric import Fabric
from entourage.lab.guests import KERNEL_COMMAND_LINE
from entourage.lab.image import kernel, write_initrd
from entourage.lab.leftovers import namespaces
from entourage.lab.setup import lab_root, qemu_version
from entourage.model.ids import HostId, MemberId, SiteId
from entourage.model.world import Infrastructure, Member, Service
from entourage.spec import parse_infrastructure, parse_licences, parse_service

_RECORD = "lab.json"
_DATABASE = "database-url"  # not in the record: it may have a password
_IFNAME_MAX = 15
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
    """What a lab was made from: name and text of its files as they were read, and what was asked for instead."""

    sites_file: str
    sites: str
    service_file: str
    service: str
    links: LinkOverrides = field(default_factory=LinkOverrides)
    licences_file: str = ""
    licences: str | None = None  # without, nobody counts them

    def parse(self) -> tuple[Infrastructure, Service]:
        """The model of all; raises SpecError."""
        infrastructure = self.links.apply(parse_infrastructure(self.sites, file=self.sites_file))
        if self.licences is not None:
            licences = parse_licences(self.licences, file=self.licences_file, infrastructure=infrastructure)
            infrastructure = replace(infrastructure, licences=licences)
        return infrastructure, parse_service(self.service, file=self.service_file, infrastructure=infrastructure)


class Place:
    """The lab of that name. Fulfils `entourage.drivers.qemu.process.Machines`."""

    def __init__(
        self,
        name: str,
        *,
        infrastructure: Infrastructure,
        service: Service,
        accel: str,
        is_encrypted: bool = False,
        database: str | None = None,
    ) -> None:
        """`database`: the URL of the one that moves are kept in, if it is not the lab's own."""
        self.name = name
        self.is_encrypted = is_encrypted
        self.infrastructure = infrastructure
        self.service = service
        self.accel = accel
        self.fabric = Fabric(name, infrastructure, service)
        self._root = lab_root()
        self._database = database

    @property
    def run_dir(self) -> Path:
        """The folder of all that belongs to this lab while it is up."""
        return self.fabric.run_dir()

    @property
    def moves_url(self) -> str:
        """The database of the lab's moves. Its own goes with it."""
        given = self._database or _read_if_there(self.run_dir / _DATABASE)
        return given or sqlite_url(self.run_dir / "moves.sqlite")

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
        hosts = [host.id for site in self.infrastructure.sites for host in site.hosts]
        if self.is_encrypted:
            made = {self._identity(h).directory: (names.host(h), str(self.fabric.underlay_address(h))) for h in hosts}
            write_certificates(self.name, made)

    def boot(self, member: Member) -> BootFiles:
        """The member's kernel and image."""
        return BootFiles(kernel=kernel(), initrd=self._initrd(member.id), command_line=KERNEL_COMMAND_LINE)

    def write_images(self) -> None:
        """Write every member's image; they differ in their own files only, never by site."""
        for member in self.service.members:
            write_initrd(self.service, member, self._initrd(member.id))

    def console(self, member: MemberId, host: HostId) -> Path:
        """Where the console of the member's copy on the host is written."""
        return self.run_dir / names.host(host) / f"{member}.console"

    async def plug(self, member: Member, host: HostId) -> Sequence[str]:
        """A TAP for each interface; one that is there already is made anew."""
        taps = [tap_name(member.id, number) for number in range(len(member.interfaces))]
        for tap, interface in zip(taps, member.interfaces, strict=True):
            await self.fabric.remove_tap(host, ifname=tap)
            await self.fabric.add_tap(host, member, interface, ifname=tap)
        return taps

    async def unplug(self, member: MemberId, host: HostId) -> None:
        """Remove the member's TAPs."""
        for number in range(len(self.service.member(member).interfaces)):
            await self.fabric.remove_tap(host, ifname=tap_name(member, number))

    def edge_points(self) -> dict[SiteId, EdgePoint]:
        """Where to watch the users' packets."""
        segment = names.bridge(names.vni(self.service, self.service.ingress_segment().id))
        return {
            site.id: EdgePoint(
                namespace=self.fabric.netns_path(names.edge(site.id)), uplink=UPLINK_DEVICE, segment=segment
            )
            for site in self.infrastructure.sites
        }

    def record(self, texts: SpecTexts) -> None:
        """Write what `open_place` needs. The last step of bringing a lab up: without it there is no lab to use."""
        if self._database is not None:
            (self.run_dir / _DATABASE).touch(mode=0o600)
            (self.run_dir / _DATABASE).write_text(self._database)
        data = {
            "lab": self.name,
            "created": time.time(),
            "accel": self.accel,
            "encrypted": self.is_encrypted,
            **asdict(texts),
        }
        (self.run_dir / _RECORD).write_text(json.dumps(data))

    def _initrd(self, member: MemberId) -> Path:
        return self.run_dir / f"{member}.initrd"


def new_place(name: str, texts: SpecTexts, *, is_encrypted: bool = True, database: str | None = None) -> Place:
    """The place for a lab that is about to be brought up. Raises SpecError, LabError, SetupMissingError."""
    names.check_lab_name(name)
    infrastructure, service = texts.parse()
    accel = usable_accel()
    return Place(
        name,
        infrastructure=infrastructure,
        service=service,
        accel=accel,
        is_encrypted=is_encrypted,
        database=database,
    )


def open_place(name: str) -> Place:
    """The lab of that name, which is up; LabError if it is not, or was left half-way."""
    names.check_lab_name(name)
    file = lab_root() / "run" / name / _RECORD
    try:
        data: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        hint = f"bring it up with: entourage lab up --lab {name}"
        if namespaces(name):
            hint = f"it was left half-way; first: entourage lab down --lab {name}"
        raise LabError(f"lab {name} is not up; {hint}") from None
    given = {each.name: data[each.name] for each in fields(SpecTexts) if each.name in data}
    texts = SpecTexts(**given | {"links": LinkOverrides(**given["links"])})
    infrastructure, service = texts.parse()
    return Place(
        name,
        infrastructure=infrastructure,
        service=service,
        accel=data["accel"],
        is_encrypted=data.get("encrypted", False),
    )


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


def tap_name(member: MemberId, number: int) -> str:
    """The TAP of a member's interface: readable, and unique within Linux's 15 characters."""
    name = f"t{number}-{member}"
    if len(name) <= _IFNAME_MAX:
        return name
    return f"t{number}-{member[:6]}{hashlib.sha256(member.encode()).hexdigest()[:6]}"

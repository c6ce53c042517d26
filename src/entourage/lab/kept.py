"""The services of a lab as it keeps them: a file for each, written before anything of the service is made.

So what is left when whoever makes a service dies can be seen, and taken away: its file says that it is not whole.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from entourage.lab import names
from entourage.lab.errors import LabError
from entourage.lab.hosted import Hosted
from entourage.model.ids import ServiceId
from entourage.model.world import Infrastructure
from entourage.spec import parse_service


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceText:
    """What a service was made from: the text of its spec, the file's name in messages, and the template, if any."""

    file: str
    text: str
    template: str | None = None

    def hosted(self, number: int, infrastructure: Infrastructure) -> Hosted:
        """The service, of that number in its lab; raises SpecError."""
        service = parse_service(self.text, file=self.file, infrastructure=infrastructure)
        return Hosted(service=service, number=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A service of a lab. `created` in seconds since the epoch.

    `is_whole`: it was made to its end, and nobody has begun to take it away.
    """

    hosted: Hosted
    source: ServiceText
    created: float
    is_whole: bool

    @property
    def id(self) -> ServiceId:
        """The service's."""
        return self.hosted.service.id


def keep_service(folder: Path, kept: Kept) -> None:
    """Write the service's file, in one step: it is the one before or this one, whenever we die.

    What agents of the sites look for in it: `members`, with the devices that each has at its host, and `prefix`.
    """
    folder.mkdir(exist_ok=True)
    service = kept.hosted.service
    devices = {m.id: [names.tap(m.id, number) for number in range(len(m.interfaces))] for m in service.members}
    data = {
        "number": kept.hosted.number,
        "members": devices,
        "prefix": str(service.prefix),
        "created": kept.created,
        "whole": kept.is_whole,
        "source": asdict(kept.source),
    }
    write_whole(_file(folder, kept.id), json.dumps(data))


def read_services(folder: Path, infrastructure: Infrastructure, known: Iterable[Kept] = ()) -> tuple[Kept, ...]:
    """Every service that is kept there, in the order in which they were made. What is `known` is not parsed again."""
    parsed = {(kept.source, kept.hosted.number): kept.hosted for kept in known}
    found = []
    for file in folder.glob("*.json"):
        data: dict[str, Any] = json.loads(file.read_text())
        source, number = ServiceText(**data["source"]), data["number"]
        hosted = parsed.get((source, number)) or source.hosted(number, infrastructure)
        found.append(Kept(hosted=hosted, source=source, created=data["created"], is_whole=data["whole"]))
    return tuple(sorted(found, key=lambda kept: (kept.created, kept.id)))


def forget_service(folder: Path, service: ServiceId) -> None:
    """Remove the service's file; nothing if there is none."""
    _file(folder, service).unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step."""
    beside = path.with_name(f"{path.name}.new")  # a report and its page differ in their suffix only
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def keep_json(path: Path, data: Any) -> None:  # noqa: ANN401 (whatever JSON can hold)
    """Write a file of the lab's in one step. LabError if it cannot be written."""
    try:
        write_whole(path, json.dumps(data))
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}") from error


def _file(folder: Path, service: ServiceId) -> Path:
    return folder / f"{service}.json"

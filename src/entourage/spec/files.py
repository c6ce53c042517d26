"""Spec files: read within bounds, then checked. A file that cannot be read is a problem like any other."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from entourage.model.licences import Licences
from entourage.model.world import Infrastructure, Service
from entourage.spec.catalogue import Catalogue, read_catalogue
from entourage.spec.infrastructure import read_infrastructure
from entourage.spec.licences import read_licences
from entourage.spec.nodes import Lines, read_document
from entourage.spec.problems import START, Problems
from entourage.spec.service import read_service

MAX_BYTES = 2**20


def load_infrastructure(path: Path) -> Infrastructure:
    """The sites, links and regions in the file at `path`. Raises SpecError with every problem at once."""
    return parse_infrastructure(read_text(path), file=_name(path))


def load_service(path: Path, infrastructure: Infrastructure) -> Service:
    """The service in the file at `path`, checked against `infrastructure`. Raises SpecError with every problem."""
    return parse_service(read_text(path), file=_name(path), infrastructure=infrastructure)


def parse_infrastructure(text: str, *, file: str) -> Infrastructure:
    """As `load_infrastructure`, from text; `file` is the name in messages."""
    problems = Problems(file)
    root = read_document(text, problems)
    found = None if root is None else read_infrastructure(root, problems)
    if found is None or problems.count:
        raise problems.error()
    return found


def parse_service(text: str, *, file: str, infrastructure: Infrastructure) -> Service:
    """As `load_service`, from text; `file` is the name in messages."""
    problems = Problems(file)
    root = read_document(text, problems)
    found = None if root is None else read_service(root, infrastructure, problems)
    if found is None or problems.count:
        raise problems.error()
    return found


def parse_catalogue(text: str, *, file: str, infrastructure: Infrastructure) -> Catalogue:
    """A catalogue from text, checked against `infrastructure`. Raises SpecError with every problem at once."""
    problems = Problems(file)
    root = read_document(text, problems)
    found = None if root is None else read_catalogue(root, infrastructure, problems, file=file, text=text)
    if found is None or problems.count:
        raise problems.error()
    return found


def load_licences(path: Path, infrastructure: Infrastructure) -> Licences:
    """The products and pools in the file at `path`, for the sites there are. Raises SpecError with every problem."""
    return parse_licences(read_text(path), file=_name(path), infrastructure=infrastructure)


def parse_licences(text: str, *, file: str, infrastructure: Infrastructure) -> Licences:
    """As `load_licences`, from text; `file` is the name in messages."""
    problems = Problems(file)
    root = read_document(text, problems)
    found = None if root is None else read_licences(root, infrastructure, problems)
    if found is None or problems.count:
        raise problems.error()
    return found


def _name(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def read_text(path: Path) -> str:
    """The text of the file at `path`, within bounds. Raises SpecError."""
    problems = Problems(_name(path))
    data = b""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            data = _read_bounded(file, problems)
    except OSError as error:
        problems.add(START, f"cannot read the file: {error.strerror}", hint="check the path and its permissions")
    except ValueError:
        problems.add(START, "cannot read the file: null byte in its name", hint="check the path")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        problems.add(
            Lines(before).position(len(before)),
            f"not UTF-8 text: byte 0x{data[error.start]:02x}",
            hint="is this a binary file? a spec is YAML in UTF-8",
        )
    if problems.count:
        raise problems.error()
    return text


def _open_at_once(path: str, flags: int) -> int:
    # Without O_NONBLOCK opening a FIFO would wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _read_bounded(file: BinaryIO, problems: Problems) -> bytes:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        problems.add(START, "cannot read the file: it is a device, pipe or socket", hint="name a regular file")
    # Files such as those in /proc have size 0, and others grow: the reading is bounded too.
    elif status.st_size > MAX_BYTES or len(data := file.read(MAX_BYTES + 1)) > MAX_BYTES:
        problems.add(START, "the file is larger than 1 MiB", hint="is this a spec? the examples have 2 kB")
    else:
        return data
    return b""

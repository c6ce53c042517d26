"""Trying a service in the lab: as a user does, through the whole chain; and its guests' health by their consoles."""

import asyncio
import http.client
import time
from collections.abc import Mapping
from pathlib import Path

from entourage.drivers.netns import Namespace
from entourage.lab.guests import ALIVE, HTTP_PORT, greeting
from entourage.model.ids import HostId, MemberId, RegionId
from entourage.model.world import Role, Service

_REQUEST_DEADLINE_S = 3.0
_ANSWERED_WITHIN_S = 10.0  # a service that answers later than that after a switch does not serve
_TRY_AGAIN_S = 0.2
_MEASURED = 5
_HEARTBEAT_DEADLINE_S = 6.0  # guests say that they live each second
_LOOK_AGAIN_S = 0.1
_SHOWN = 60  # characters of an answer, in a message
# What a corrupted guest writes: panics, and the virtio complaint seen with QEMU 7.2 under emulation.
_BAD_SIGNS = (b"Kernel panic", b"BUG:", b"Oops", b"is not a head", b"entourage-failed")


class LabVerifier:
    """`entourage.ports.watch.Verifier` for the lab."""

    def __init__(self, users: Mapping[RegionId, Path], consoles: Mapping[tuple[MemberId, HostId], Path]) -> None:
        """`users`: the namespace of each region. `consoles`: the console of every possible copy of a member."""
        self._users = users
        self._consoles = consoles

    async def problems(self, service: Service) -> tuple[str, ...]:
        """One request from every region, and a heartbeat from every guest."""
        found = await asyncio.gather(
            *(self._request(service, region, path) for region, path in self._users.items()),
            *(self._heartbeat(member.id) for member in service.members),
        )
        return tuple(problem for problem in found if problem is not None)

    async def _request(self, service: Service, region: RegionId, path: Path) -> str | None:
        namespace = Namespace(path)
        try:
            deadline = time.monotonic() + _ANSWERED_WITHIN_S
            while (problem := await namespace.do(lambda _: _get(service))) is not None:
                if time.monotonic() > deadline:
                    return f"no request from {region} was answered within {_ANSWERED_WITHIN_S:g} s, the last: {problem}"
                await asyncio.sleep(_TRY_AGAIN_S)
            return None
        finally:
            namespace.close()

    async def _heartbeat(self, member: MemberId) -> str | None:
        """One of the member's copies must write a new heartbeat, and none of its consoles a bad sign."""
        consoles = [path for (name, _), path in self._consoles.items() if name == member]
        before = {path: _heartbeats(path) for path in consoles}
        deadline = time.monotonic() + _HEARTBEAT_DEADLINE_S
        while time.monotonic() < deadline:
            for path in consoles:
                if sign := _bad_sign(path):
                    return f"{member} is not well: {sign}"
                if _heartbeats(path) > before[path]:
                    return None
            await asyncio.sleep(_LOOK_AGAIN_S)
        return f"{member} gave no sign of life within {_HEARTBEAT_DEADLINE_S:g} s"


async def round_trips_ms(users: Path, service: Service) -> list[float]:
    """What requests from the namespace `users` to a server and back take, all over one connection.

    The first ones, which open the load balancer's own connections to its servers, are not counted. Raises OSError or
    http.client.HTTPException if one is not answered.
    """
    unmeasured = len(service.chain[-1])
    namespace = Namespace(users)
    try:
        took = await namespace.do(lambda _: _time_requests(str(service.address), unmeasured + _MEASURED))
    finally:
        namespace.close()
    return took[unmeasured:]


def _time_requests(address: str, count: int) -> list[float]:
    connection = http.client.HTTPConnection(address, HTTP_PORT, timeout=_REQUEST_DEADLINE_S)
    try:
        connection.connect()
        return [_time_request(connection) for _ in range(count)]
    finally:
        connection.close()


def _time_request(connection: http.client.HTTPConnection) -> float:
    start = time.monotonic()
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    if response.status != http.HTTPStatus.OK:
        raise http.client.HTTPException(f"status {response.status}")
    return (time.monotonic() - start) * 1000


def _get(service: Service) -> str | None:
    """What is wrong with a request for `/`; None if a server of this service answers it well."""
    connection = http.client.HTTPConnection(str(service.address), HTTP_PORT, timeout=_REQUEST_DEADLINE_S)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        said = response.read().decode(errors="replace")
        if response.status != http.HTTPStatus.OK:
            return f"status {response.status}"
        servers = [greeting(service, server) for server in service.of_role(Role.SERVER)]
        return None if said in servers else f"somebody else answers: {said[:_SHOWN]!r}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


def _heartbeats(console: Path) -> int:
    try:
        return console.read_bytes().count(ALIVE.encode())
    except OSError:
        return 0


def _bad_sign(console: Path) -> str | None:
    try:
        content = console.read_bytes()
    except OSError:
        return None
    for sign in _BAD_SIGNS:
        if (at := content.find(sign)) >= 0:
            return content[at:].splitlines()[0].decode(errors="replace")
    return None

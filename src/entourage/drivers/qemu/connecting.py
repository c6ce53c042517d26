"""Connections that leave from a host, and who is at their ends."""

import asyncio
import socket

from entourage.drivers.netns import Namespace
from entourage.drivers.qemu import tls
from entourage.drivers.qemu.monitor import Monitor
from entourage.drivers.qemu.process import HostAccess
from entourage.ports.errors import PermanentError

_DEADLINE_S = 10.0


async def connect_from(access: HostAccess, address: tuple[str, int]) -> socket.socket:
    """A connection from the host; a socket stays in the namespace that it was made in. PermanentError without one."""
    try:
        if access.netns is None:
            return await asyncio.to_thread(_connect, address)
        namespace = Namespace(access.netns)
        try:
            return await namespace.do(lambda _: _connect(address))
        finally:
            namespace.close()
    except OSError as error:
        raise PermanentError(f"no connection from {access.id} to {address[0]}:{address[1]}: {error}") from error


def _connect(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, timeout=_DEADLINE_S)
    connection.settimeout(None)
    return connection


async def introduce(at_source: Monitor, sending: HostAccess, at_target: Monitor, receiving: HostAccess) -> None:
    """Both ends of a copy know each other from now on, where they have certificates. PermanentError if only one has."""
    if sending.identity is None and receiving.identity is None:
        return
    if sending.identity is None or receiving.identity is None:
        bare = sending.id if sending.identity is None else receiving.id
        raise PermanentError(f"{bare} has no certificate, and the other end of the copy has one: nothing is sent")
    await tls.admit(at_target, sending.identity)
    await tls.demand(at_source, sending.inside(sending.identity.directory), receiving.identity)

"""TCP connections that leave from a host."""

import asyncio
import socket

from entourage.drivers.netns import Namespace
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

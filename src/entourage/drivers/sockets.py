"""Unix sockets of guards and agents: listening where a killed one has left its own, and connecting by any path."""

import asyncio
import os
import socket
from pathlib import Path


def listen(path: str, *, another: str) -> socket.socket:
    """A listening socket for this user only. OSError with the words `another` if somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if other.connect_ex(path) == 0:
            raise OSError(another)
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o077)
    try:
        listener.bind(path)
    finally:
        os.umask(old_mask)
    listener.listen()
    return listener


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection by the folder's handle: a socket's path has at most 107 bytes. OSError if nobody listens."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{path.name}", limit=2**20)
    finally:
        os.close(folder)

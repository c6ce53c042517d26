"""Unix sockets of processes that are killed: listening where the one before has left its own."""

import os
import socket
from pathlib import Path


def listen(path: str, *, another: str) -> socket.socket:
    """A listening socket for this user only. OSError with the words `another` if somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if other.connect_ex(path) == 0:
            raise OSError(another)
    if Path(path).is_socket():
        Path(path).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        old_mask = os.umask(0o077)
        try:
            listener.bind(path)
        finally:
            os.umask(old_mask)
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener

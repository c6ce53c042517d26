"""Encrypted streams, of memory and of disks, in which both ends prove who they are.

The target lets in one host alone, the source of this copy, and nobody before it knows which that is. The source goes on
only with a target whose certificate names the host that it was told to send to. Source: QEMU 7.2 manual, "TLS
setup for network services" and "Client authorization".
"""

import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from entourage.drivers.qemu.monitor import Monitor
from entourage.ports.errors import PermanentError

_SERVER, _CLIENT, _SOURCE, _NOBODY = "tls-server", "tls-client", "tls-source", "tls-nobody"
_WRITER = "tls-writer"  # who may write the disk; an export cannot be told of another one later on, so this one changes
OF_EXPORT = {"tls_creds": _SERVER, "tls_authz": _WRITER}  # for `nbd-server-start`


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A host's certificate, and what it names the host. `directory` has the files that QEMU looks for.

    They are `ca-cert.pem`, and `cert.pem` and `key.pem` after `server-` and `client-`, and lie inside the host's root.
    """

    name: str
    directory: Path


async def expect(monitor: Monitor, directory: str) -> None:
    """At the target, before it listens: by TLS only, and for nobody yet. `directory` as QEMU sees it."""
    for nobody in (_NOBODY, _WRITER):
        await _make(monitor, nobody, "authz-list", policy="deny")
    await _make(monitor, _SERVER, "tls-creds-x509", endpoint="server", dir=directory, verify_peer=True)
    await monitor.execute("migrate-set-parameters", tls_creds=_SERVER, tls_authz=_NOBODY)


async def admit(monitor: Monitor, source: Identity) -> None:
    """At the target: let this host in, and no other."""
    for somebody in (_SOURCE, _WRITER):
        await _make(monitor, somebody, "authz-simple", identity=f"CN={source.name}")
    await monitor.execute("migrate-set-parameters", tls_authz=_SOURCE)


async def demand(monitor: Monitor, directory: str, target: Identity) -> None:
    """At the source, before it sends: by TLS only, and to this host. `directory` as QEMU sees it."""
    await _make(monitor, _CLIENT, "tls-creds-x509", endpoint="client", dir=directory, verify_peer=True)
    await monitor.execute("migrate-set-parameters", tls_creds=_CLIENT, tls_hostname=target.name)


async def serve(monitor: Monitor, directory: str, source: Identity) -> None:
    """At the target, before it exports anything by `OF_EXPORT`: for this host only. `directory` as QEMU sees it."""
    await _make(monitor, _SERVER, "tls-creds-x509", endpoint="server", dir=directory, verify_peer=True)
    await _make(monitor, _WRITER, "authz-simple", identity=f"CN={source.name}")


async def as_client(monitor: Monitor, directory: str, target: Identity) -> dict[str, str]:
    """At the source: what a node of `driver=nbd` needs to be sure of its server. `directory` as QEMU sees it."""
    await _make(monitor, _CLIENT, "tls-creds-x509", endpoint="client", dir=directory, verify_peer=True)
    return {"tls_creds": _CLIENT, "tls_hostname": target.name}


def context(source: Identity) -> ssl.SSLContext:
    """For our own connections from the source: only to a host whose certificate names it. OSError if there is none."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(source.directory / "ca-cert.pem")
    made.load_cert_chain(source.directory / "client-cert.pem", source.directory / "client-key.pem")
    return made


async def _make(monitor: Monitor, name: str, kind: str, **properties: object) -> None:
    """Make the object, in place of the one that an earlier copy has left."""
    with suppress(PermanentError):  # there is none
        await monitor.execute("object-del", id=name)
    await monitor.execute("object-add", id=name, qom_type=kind, **properties)

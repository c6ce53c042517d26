"""Certificates for the hosts of a lab: an authority of the lab's own, whose key nobody keeps."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A lab lives for hours, and its clock may be stepped: neither end of the validity is near. 2050 is the last year in
# the older of the two forms of time in a certificate (RFC 5280, 4.1.2.5).
_FROM, _UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2049, 1, 1, tzinfo=UTC)
_USES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class Authority:
    """Signs certificates as long as it lives; its key is never written anywhere."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(f"entourage lab {name}")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = _builder(self._name, self._name, self._key.public_key())
        usage = _usage(signs=True)
        signed = builder.add_extension(constraints, critical=True).add_extension(usage, critical=True)
        self.certificate = signed.sign(self._key, hashes.SHA256())

    def write(self, directory: Path, *, name: str, address: str, until: datetime = _UNTIL) -> None:
        """A new key and certificate for the host `name`, as the files that QEMU looks for in `directory`."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address(address))])
        builder = _builder(_named(name), self._name, key.public_key(), until=until).add_extension(names, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        certificate = builder.add_extension(x509.ExtendedKeyUsage(_USES), critical=False).sign(
            self._key, hashes.SHA256()
        )
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "dh-params.pem").write_text(_dh_params())
        (directory / "ca-cert.pem").write_bytes(self.certificate.public_bytes(Encoding.PEM))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for role in ("server", "client"):
            (directory / f"{role}-cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
            kept = directory / f"{role}-key.pem"
            kept.unlink(missing_ok=True)
            kept.touch(mode=0o600)
            kept.write_bytes(private)


def write_certificates(lab: str, hosts: Mapping[Path, tuple[str, str]]) -> None:
    """One authority, and for each folder the certificate of a host: its name and its address."""
    authority = Authority(lab)
    for directory, (name, address) in hosts.items():
        authority.write(directory, name=name, address=address)


def _dh_params() -> str:
    """The group ffdhe2048 of RFC 7919 (appendix A.1), as PKCS #3 in PEM; the prime by the formula given there.

    Nobody uses it with keys of these kinds, but QEMU looks for a prime of its own for each server that it makes unless
    it is given one, and that takes up to some seconds of CPU.
    """
    prime = 2**2048 - 2**1984 + (_e_times_power_of_two(1918) + 560316) * 2**64 - 1
    # A SEQUENCE of two INTEGERs: the prime, with a zero before it as its highest bit is set, and the generator 2.
    integers = b"\x02\x82\x01\x01\0" + prime.to_bytes(256, "big") + b"\x02\x01\x02"
    text = base64.encodebytes(b"\x30\x82" + len(integers).to_bytes(2, "big") + integers).decode()
    return f"-----BEGIN DH PARAMETERS-----\n{text}-----END DH PARAMETERS-----\n"


def _e_times_power_of_two(exponent: int) -> int:
    """Floor of 2^exponent times Euler's number, by its series, with more bits than the sum of the rest needs."""
    guard = 64
    total = term = 1 << (exponent + guard)
    number = 1
    while term:
        term //= number
        total += term
        number += 1
    return total >> guard


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, until: datetime = _UNTIL
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(_FROM).not_valid_after(until)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=not signs,
        encipher_only=False,
        decipher_only=False,
    )

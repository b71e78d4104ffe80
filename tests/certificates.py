"""Certificates for the servers of tests."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Issuer:
    """A certificate with which others can be signed."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def certified(path: Path, *, last_day: int = 1) -> Path:
    """Write a self-signed certificate for 127.0.0.1 with its key, valid for ``last_day`` days from now."""
    issue(path, hosts=(HOST,), last_day=last_day)
    return path


def issue(
    path: Path,
    *,
    hosts: Sequence[str] = (),
    common_name: str = "self-signed",
    issuer: Issuer | None = None,
    last_day: int = 1,
) -> Issuer:
    """Write a certificate with its key, and return both.

    Args:
        path: Of the PEM file.
        hosts: Alternative names, or addresses; without any the certificate has no such extension.
        common_name: The subject's name.
        issuer: Signs it; None: it is self-signed.
        last_day: Days from now until it ends.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=last_day))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
    made = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return Issuer(made, key)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

"""TLS for the lab: a certificate authority and a server certificate that live in memory only.

The certificate of the authority is public and may be written to a file for the processes that are
to trust it; its key is dropped as soon as the server certificate is signed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["LAB_ADDRESSES", "LAB_HOSTS", "LabTls", "create_tls", "system_bundle", "write_bundle"]

LAB_HOSTS = (
    "localhost",
    "login.microsoftonline.com",
    "login.botframework.com",
    "sts.windows.net",
)
LAB_ADDRESSES = ("127.0.0.1", "::1")
VALID = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class LabTls:
    """What the lab's https server needs, and what its clients need to trust it (`ca_pem`)."""

    ca_pem: str
    server_context: ssl.SSLContext = field(repr=False)

    def client_context(self) -> ssl.SSLContext:
        """A context for clients in this process that trusts the lab and nobody else."""
        return ssl.create_default_context(cadata=self.ca_pem)


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def create_tls(*, now: Callable[[], float] = time.time, hosts: Sequence[str] = LAB_HOSTS) -> LabTls:
    """A new authority and a server certificate for `hosts` and both loopback addresses."""
    today = datetime.fromtimestamp(now(), UTC)
    authority = _authority(today, hosts)
    server = _server(today, hosts, authority)
    ca_pem = authority.certificate.public_bytes(Encoding.PEM).decode("ascii")
    return LabTls(ca_pem, _server_context(server))


def system_bundle() -> str:
    """The certificates that this machine trusts: certifi's, else the system's, else none."""
    if importlib.util.find_spec("certifi") is not None:
        return Path(importlib.import_module("certifi").where()).read_text(encoding="utf-8")
    found = ssl.get_default_verify_paths().cafile
    return Path(found).read_text(encoding="utf-8", errors="replace") if found else ""


def write_bundle(path: Path, *, ca_pem: str, trusted: str | None = None) -> Path:
    """Write a bundle of `trusted` (by default `system_bundle()`) and the lab's authority.

    For processes whose trust store is replaced by a file (REQUESTS_CA_BUNDLE, SSL_CERT_FILE).
    """
    others = system_bundle() if trusted is None else trusted
    path.write_text(f"{others.rstrip()}\n{ca_pem}".lstrip(), encoding="utf-8")
    return path


def _authority(today: datetime, hosts: Sequence[str]) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("skills-host lab authority")
    usage = _usage(signs_certificates=True)
    # Whoever comes to trust this authority must trust it for nothing but the lab's own names.
    limits = x509.NameConstraints(
        permitted_subtrees=[
            *(x509.DNSName(host) for host in hosts),
            *(x509.IPAddress(ip_network(address)) for address in LAB_ADDRESSES),
        ],
        excluded_subtrees=None,
    )
    certificate = (
        _builder(today, subject=name, issuer=name, key=key, signer=key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(limits, critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Pair(certificate, key)


def _server(today: datetime, hosts: Sequence[str], authority: _Pair) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        *(x509.DNSName(host) for host in hosts),
        *(x509.IPAddress(ip_address(address)) for address in LAB_ADDRESSES),
    ]
    issuer = authority.certificate.subject
    certificate = (
        _builder(today, subject=_name("localhost"), issuer=issuer, key=key, signer=authority.key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return _Pair(certificate, key)


def _builder(
    today: datetime,
    *,
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(above, critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _server_context(server: _Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    certificate = server.certificate.public_bytes(Encoding.PEM)
    key = server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # The ssl module reads certificate and key from paths only; a pipe is a path without a disk.
    with _Pipe(certificate) as certificate_path, _Pipe(key) as key_path:
        context.load_cert_chain(certificate_path, key_path)
    return context


class _Pipe:
    """A path from which `content` can be read once; small enough for any pipe's buffer."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._reader = -1

    def __enter__(self) -> str:
        self._reader, writer = os.pipe()
        os.write(writer, self._content)
        os.close(writer)
        return f"/dev/fd/{self._reader}"

    def __exit__(self, *_: object) -> None:
        os.close(self._reader)

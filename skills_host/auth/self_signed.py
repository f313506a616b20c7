"""A new private key with a certificate that it signs itself: all that an authority wants of a bot.

The authority compares what is registered with what signs; nobody else need vouch for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["NAME_CHARACTERS", "SelfSigned", "self_signed"]

NAME_CHARACTERS = 64
"""The longest common name that a certificate may have."""

KEY_BITS = 2048
EARLIER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """The same certificate in three files: public alone, key alone (both PEM), both (PFX).

    The key is not encrypted in either; no repr shows it.
    """

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    pfx: bytes = field(repr=False)


def self_signed(
    name: str,
    *,
    days: int,
    now: float,
    new_key: Callable[[], rsa.RSAPrivateKey] = lambda: rsa.generate_private_key(65537, KEY_BITS),
) -> SelfSigned:
    """A key and a certificate with the common name `name`, valid for `days` from now on.

    Raises `ValueError` for a name that no certificate can have.
    """
    key = new_key()
    certificate = _certificate(name, key, today=datetime.fromtimestamp(now, UTC), days=days)
    return SelfSigned(
        certificate_pem=certificate.public_bytes(Encoding.PEM),
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        pfx=pkcs12.serialize_key_and_certificates(
            name.encode(), key, certificate, None, NoEncryption()
        ),
    )


def _certificate(
    name: str, key: rsa.RSAPrivateKey, *, today: datetime, days: int
) -> x509.Certificate:
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # The authority's clock may be behind this machine's.
        .not_valid_before(today - EARLIER)
        .not_valid_after(today + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)

"""Certificates with their keys for tests; the keys are made once for the whole session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from tests.auth.issuer import NOW, private_key

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def encryption(password: str | None) -> KeySerializationEncryption:
    """What a private key is written with."""
    return BestAvailableEncryption(password.encode()) if password else NoEncryption()


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, in the forms that files have."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def key_pem(self, password: str | None = None) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption(password))

    def pfx(self, password: str | None = None, *others: Pair) -> bytes:
        more = [other.certificate for other in others]
        return pkcs12.serialize_key_and_certificates(
            b"bot", self.key, self.certificate, more, encryption(password)
        )


def pair(
    name: str = "bot",
    *,
    issuer: Pair | None = None,
    key: PrivateKey | None = None,
    bits: int = 2048,
    begins: float = NOW - 3600,
    days: float = 365,
) -> Pair:
    """A certificate with the common name `name`, signed by its own key or by `issuer`."""
    own = key or private_key(f"certificate {name}", bits)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.fromtimestamp(begins, UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
    )
    return Pair(built.sign(issuer.key if issuer else own, SHA256()), own)


@cache
def bot_pair() -> Pair:
    """The certificate of most tests: RSA 2048, valid for a year since an hour before `NOW`."""
    return pair()

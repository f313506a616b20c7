"""A bot's certificate: what is in its file, until when it is good, and what is signed with it."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)

from skills_host.errors import SettingsError

__all__ = [
    "ASSERTION_SECONDS",
    "EXPIRY_STEPS",
    "BadCertificate",
    "Certificate",
    "check_valid",
    "client_assertion",
    "expiry_step",
    "read_certificate",
    "read_key",
    "read_public_certificate",
]

ASSERTION_SECONDS = 600
"""How long an assertion can be used."""

EXPIRY_STEPS = (1, 7, 30)
"""The days before the end of a certificate from which on its owner is told."""

DAY = 86400.0
KEY_BITS = 2048
SHA1_DIGITS = 40
PEM = b"-----BEGIN "
PEM_KEY = re.compile(rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


class BadCertificate(SettingsError):
    """A certificate or its key cannot be used; `member` is the setting that is to blame."""

    def __init__(self, message: str, *, member: str = "certificate") -> None:
        super().__init__(message)
        self.member = member


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate, perhaps with its private key, which no repr shows.

    `sha1` and `sha256` are thumbprints in upper-case hex, `not_before` and `not_after` seconds
    since the epoch, `chain` the certificates in DER: its own, its issuer's, and so on.
    """

    subject: str
    sha1: str
    sha256: str
    not_before: float
    not_after: float
    chain: tuple[bytes, ...] = field(repr=False)
    key: rsa.RSAPrivateKey | None = field(default=None, repr=False, compare=False)

    def days_left(self, now: float) -> float:
        """Days until it expires; negative afterwards."""
        return (self.not_after - now) / DAY

    def private_key(self) -> rsa.RSAPrivateKey:
        """Its private key; `BadCertificate` where only the certificate is known."""
        if self.key is None:
            raise BadCertificate("there is no private key with it", member="key")
        return self.key

    def public_key(self) -> rsa.RSAPublicKey:
        """What verifies its signatures; `BadCertificate` for another kind than RSA."""
        public = x509.load_der_x509_certificate(self.chain[0]).public_key()
        if not isinstance(public, rsa.RSAPublicKey):
            raise BadCertificate("the certificate's key is not RSA")
        return public


def expiry_step(days: float) -> int | None:
    """The smallest of `EXPIRY_STEPS` that so few days are fewer than; None if it is far off."""
    return next((step for step in EXPIRY_STEPS if days < step), None)


def check_valid(certificate: Certificate, *, now: float) -> None:
    """Raise `BadCertificate` unless the certificate is valid at this instant."""
    if now < certificate.not_before:
        raise BadCertificate("the certificate is not yet valid")
    if now >= certificate.not_after:
        raise BadCertificate("the certificate has expired")


def client_assertion(
    *,
    key: rsa.RSAPrivateKey,
    thumbprint: str,
    client_id: str,
    token_url: str,
    now: float,
    jti: str,
    chain: Sequence[bytes] = (),
) -> str:
    """What `client_id` proves itself with at `token_url`: a token that it signs itself.

    The thumbprint's length says how: SHA-1 with RS256, SHA-256 with PS256. A `chain` (DER) is
    sent along. `jti` must be new each time.
    """
    digest = urlsafe_b64encode(bytes.fromhex(thumbprint)).rstrip(b"=").decode("ascii")
    is_sha1 = len(thumbprint) == SHA1_DIGITS
    headers: dict[str, object] = {"x5t" if is_sha1 else "x5t#S256": digest}
    if chain:
        headers["x5c"] = [b64encode(certificate).decode("ascii") for certificate in chain]
    instant = int(now)
    claims = {
        "aud": token_url,
        "iss": client_id,
        "sub": client_id,
        "jti": jti,
        "iat": instant,
        "nbf": instant,
        "exp": instant + ASSERTION_SECONDS,
    }
    return jwt.encode(claims, key, algorithm="RS256" if is_sha1 else "PS256", headers=headers)


# Reading


def read_certificate(
    content: bytes, *, key: bytes | None = None, password: str | None = None
) -> Certificate:
    """The certificate with its private key: PEM, PFX, or DER with a key of its own.

    `key` is PEM, needed where `content` has none. The password opens the PFX or the key. Raises
    `BadCertificate`: unreadable, without a key, not belonging together, or of another kind than
    RSA with 2048 bits.
    """
    if PEM in content:
        found: list[x509.Certificate] = _pem_certificates(content)
        private = read_key(content if key is None else key, password=password)
        return _certificate(_own(found, private), found, private)
    if key is not None:
        found = [_der_certificate(content)]
        private = read_key(key, password=password)
        return _certificate(_own(found, private), found, private)
    pfx = _pfx(content, password)
    if pfx.key is None or pfx.cert is None:
        raise BadCertificate("the PFX file lacks the certificate or its key")
    private = _checked_key(pfx.key, member="certificate")
    found = [pfx.cert.certificate, *(more.certificate for more in pfx.additional_certs)]
    return _certificate(_own(found, private), found, private)


def read_public_certificate(content: bytes, *, password: str | None = None) -> Certificate:
    """The certificate alone: PEM, DER or PFX; a password is needed for a PFX that has one."""
    if PEM in content:
        found = _pem_certificates(content)
        return _certificate(found[0], found, None)
    try:
        own = _der_certificate(content)
    except BadCertificate:
        pfx = _pfx(content, password)
        if pfx.cert is None:
            raise BadCertificate("there is no certificate in the PFX file") from None
        own = pfx.cert.certificate
    return _certificate(own, [own], None)


def read_key(content: bytes, *, password: str | None = None) -> rsa.RSAPrivateKey:
    """The private key among PEM blocks; raises `BadCertificate` naming `key` or `password`."""
    block = PEM_KEY.search(content)
    if block is None:
        raise BadCertificate("there is no private key in PEM", member="key")
    secret = password.encode() if password is not None else None
    try:
        key = load_pem_private_key(block[0], secret)
    except TypeError:
        said = "the key is not encrypted" if password is not None else "the key is encrypted"
        raise BadCertificate(said, member="password") from None
    except (ValueError, UnsupportedAlgorithm):
        if password is not None:
            raise BadCertificate("it does not open the key", member="password") from None
        raise BadCertificate("the private key cannot be read", member="key") from None
    return _checked_key(key, member="key")


def _checked_key(key: PrivateKeyTypes, *, member: str) -> rsa.RSAPrivateKey:
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadCertificate("the private key is not RSA", member=member)
    if key.key_size < KEY_BITS:
        raise BadCertificate(f"the private key has fewer than {KEY_BITS} bits", member=member)
    return key


def _pem_certificates(content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise BadCertificate("there is no readable certificate in PEM") from None


def _der_certificate(content: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(content)
    except ValueError:
        raise BadCertificate("it is neither PEM nor a certificate in DER") from None


def _pfx(content: bytes, password: str | None) -> pkcs12.PKCS12KeyAndCertificates:
    # An empty password and none are written in two ways, and meant as one.
    secrets = [password.encode()] if password else [None, b""]
    for secret in secrets:
        try:
            return pkcs12.load_pkcs12(content, secret)
        except UNREADABLE:
            continue
    if password:
        raise BadCertificate("it does not open the file, or it is no PFX", member="password")
    raise BadCertificate("it is neither PEM nor a PFX file that opens without a password")


def _own(found: Sequence[x509.Certificate], key: rsa.RSAPrivateKey) -> x509.Certificate:
    ours = _public_bytes(key.public_key())
    for certificate in found:
        # Compared as bytes: what else is in a file may have a kind of key that cannot be read.
        if ours in certificate.public_bytes(Encoding.DER):
            return certificate
    raise BadCertificate("the certificate does not match its key")


def _public_bytes(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certificate(
    own: x509.Certificate, found: Sequence[x509.Certificate], key: rsa.RSAPrivateKey | None
) -> Certificate:
    return Certificate(
        subject=own.subject.rfc4514_string(),
        sha1=own.fingerprint(SHA1()).hex().upper(),  # noqa: S303 - a name, not a proof
        sha256=own.fingerprint(SHA256()).hex().upper(),
        not_before=own.not_valid_before_utc.timestamp(),
        not_after=own.not_valid_after_utc.timestamp(),
        chain=tuple(part.public_bytes(Encoding.DER) for part in _chain(own, found)),
        key=key,
    )


def _chain(own: x509.Certificate, found: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The certificate, its issuer, and so on; files have them in any order."""
    chain = [own]
    by_subject = {certificate.subject: certificate for certificate in found}
    while (above := by_subject.get(chain[-1].issuer)) is not None and above not in chain:
        chain.append(above)
    return chain

"""What a bot proves itself with when it asks the authority for a token."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from skills_host.auth.azure import platform_identity
from skills_host.auth.certificates import (
    BadCertificate,
    Certificate,
    check_valid,
    client_assertion,
    read_certificate,
    read_key,
)
from skills_host.errors import SettingsError
from skills_host.settings import BotSettings, Cloud, Credential, IdentityKind

__all__ = [
    "ASSERTION_TYPE",
    "AnyCredential",
    "ClientCertificate",
    "ClientCredential",
    "ClientSecret",
    "IssuedToken",
    "TokenCredential",
    "credential_of",
]

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class ClientCredential(Protocol):
    """An app id with a proof of it; `tenant` empty means the cloud's tenant for shared bots."""

    @property
    def client_id(self) -> str:
        """The app id."""

    @property
    def tenant(self) -> str:
        """The tenant that is asked for tokens, or an empty string."""

    def form(self, scope: str, *, token_url: str, now: float) -> Mapping[str, str]:
        """The fields of a client-credentials request for `scope`; the proof is among them."""


class IssuedToken(Protocol):
    """What azure-core calls an access token."""

    @property
    def token(self) -> str:
        """The token itself."""

    @property
    def expires_on(self) -> int:
        """When it expires, in seconds since the epoch."""


@runtime_checkable
class TokenCredential(Protocol):
    """Anything with azure-core's async `get_token`: it gets tokens by itself."""

    async def get_token(self, *scopes: str, **options: Any) -> IssuedToken:
        """A token for the scopes; raises whatever it likes where there is none."""


AnyCredential = ClientCredential | TokenCredential


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """An app id with its password."""

    client_id: str
    tenant: str
    secret: str = field(repr=False)

    def form(self, scope: str, *, token_url: str, now: float) -> Mapping[str, str]:
        """The fields of a client-credentials request for `scope`; the secret is among them."""
        return _form(self.client_id, scope) | {"client_secret": self.secret}


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """An app id with the private key of a certificate that is registered for it.

    `thumbprint` is the certificate's, in hex: SHA-1 or SHA-256. `chain` (DER) is sent along if it
    is not empty. `certificate` is None where only the key and a thumbprint are known.
    """

    client_id: str
    tenant: str
    key: RSAPrivateKey = field(repr=False)
    thumbprint: str
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    certificate: Certificate | None = None
    new_id: Callable[[], str] = field(default=lambda: str(uuid4()), repr=False)

    def form(self, scope: str, *, token_url: str, now: float) -> Mapping[str, str]:
        """The fields of a client-credentials request for `scope`, with an assertion made now."""
        assertion = client_assertion(
            key=self.key,
            thumbprint=self.thumbprint,
            chain=self.chain,
            client_id=self.client_id,
            token_url=token_url,
            now=now,
            jti=self.new_id(),
        )
        proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        return _form(self.client_id, scope) | proof


def credential_of(
    name: str,
    bot: BotSettings,
    *,
    cloud: Cloud,
    now: float,
    new_id: Callable[[], str],
    external: TokenCredential | None = None,
) -> AnyCredential:
    """What the bot `name` proves itself with; `external` is what its code brings.

    Raises `SettingsError` naming the setting where a certificate cannot be used at this instant,
    and where there is an external credential that the settings do not ask for, or the reverse.
    """
    kind = bot.credential.identity
    if (kind is IdentityKind.EXTERNAL) != (external is not None):
        there = "asked for, but none is given" if external is None else "given, but not asked for"
        raise SettingsError(f"bots.{name}.credential.identity: an external credential is {there}")
    if external is not None:
        return external
    if kind is not None:
        return platform_identity(name, bot, cloud)
    try:
        return _credential(bot, now=now, new_id=new_id)
    except BadCertificate as exc:
        raise SettingsError(f"bots.{name}.credential.{exc.member}: {exc}") from None


def _credential(bot: BotSettings, *, now: float, new_id: Callable[[], str]) -> ClientCredential:
    given, tenant = bot.credential, bot.tenant or ""
    if (secret := given.revealed("secret")) is not None:
        return ClientSecret(bot.app_id, tenant, secret)
    key, password = _bytes(given, "key"), given.revealed("password") or None
    content = _bytes(given, "certificate")
    if content is None:
        private = read_key(key or b"", password=password)
        return ClientCertificate(bot.app_id, tenant, private, given.thumbprint, new_id=new_id)
    certificate = read_certificate(content, key=key, password=password)
    check_valid(certificate, now=now)
    return ClientCertificate(
        bot.app_id,
        tenant,
        certificate.private_key(),
        _thumbprint(certificate, given.thumbprint),
        chain=certificate.chain if given.send_chain else (),
        certificate=certificate,
        new_id=new_id,
    )


def _bytes(given: Credential, name: Literal["certificate", "key"]) -> bytes | None:
    text = given.revealed(name)
    if text is None or "-----BEGIN " in text:
        return text if text is None else text.encode()
    try:
        return b64decode(text)
    except ValueError:
        raise BadCertificate("expected PEM, or a PFX file in base64", member=name) from None


def _thumbprint(certificate: Certificate, asked: str) -> str:
    own = {"sha256": certificate.sha256, "sha1": certificate.sha1}
    if asked in own:
        return own[asked]
    if asked not in own.values():
        raise BadCertificate("it is not that of the certificate", member="thumbprint")
    return asked


def _form(client_id: str, scope: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "client_id": client_id, "scope": scope}

"""App registrations and managed identities that the lab's authority knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from skills_host.auth.certificates import Certificate, read_public_certificate
from skills_host.settings import canonical_app_id

__all__ = ["BOTFRAMEWORK_TENANT", "LabApp", "TokenVersion"]

TokenVersion = Literal["1.0", "2.0"]
"""Whether a token names its application in `appid` (1.0) or in `azp` (2.0)."""

BOTFRAMEWORK_TENANT = "d6d49420-f39b-4df7-a1dc-d59a935871db"


@dataclass(frozen=True, slots=True)
class LabApp:
    """An app registration; single-tenant where `tenant` is not the Bot Framework's own.

    `token_version` is the version of tokens whose audience is this app. It proves itself with its
    secret, its certificate (PEM), or a token of somebody it `trusts`: a managed identity's client
    id, or the subject of a workload. A `managed` one is an identity of the platform itself. Raises
    `ValueError` or `BadCertificate`.
    """

    app_id: str
    secret: str = field(default="", repr=False)
    tenant: str = BOTFRAMEWORK_TENANT
    token_version: TokenVersion = "2.0"  # noqa: S105 - a version, not a secret
    certificate: str = field(default="", repr=False)
    trusts: tuple[str, ...] = ()
    managed: Literal["", "user", "system"] = ""
    registered: tuple[Certificate, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "app_id", canonical_app_id(self.app_id))
        object.__setattr__(self, "tenant", str(UUID(self.tenant)))
        object.__setattr__(self, "trusts", tuple(self.trusts))
        if not (self.secret or self.certificate or self.trusts or self.managed):
            raise ValueError("a lab app needs a secret, a certificate, or somebody it trusts")
        object.__setattr__(self, "registered", _registered(self.certificate))

    def is_known_in(self, tenant: str) -> bool:
        """True if the directory `tenant` has this app: multi-tenant apps are in all of them."""
        return self.tenant in (BOTFRAMEWORK_TENANT, tenant)


def _registered(pem: str) -> tuple[Certificate, ...]:
    if not pem:
        return ()
    certificate = read_public_certificate(pem.encode())
    certificate.public_key()
    return (certificate,)

"""What a bot proves itself with when it asks the authority for a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ClientSecret"]


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """An app id with its password; `tenant` empty means the cloud's tenant for shared bots."""

    client_id: str
    tenant: str
    secret: str = field(repr=False)

    def form(self, scope: str) -> Mapping[str, str]:
        """The fields of a client-credentials request for `scope`; the secret is among them."""
        return {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.secret,
            "scope": scope,
        }

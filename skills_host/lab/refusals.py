"""Why the lab's authority refuses a token request: one table, in the words of Entra's errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skills_host.errors import SkillsHostError

__all__ = ["FAULTS", "Fault", "GrantRefused"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to refuse a token request: HTTP status, OAuth error, Entra's number, a sentence."""

    status: int
    error: str
    number: int
    text: str


FAULTS: Mapping[str, Fault] = {
    "tenant": Fault(400, "invalid_request", 90002, "There is no tenant of this name."),
    "grant": Fault(
        400, "unsupported_grant_type", 70003, "Only the client_credentials grant is offered."
    ),
    "parameter": Fault(
        400, "invalid_request", 900144, "The form lacks client_id or what to reach."
    ),
    "proof": Fault(
        401, "invalid_client", 7000218, "The form lacks client_assertion or client_secret."
    ),
    "client": Fault(
        400, "unauthorized_client", 700016, "The tenant has no application with this client_id."
    ),
    "secret": Fault(401, "invalid_client", 7000215, "The client secret is wrong."),
    "assertion-malformed": Fault(
        400, "invalid_request", 50027, "The client assertion is no token, or lacks a usable jti."
    ),
    "assertion-key": Fault(
        401, "invalid_client", 700027, "The certificate of the client assertion is not registered."
    ),
    "assertion-expired": Fault(
        401, "invalid_client", 700027, "The certificate of the client assertion has expired."
    ),
    "assertion-signature": Fault(
        401, "invalid_client", 700027, "The signature of the client assertion does not match."
    ),
    "assertion-client": Fault(
        401, "invalid_client", 700021, "Issuer and subject must both be the client_id."
    ),
    "assertion-audience": Fault(
        401, "invalid_client", 700023, "The client assertion is not for this token endpoint."
    ),
    "assertion-time": Fault(
        401, "invalid_client", 700024, "The client assertion is outside of its time range."
    ),
    "assertion-used": Fault(
        401, "invalid_client", 50013, "A client assertion with this jti was taken before."
    ),
    "exchange-issuer": Fault(
        401, "invalid_client", 700211, "The app trusts no such issuer of an exchanged token."
    ),
    "exchange-audience": Fault(
        401, "invalid_client", 700212, "The exchanged token is not meant for an exchange."
    ),
    "exchange-subject": Fault(
        401, "invalid_client", 700213, "The app trusts no such subject of an exchanged token."
    ),
    "managed-audience": Fault(
        400, "invalid_resource", 500011, "A managed identity accepts no tokens: it is no resource."
    ),
    "scope": Fault(
        400, "invalid_scope", 1002012, "The scope must be one resource followed by /.default."
    ),
    "resource": Fault(
        400, "invalid_resource", 500011, "The tenant has no application of the requested resource."
    ),
}


class GrantRefused(SkillsHostError):
    """A token request was refused; `fault` is a row of `FAULTS`."""

    def __init__(self, fault: str) -> None:
        self.fault = FAULTS[fault]
        super().__init__(self.fault.text, code="token-unavailable")

    @property
    def status(self) -> int:
        """The HTTP status that Entra answers with."""
        return self.fault.status

    def body(self, *, now: float, trace: str) -> dict[str, Any]:
        """The OAuth error document, with Entra's additions."""
        return {
            "error": self.fault.error,
            "error_description": f"AADSTS{self.fault.number}: {self.fault.text}",
            "error_codes": [self.fault.number],
            "timestamp": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
            "trace_id": trace,
            "correlation_id": trace,
        }

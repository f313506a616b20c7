"""The names that bots of the SDKs already have in their environment, for the default bot. Pure.

`MicrosoftApp…` are Bot Framework's, `CONNECTIONS__NAME__SETTINGS__…` the Agents SDK's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from skills_host.errors import SettingsError

__all__ = ["known_settings"]

APP = MappingProxyType(
    {
        "MicrosoftAppId": "app_id",
        "MicrosoftAppPassword": "credential.secret",
        "MicrosoftAppTenantId": "tenant",
        "CertificateThumbprint": "credential.thumbprint",
        "CertificatePrivateKey": "credential.key",
    }
)
CERTIFICATE = ("CertificateThumbprint", "CertificatePrivateKey")
MANAGED = "userassignedmsi"
SINGLE = "singletenant"
TYPES = ("multitenant", SINGLE, MANAGED)

CONNECTION = re.compile(r"CONNECTIONS__([^_].*?)__SETTINGS__([A-Z0-9_]+)")
DEFAULT_CONNECTION = "SERVICE_CONNECTION"
EVERY = {"CLIENTID": "app_id", "TENANTID": "tenant"}
SECRET = {"CLIENTSECRET": "credential.secret"}
PFX = {"CERTPFXFILE": "credential.certificate", "CERTPFXPASSWORD": "credential.password"}
PEM = {"CERTPEMFILE": "credential.certificate", "CERTKEYFILE": "credential.key"}
PROOFS = {"CLIENTSECRET": "credential.secret", "CERTPFXFILE": "credential.certificate"}
# What each AUTHTYPE takes besides the two that every one has, and what follows from it.
AUTH_TYPES: Mapping[str, tuple[Mapping[str, str], Mapping[str, Any]]] = MappingProxyType(
    {
        "clientsecret": (SECRET, {}),
        "certificate": (PFX | PEM | {"SENDX5C": "credential.send_chain"}, {}),
        "certificatesubjectname": (PFX | PEM, {"credential.send_chain": True}),
        "usermanagedidentity": ({}, {"credential.identity": "user-assigned"}),
        "systemmanagedidentity": ({}, {"credential.identity": "system-assigned"}),
        "federatedcredentials": (
            {"FEDERATEDCLIENTID": "credential.client_id"},
            {"credential.identity": "federated"},
        ),
        "workloadidentity": (
            {"FEDERATEDTOKENFILE": "credential.token_file"},
            {"credential.identity": "workload"},
        ),
    }
)
TRUE = ("true", "1", "yes")


def known_settings(environ: Mapping[str, str], bot: str) -> dict[str, Any]:
    """The `bots` table that the environment's known names make for the default bot `bot`.

    Raises `SettingsError` naming what is missing, contradictory or not known.
    """
    app = _of_app(environ)
    connection = _of_connection(environ)
    if app and connection:
        raise SettingsError(
            f"{next(name for name in APP if environ.get(name))}: give either it or CONNECTIONS__…"
        )
    members = app or connection
    return {"bots": {bot: _nested(members)}} if members else {}


def _of_app(environ: Mapping[str, str]) -> dict[str, Any]:
    found = {APP[name]: environ[name] for name in APP if environ.get(name)}
    kind = environ.get("MicrosoftAppType", "").lower()
    if kind and kind not in TYPES:
        raise SettingsError("MicrosoftAppType: expected MultiTenant, SingleTenant, UserAssignedMSI")
    if environ.get("MicrosoftAppPassword") and any(map(environ.get, CERTIFICATE)):
        raise SettingsError(f"MicrosoftAppPassword: give either it or {CERTIFICATE[0]}")
    if kind != MANAGED:
        return found
    for name in ("MicrosoftAppPassword", *CERTIFICATE):
        if environ.get(name):
            raise SettingsError(f"{name}: MicrosoftAppType UserAssignedMSI has none")
    return found | {"credential.identity": "user-assigned"}


def _of_connection(environ: Mapping[str, str]) -> dict[str, Any]:
    given, prefix = _connection(environ)
    if not given:
        return {}
    kind = given.get("AUTHTYPE", "ClientSecret").lower()
    if kind not in AUTH_TYPES:
        raise SettingsError(f"{prefix}AUTHTYPE: expected one of {', '.join(sorted(AUTH_TYPES))}")
    takes, follows = AUTH_TYPES[kind]
    members: dict[str, Any] = dict(follows)
    for name, target in (EVERY | dict(takes)).items():
        if name in given:
            members[target] = _boolean(given[name]) if name == "SENDX5C" else given[name]
    if not members.get("app_id"):
        raise SettingsError(f"{prefix}CLIENTID: is needed")
    _check_known(given, takes, kind, prefix)
    proof = next((name for name in takes if name in PROOFS), None)
    if proof is not None and not members.keys() & set(PROOFS.values()):
        raise SettingsError(f"{prefix}{proof}: AUTHTYPE {kind} needs it")
    return members


def _check_known(
    given: Mapping[str, str], takes: Mapping[str, str], kind: str, prefix: str
) -> None:
    """Refuse what belongs to another kind; leave what says nothing of the credential."""
    kinds = (names for names, _ in AUTH_TYPES.values())
    of_a_kind = {name for names in kinds for name in names}
    for name in sorted(of_a_kind - takes.keys()):
        if name in given:
            raise SettingsError(f"{prefix}{name}: AUTHTYPE {kind} has none")


def _connection(environ: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The settings of the one connection, or of the default one, and how their names begin."""
    found: dict[str, dict[str, str]] = {}
    for name, value in environ.items():
        match = CONNECTION.fullmatch(name.upper())
        if match is not None and value:
            found.setdefault(match[1], {})[match[2]] = value
    if not found:
        return {}, ""
    chosen = DEFAULT_CONNECTION if DEFAULT_CONNECTION in found else next(iter(found))
    if len(found) > 1 and chosen != DEFAULT_CONNECTION:
        raise SettingsError(f"CONNECTIONS__…: several, and none is {DEFAULT_CONNECTION}")
    return found[chosen], f"CONNECTIONS__{chosen}__SETTINGS__"


def _boolean(text: str) -> bool:
    return text.lower() in TRUE


def _nested(members: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in members.items():
        *tables, last = path.split(".")
        node = nested
        for table in tables:
            node = node.setdefault(table, {})
        node[last] = value
    return nested

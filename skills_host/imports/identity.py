"""What a bot on an SDK proves itself with, in our words; its secrets stay in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skills_host.clouds import canonical_app_id
from skills_host.errors import SettingsError
from skills_host.imports.draft import Draft
from skills_host.imports.layouts import FoundBot
from skills_host.imports.python_source import FromEnvironment
from skills_host.imports.source import text_of
from skills_host.known_names import known_settings

__all__ = ["bot_table"]

NOBODY = "ffffffff-ffff-4fff-8fff-ffffffffffff"
PREFIX = "CONNECTIONS__SERVICE_CONNECTION__SETTINGS__"
HIDDEN = ("secret", "key", "password")
PEM = "-----BEGIN PRIVATE KEY-----"


def bot_table(found: FoundBot, draft: Draft, *, kind: str) -> dict[str, Any]:
    """The `[bots.NAME]` table of a bot; what is missing or secret is a variable."""
    given, names = _given(found)
    where = f"bots.{kind}"
    table: dict[str, Any] = {"kind": kind}
    known = f"{PREFIX}CLIENTID" if found.connection else "MicrosoftAppId"
    app_name = names["app_id"]
    app_id = _app_id(given.get(known, ""))
    table["app_id"] = app_id or draft.variable(app_name, NOBODY)
    settings = _known(given, known, draft, where)
    if tenant := settings.get("tenant"):
        table["tenant"] = _app_id(tenant) or draft.variable(names["tenant"], NOBODY)
    credential = dict(settings.get("credential", {}))
    proved = bool(credential)
    _hide(credential, names, draft, where)
    table["credential"] = credential
    if not app_id or not proved:
        missing = [n for n, ok in ((app_name, app_id), (names["secret"], proved)) if not ok]
        draft.differs("anonymous-auth", where, ", ".join(missing))
    return table


def _given(found: FoundBot) -> tuple[dict[str, str], dict[str, str]]:
    """What the files say by known names, and the variable for each part of an identity."""
    if not found.connection:
        names = {
            "app_id": "MicrosoftAppId",
            "tenant": "MicrosoftAppTenantId",
            "secret": "MicrosoftAppPassword",
            "key": "CertificatePrivateKey",
        }
        for part, name in names.items():
            value = found.identity.get(name)
            names[part] = value.name if isinstance(value, FromEnvironment) else name
        return {name: text_of(value) for name, value in found.identity.items()}, names
    # Not the connection's own names: the host would take those for a whole connection.
    texts = {PREFIX + name: text_of(value) for name, value in found.connection.items()}
    names = {
        "app_id": "BOT_APP_ID",
        "tenant": "BOT_TENANT",
        "secret": "BOT_SECRET",
        "password": "BOT_CERTIFICATE_PASSWORD",
    }
    if not texts.get(f"{PREFIX}TENANTID"):
        tenant = texts.get(f"{PREFIX}AUTHORITYENDPOINT", "").rstrip("/").rpartition("/")[2]
        texts |= {f"{PREFIX}TENANTID": tenant} if _app_id(tenant) else {}
    return texts, names


def _known(given: Mapping[str, str], app_id: str, draft: Draft, where: str) -> Mapping[str, Any]:
    filled = {name: value for name, value in given.items() if not _is_placeholder(value)}
    try:
        # An app id that is missing becomes a variable: it is not what makes a credential wrong.
        bots = known_settings(filled | {app_id: NOBODY}, "bot")["bots"]
    except SettingsError as exc:
        missing = f"{PREFIX}CLIENTSECRET: AUTHTYPE clientsecret needs it"
        if str(exc) != missing:
            draft.differs("credential", where, str(exc))
        return {}
    settings: Mapping[str, Any] = bots["bot"]
    return settings


def _hide(credential: dict[str, Any], names: Mapping[str, str], draft: Draft, where: str) -> None:
    """Put a variable in the place of each secret, and of the one that is missing."""
    if "thumbprint" in credential and "key" not in credential:
        credential["key"] = ""
    if not credential:
        credential["secret"] = ""
    for part in HIDDEN:
        if part not in credential or part not in names:
            continue
        if part == "key" and "thumbprint" in credential:
            draft.differs("certificate-store", where, names[part])
        elif credential[part]:
            draft.differs("secret-in-file", where, names[part])
        credential[part] = draft.variable(names[part], PEM if part == "key" else "x")


def _app_id(text: str) -> str:
    try:
        return canonical_app_id(text)
    except ValueError:
        return ""


def _is_placeholder(text: str) -> bool:
    """True for what templates have in the place of a value."""
    return not text or text.startswith(("{", "<", "[", "$", "%"))

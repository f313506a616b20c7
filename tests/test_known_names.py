"""The names that bots of the SDKs already have, as settings of the default bot."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from skills_host.configuration import from_mapping
from skills_host.errors import SettingsError
from skills_host.known_names import known_settings
from skills_host.settings import BotSettings, IdentityKind

ID = "a0000000-0000-4000-8000-000000000001"
OTHER = "b0000000-0000-4000-8000-000000000002"
TENANT = "d0000000-0000-4000-8000-000000000001"
MSI = {"MicrosoftAppType": "UserAssignedMSI"}
APP = {"MicrosoftAppId": ID, "MicrosoftAppTenantId": TENANT}


def connection(name: str = "SERVICE_CONNECTION", **settings: str) -> dict[str, str]:
    """The environment of one connection of the Agents SDK, with ids unless they are given."""
    given = {"CLIENTID": ID, "TENANTID": TENANT} | settings
    return {f"CONNECTIONS__{name}__SETTINGS__{key}": value for key, value in given.items()}


def bot_of(environ: dict[str, str], **toml: Any) -> BotSettings:
    settings = from_mapping({"bots": {"root": {"kind": "root"} | toml}}, environ)
    return settings.bots["root"]


def fault(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        bot_of(environ)
    return str(caught.value)


def test_a_managed_identity_of_the_bot_framework() -> None:
    bot = bot_of(APP | MSI)

    assert (bot.app_id, bot.tenant) == (ID, TENANT)
    assert bot.credential.identity is IdentityKind.USER_ASSIGNED


def test_an_id_in_the_file_and_the_type_in_the_environment_go_together() -> None:
    bot = bot_of({"MicrosoftAppType": "userassignedmsi"}, app_id=ID, tenant=TENANT)

    assert bot.credential.identity is IdentityKind.USER_ASSIGNED


@pytest.mark.parametrize(
    ("kind", "more", "identity"),
    [
        ("UserManagedIdentity", {}, IdentityKind.USER_ASSIGNED),
        ("SystemManagedIdentity", {}, IdentityKind.SYSTEM_ASSIGNED),
        ("FederatedCredentials", {"FEDERATEDCLIENTID": OTHER}, IdentityKind.FEDERATED),
        ("workloadidentity", {"FEDERATEDTOKENFILE": "/token"}, IdentityKind.WORKLOAD),
    ],
)
def test_identities_of_the_agents_sdk(
    kind: str, more: dict[str, str], identity: IdentityKind
) -> None:
    credential = bot_of(connection(AUTHTYPE=kind, **more)).credential

    assert credential.identity is identity
    assert credential.client_id == more.get("FEDERATEDCLIENTID")
    assert credential.token_file == more.get("FEDERATEDTOKENFILE")


def test_a_secret_is_the_default_of_the_agents_sdk() -> None:
    bot = bot_of(connection(CLIENTSECRET="hush-hush", SCOPES="x"))

    assert bot.credential.revealed("secret") == "hush-hush"
    assert bot.tenant == TENANT


@pytest.mark.parametrize(
    ("kind", "sends"), [("certificate", False), ("CertificateSubjectName", True)]
)
def test_certificates_of_the_agents_sdk(kind: str, sends: bool, tmp_path: Path) -> None:
    file = tmp_path / "bot.pfx"
    file.write_bytes(b"pfx")
    credential = bot_of(connection(AUTHTYPE=kind, CERTPFXFILE=str(file))).credential

    assert credential.revealed("certificate") == b64encode(b"pfx").decode()
    assert credential.send_chain is sends


def test_a_chain_is_sent_where_the_agents_sdk_would(tmp_path: Path) -> None:
    file = tmp_path / "bot.pfx"
    file.write_bytes(b"pfx")
    environ = connection(AUTHTYPE="certificate", CERTPFXFILE=str(file), SENDX5C="True")

    assert bot_of(environ).credential.send_chain


def test_one_connection_of_any_name_is_taken() -> None:
    assert bot_of(connection("MINE", CLIENTSECRET="s")).app_id == ID


def test_the_default_connection_is_taken_of_several() -> None:
    environ = connection("A", CLIENTID=OTHER, CLIENTSECRET="s") | connection(CLIENTSECRET="s")

    assert bot_of(environ).app_id == ID


def test_the_hosts_own_names_win() -> None:
    environ = connection(CLIENTSECRET="s") | {"SKILLS_HOST__BOTS__ROOT__APP_ID": OTHER}

    assert bot_of(environ).app_id == OTHER


PREFIX = "CONNECTIONS__SERVICE_CONNECTION__SETTINGS__"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        (APP | MSI | {"MicrosoftAppPassword": "s"}, "MicrosoftAppPassword: MicrosoftAppType"),
        (APP | MSI | {"CertificateThumbprint": "s"}, "CertificateThumbprint: MicrosoftAppType"),
        ({"MicrosoftAppId": ID} | MSI, "bots.root: tenant"),
        ({"MicrosoftAppTenantId": TENANT} | MSI, "bots.root.app_id"),
        ({"MicrosoftAppType": "Anonymous"}, "MicrosoftAppType: expected"),
        (connection(AUTHTYPE="EntraAuthSideCar"), f"{PREFIX}AUTHTYPE: expected one of"),
        (connection(), f"{PREFIX}CLIENTSECRET: AUTHTYPE clientsecret needs it"),
        (connection(CLIENTID="", CLIENTSECRET="s"), f"{PREFIX}CLIENTID: is needed"),
        (
            connection(AUTHTYPE="UserManagedIdentity", CLIENTSECRET="s"),
            f"{PREFIX}CLIENTSECRET: AUTHTYPE usermanagedidentity has none",
        ),
        (
            connection(CLIENTSECRET="s", CERTPFXFILE="f"),
            f"{PREFIX}CERTPFXFILE: AUTHTYPE clientsecret has none",
        ),
        (connection(AUTHTYPE="WorkloadIdentity", TENANTID=""), "bots.root: tenant"),
        (connection(CLIENTSECRET="s") | APP, "MicrosoftAppId: give either it or CONNECTIONS"),
        (
            connection("A", CLIENTSECRET="s") | connection("B", CLIENTSECRET="s"),
            "CONNECTIONS__…: several",
        ),
        (connection(AUTHTYPE="certificate"), f"{PREFIX}CERTPFXFILE: AUTHTYPE certificate needs it"),
    ],
)
def test_what_is_missing_or_contradictory_is_named(environ: dict[str, str], named: str) -> None:
    assert fault(environ).startswith(named)


def test_other_environments_say_nothing() -> None:
    assert known_settings({"CONNECTIONS__X": "1", "PATH": "/bin"}, "root") == {}

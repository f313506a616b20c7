"""What becomes of a bot's settings: our configuration, and every difference with its code."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from skills_host.configuration import from_mapping
from skills_host.errors import BadInput
from skills_host.imports.differences import DIFFERENCES
from skills_host.imports.source import FILE_BYTES, read_source
from skills_host.imports.written import Written, written
from skills_host.settings import Settings
from tests.imports.layouts import (
    CALLBACK,
    COMPOSER,
    DOTNET,
    ENDPOINT,
    FILES,
    ROOT,
    SECRET,
    SKILL,
    TENANT,
    THIRD,
    manifest,
)

APP = {"MicrosoftAppId": ROOT, "MicrosoftAppPassword": SECRET}


def imported(**files: str) -> Written:
    """What is written for files; a dot in a name is two underscores."""
    sources = [read_source(n.replace("__", "."), text.encode()) for n, text in files.items()]
    return written(sources, folder="")


def of_json(**settings: Any) -> Written:
    """What is written for one appsettings.json."""
    return imported(appsettings__json=json.dumps(settings))


def one_skill(**settings: Any) -> Written:
    """What is written for a bot with one skill, some of whose settings differ."""
    skill = {"Id": "echo", "AppId": SKILL, "SkillEndpoint": ENDPOINT} | settings
    return of_json(**APP, BotFrameworkSkills=[skill])


def codes(found: Written) -> set[str]:
    """The codes of the differences."""
    return {difference.code for difference in found.differences}


def read_back(found: Written, **environ: str) -> Settings:
    """The settings that the written configuration makes."""
    given = dict.fromkeys(found.variables, SECRET) | environ
    return from_mapping(tomllib.loads(found.toml), given)


@pytest.mark.parametrize("name", FILES)
def test_each_layout_gives_the_same_root(name: str) -> None:
    """The same bot, skill and callback, whatever SDK and language they were written for."""
    found = written([read_source(name, FILES[name].encode())], folder="")
    settings = read_back(found)
    skill = settings.skills["echo-skill-bot"]

    assert found.is_whole, found.differences
    assert (settings.bots["root"].app_id, settings.bots["root"].kind) == (ROOT, "root")
    assert settings.bots["root"].credential.revealed("secret") == SECRET
    assert (skill.app_id, skill.endpoint) == (SKILL, ENDPOINT)
    assert settings.host.public_url == "https://root.example.com"
    assert {"secret-in-file", "conversation-ids", "name-changed"} <= codes(found)


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_written_or_told(name: str) -> None:
    found = written([read_source(name, FILES[name].encode())], folder="")

    assert SECRET not in found.toml + repr(found) + str([d.to_json() for d in found.differences])


def test_a_single_tenant_in_another_cloud_stays_so() -> None:
    found = imported(appsettings__json=DOTNET)
    settings = read_back(found)

    assert settings.bots["root"].tenant == TENANT
    assert settings.cloud.channel_scope == "https://api.botframework.us"
    assert {"cloud", "not-taken-over"} <= codes(found)


def test_nobody_may_call_in_the_place_of_everybody() -> None:
    """A wildcard is never taken over; a named parent is."""
    open_to_all = of_json(**APP, AllowedCallers=["*"])
    named = of_json(**APP, AllowedCallers=[THIRD.upper(), "parent"])

    assert read_back(open_to_all).bots["skill"].allowed_callers == ()
    assert "wildcard-callers" in codes(open_to_all)
    assert read_back(named).bots["skill"].allowed_callers == (THIRD,)
    assert "caller-refused" in codes(named) and not named.is_whole


def test_a_bot_without_identity_is_told_that_tokens_are_checked() -> None:
    found = of_json(MicrosoftAppId="", MicrosoftAppPassword="", SkillHostEndpoint=CALLBACK)
    settings = read_back(found, MicrosoftAppId=ROOT)

    assert "anonymous-auth" in codes(found)
    assert found.variables == ("MicrosoftAppId", "MicrosoftAppPassword")
    assert settings.bots["root"].app_id == ROOT


def test_a_managed_identity_needs_no_secret() -> None:
    found = of_json(
        MicrosoftAppType="UserAssignedMSI", MicrosoftAppId=ROOT, MicrosoftAppTenantId=TENANT
    )

    assert str(read_back(found).bots["root"].credential.identity) == "user-assigned"
    assert "anonymous-auth" not in codes(found)


def test_a_certificate_is_taken_with_its_key_from_the_environment() -> None:
    found = of_json(MicrosoftAppId=ROOT, CertificateThumbprint="ab" * 20)
    settings = read_back(found, CertificatePrivateKey="-----BEGIN PRIVATE KEY-----")

    assert settings.bots["root"].credential.thumbprint == "AB" * 20
    assert "certificate-store" in codes(found)


def test_a_contradictory_credential_is_told() -> None:
    found = of_json(**APP, MicrosoftAppType="Magic")

    assert "credential" in codes(found) and not found.is_whole


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"SkillEndpoint": "http://echo.example.com/api/messages"}, "endpoint-refused"),
        ({"SkillEndpoint": "https://ann:pw@echo.example.com/"}, "endpoint-refused"),
        ({"SkillEndpoint": ""}, "endpoint-refused"),
        ({"AppId": ROOT}, "own-app-id"),
    ],
)
def test_a_skill_that_cannot_be_called_is_left_out(settings: dict[str, str], code: str) -> None:
    """And named in the file and among the differences."""
    found = one_skill(**settings)

    assert (code in codes(found), found.is_whole) == (True, False)
    assert read_back(found).skills == {}
    assert "# left out: skills.echo" in found.toml and "pw@" not in str(found.differences)


def test_plain_http_is_for_loopback_only() -> None:
    found = one_skill(SkillEndpoint="http://localhost:39783/api/messages")

    assert read_back(found).skills["echo"].endpoint == "http://localhost:39783/api/messages"
    assert "http-endpoint" in codes(found)


def test_a_key_in_an_endpoint_is_not_written() -> None:
    found = one_skill(SkillEndpoint=f"{ENDPOINT}?code=abc-secret")
    settings = read_back(found, ECHO_ENDPOINT=f"{ENDPOINT}?code=abc-secret")

    assert settings.skills["echo"].endpoint == f"{ENDPOINT}?code=abc-secret"
    assert "secret-in-endpoint" in codes(found)
    assert "abc-secret" not in found.toml + str(found.differences)


@pytest.mark.parametrize("app_id", ["", "{SkillAppId}", "00000000-0000-0000-0000-000000000000"])
def test_a_missing_app_id_is_a_variable(app_id: str) -> None:
    found = one_skill(AppId=app_id)

    assert "app-id-missing" in codes(found)
    assert read_back(found, ECHO_APP_ID=SKILL).skills["echo"].app_id == SKILL


def test_two_skills_of_one_name_are_both_kept() -> None:
    skill = {"Id": "echo", "AppId": SKILL, "SkillEndpoint": ENDPOINT}
    found = of_json(**APP, BotFrameworkSkills=[skill, skill | {"AppId": THIRD}])

    assert set(read_back(found).skills) == {"echo", "echo-2"}
    assert "duplicate-skill" in codes(found)


def test_a_callback_address_elsewhere_is_told() -> None:
    other = of_json(**APP, SkillHostEndpoint="https://root.example.com/skills")
    plain = of_json(**APP, SkillHostEndpoint="http://root.example.com/api/skills")

    assert "skill-host-path" in codes(other)
    assert read_back(other).host.public_url == "https://root.example.com"
    assert "public-url-refused" in codes(plain) and not plain.is_whole


def test_a_port_is_kept() -> None:
    found = of_json(**APP, SkillHostEndpoint="http://localhost:3999/api/skills")

    assert read_back(found).host.bind == "127.0.0.1:3999"


def test_an_unknown_channel_service_and_a_connection_are_told() -> None:
    found = of_json(**APP, ChannelService="https://example.com", ConnectionName="aad")

    assert {"channel-service-unknown", "sign-in"} <= codes(found)


def test_an_expression_is_a_variable() -> None:
    code = f"""
import os
class C:
    APP_ID = "{ROOT}"
    APP_PASSWORD = os.environ["BOT_SECRET"]
    SKILLS = [{{"id": "echo", "app_id": f(1), "skill_endpoint": f"https://{{HOST}}/api"}}]
"""
    found = imported(config__py=code)

    assert found.variables == ("BOT_SECRET", "ECHO_ENDPOINT", "ECHO_APP_ID")
    assert "not-read" in codes(found)


def test_a_manifest_describes_its_skill() -> None:
    """If the endpoint in use is its first; otherwise the endpoint in use is written."""
    first = imported(composer__json=COMPOSER, echo__json=manifest(ENDPOINT))
    second = imported(
        composer__json=COMPOSER, echo__json=manifest("https://x.example.com/", ENDPOINT)
    )

    assert read_back(first).skills["echo-skill-bot"].manifest == "echo.json"
    assert "manifest" in codes(first)
    assert read_back(second).skills["echo-skill-bot"].endpoint == ENDPOINT
    assert "manifest-endpoint" in codes(second)


def test_a_manifest_of_no_skill_or_no_use_is_told() -> None:
    unused = imported(composer__json=COMPOSER, echo__json=manifest("https://x.example.com/"))
    refused = imported(composer__json=COMPOSER, echo__json=manifest("nowhere"))

    assert "manifest-unused" in codes(unused) and not unused.is_whole
    assert "manifest-refused" in codes(refused) and refused.is_whole


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", "{"),
        ("x.json", "[1]"),
        ("x.json", '{"a": ' * 3000),
        ("x.json", '{"Logging": {"a": 1}}'),
        ("x.json", '{"a": 1, "a:b": 2}'),
        ("x.py", "def ("),
        ("x.py", "\0"),
        ("x.env", ""),
        ("x.json", " " * (FILE_BYTES + 1)),
    ],
)
def test_what_is_no_bots_settings_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        written([read_source(name, text.encode())], folder="")

    assert caught.value.code == "import-format"


def test_every_difference_is_explained() -> None:
    assert all(kind.meaning and kind.fix for kind in DIFFERENCES.values())

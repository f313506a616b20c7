"""Credentials that get tokens by themselves: an object of the bot's code, and the platform's."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from skills_host import create_app
from skills_host.auth.azure import PlatformIdentity, platform_identity
from skills_host.auth.credentials import TokenCredential
from skills_host.auth.tokens import TokenSource
from skills_host.configuration import from_mapping
from skills_host.errors import SettingsError, TokenUnavailable
from skills_host.settings import CLOUDS, BotSettings, Cloud
from skills_host.transport import Request, Response
from tests.world import IDS, ROOT, Town, bot_settings, skill_settings

TENANT = "d0000000-0000-4000-8000-000000000001"
BOT = {"kind": "root", "app_id": IDS["root"], "tenant": TENANT}


@dataclass(frozen=True)
class Issued:
    """As azure-core's AccessToken."""

    token: str
    expires_on: int


@dataclass
class Own:
    """An object of a bot's own code; it counts how often it is asked."""

    issue: Any
    scopes: list[str] = field(default_factory=list)

    async def get_token(self, *scopes: str, **options: Any) -> Issued:
        self.scopes += scopes
        if isinstance(self.issue, Exception):
            raise self.issue
        return Issued(*self.issue(scopes[0]))


async def nowhere(request: Request) -> Response:
    raise AssertionError(request.url)


def source(credential: TokenCredential, now: float = 1000.0) -> TokenSource:
    return TokenSource(nowhere, cloud=Cloud(), credential=credential, now=lambda: now)


async def test_a_bot_whose_code_brings_its_tokens_talks_to_a_skill(town: Town) -> None:
    await town.stop(ROOT)

    def issue(scope: str) -> tuple[str, int]:
        audience = scope.removesuffix("/.default")
        token = town.authority.app_token(client_id=IDS["root"], audience=audience)
        return token, int(town.now()) + 3600

    own = Own(issue)
    root = bot_settings("root", "root") | {"credential": {"identity": "external"}}
    toml = {"bots": {"root": root}, "skills": {"echo": skill_settings("echo")}}
    await town.start(ROOT, "root", toml, credentials={"root": own})

    assert await town.say("echo hello")
    assert f"{IDS['echo']}/.default" in own.scopes


async def test_a_token_is_kept_until_it_is_due() -> None:
    own = Own(lambda scope: ("token", 4600))
    tokens = source(own)

    assert [await tokens.token("x") for _ in range(3)] == ["token"] * 3
    assert own.scopes == ["x/.default"]
    await tokens.close()


@pytest.mark.parametrize(
    "issue",
    [
        RuntimeError("the secret is pa55"),
        lambda scope: ("", 4600),
        lambda scope: ("two words", 4600),
        lambda scope: ("token", 1000),
        lambda scope: ("token", "soon"),
        lambda scope: (None, 4600),
    ],
)
async def test_what_gives_no_token_says_nothing_of_its_own(
    issue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = source(Own(issue))

    with pytest.raises(TokenUnavailable) as caught:
        await tokens.token("x")
    assert "pa55" not in f"{caught.value} {caught.value.reason} {caplog.text}"
    await tokens.close()


@pytest.mark.parametrize(
    ("credential", "given", "said"),
    [
        ({"identity": "external"}, {}, "asked for, but none is given"),
        ({"secret": "s"}, {"root": Own(None)}, "given, but not asked for"),
        ({"secret": "s"}, {"other": Own(None)}, "bots.other: there is a credential for it"),
    ],
)
def test_what_code_brings_is_what_the_settings_ask_for(
    credential: dict[str, str], given: dict[str, Own], said: str
) -> None:
    made = from_mapping({"bots": {"root": BOT | {"credential": credential}}}, {})

    with pytest.raises(SettingsError, match=said):
        create_app(made, credentials=given)


def identity(kind: str, cloud: Cloud = CLOUDS["public"], **more: str) -> PlatformIdentity:
    bot = BotSettings.model_validate(BOT | {"credential": {"identity": kind} | more})
    return platform_identity("root", bot, cloud)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("system-assigned", "ManagedIdentityCredential"),
        ("user-assigned", "ManagedIdentityCredential"),
        ("federated", "ClientAssertionCredential"),
    ],
)
async def test_the_library_does_each_kind(kind: str, name: str) -> None:
    made = identity(kind)

    assert repr(made) == f"PlatformIdentity({name})"
    await made.close()


@pytest.mark.parametrize(
    ("cloud", "exchange"),
    [
        ("public", "api://AzureADTokenExchange/.default"),
        ("usgov", "api://AzureADTokenExchangeUSGov/.default"),
        ("china", "api://AzureADTokenExchangeChina/.default"),
    ],
)
async def test_each_cloud_has_its_own_exchange(cloud: str, exchange: str) -> None:
    made = identity("federated", CLOUDS[cloud])

    assert made._exchange == exchange
    await made.close()


def test_a_workload_without_a_token_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)

    with pytest.raises(SettingsError, match=r"bots\.root\.credential\.identity: "):
        identity("workload")


def test_the_extra_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)

    with pytest.raises(SettingsError, match="needs the extra azure"):
        identity("system-assigned")

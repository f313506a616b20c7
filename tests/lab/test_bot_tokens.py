"""Tests of the channel's own check of a bot's token: one per refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from skills_host.auth.denials import Denied
from skills_host.lab.authority import Authority
from skills_host.lab.bot_tokens import BotTokens
from tests.lab.world import CHANNEL, ROOT_ID, SKILL_ID, TENANT, Clock, authority_at


def tokens_of(authority: Authority, clock: Clock) -> BotTokens:
    async def entra_keys() -> Mapping[str, Any]:
        return authority.entra_keys()

    return BotTokens(bot_app_id=ROOT_ID, entra_keys=entra_keys, now=clock)


@pytest.fixture
def tokens(authority: Authority, clock: Clock) -> BotTokens:
    """The check of the root's channel."""
    return tokens_of(authority, clock)


def minted(authority: Authority, **changes: Any) -> str:
    usual: dict[str, Any] = {"client_id": ROOT_ID, "audience": CHANNEL}
    return f"Bearer {authority.app_token(**usual | changes)}"


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_the_bots_own_token_is_taken(
    tokens: BotTokens, authority: Authority, version: str
) -> None:
    """In both versions of Entra's tokens."""
    await tokens.check(minted(authority, version=version))


DENIED: dict[str, dict[str, Any]] = {
    "audience": {"audience": SKILL_ID},
    "expired": {"lifetime": -301},
    "not-yet-valid": {"nbf": 1_800_000_301},
    "issuer": {"iss": "https://login.example.org/"},
    "tenant-binding": {"tid": TENANT},
    "version": {"ver": None},
    "bad-claim": {"exp": "soon"},
    "caller-not-allowed": {"client_id": SKILL_ID},
}


@pytest.mark.parametrize("code", DENIED)
async def test_a_token_is_refused_for(tokens: BotTokens, authority: Authority, code: str) -> None:
    """Every claim that is checked, changed by itself."""
    with pytest.raises(Denied) as denied:
        await tokens.check(minted(authority, **DENIED[code]))

    assert denied.value.code == code


async def test_only_another_bots_token_is_403(tokens: BotTokens, authority: Authority) -> None:
    """A good token of the wrong bot is known but may not; the rest is unknown."""
    with pytest.raises(Denied) as another:
        await tokens.check(minted(authority, client_id=SKILL_ID))
    with pytest.raises(Denied) as elsewhere:
        await tokens.check(minted(authority, audience=ROOT_ID))

    assert (another.value.status, elsewhere.value.status) == (403, 401)


async def test_a_list_of_audiences_is_refused(tokens: BotTokens, authority: Authority) -> None:
    """A token is for one receiver."""
    with pytest.raises(Denied) as denied:
        await tokens.check(minted(authority, aud=[CHANNEL, ROOT_ID]))

    assert denied.value.code == "audience"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "no-header"),
        ("", "no-header"),
        ("Basic abc", "bad-scheme"),
        ("Bearer", "bad-scheme"),
        ("Bearer not.a.token", "malformed-token"),
    ],
)
async def test_a_header_is_refused_as(tokens: BotTokens, header: str | None, code: str) -> None:
    """Before anything is looked up."""
    with pytest.raises(Denied) as denied:
        await tokens.check(header)

    assert denied.value.code == code


async def test_a_symmetric_signature_is_refused(tokens: BotTokens) -> None:
    """A public key must never become a shared secret."""
    token = jwt.encode({"aud": CHANNEL}, "x" * 32, algorithm="HS256")

    with pytest.raises(Denied) as denied:
        await tokens.check(f"Bearer {token}")

    assert denied.value.code == "algorithm"


async def test_a_changed_token_is_refused(tokens: BotTokens, authority: Authority) -> None:
    """The claims of one token under the signature of another."""
    head, _, signature = minted(authority).split(".")
    _, claims, _ = minted(authority, lifetime=9999).split(".")

    with pytest.raises(Denied) as denied:
        await tokens.check(f"{head}.{claims}.{signature}")

    assert denied.value.code == "signature"


async def test_a_channels_token_is_no_bots(tokens: BotTokens, authority: Authority) -> None:
    """It is signed with keys that Entra does not publish."""
    token = authority.channel_token(audience=CHANNEL, service_url="http://127.0.0.1:1/")

    with pytest.raises(Denied) as denied:
        await tokens.check(f"Bearer {token}")

    assert denied.value.code == "unknown-key"


async def test_a_rotated_key_is_fetched(clock: Clock) -> None:
    """Keys are remembered until a token names another."""
    authority = authority_at(clock)
    tokens = tokens_of(authority, clock)
    await tokens.check(minted(authority))

    authority.rotate()

    await tokens.check(minted(authority))

"""Whatever a header or a token says, a door answers what its sender can do something with."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skills_host.transport import Request
from tests.world import IDS, ROOT, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")
many = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

DOORS = (f"{ROOT}/api/messages", f"{ROOT}/api/skills/v3/conversations/x/activities")
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = "iss aud exp nbf iat tid ver azp appid scp idtyp serviceurl sub roles".split()
CLAIMS = st.dictionaries(st.sampled_from(NAMES), JSON)
HEADER = st.dictionaries(st.sampled_from("alg kid typ crit jku jwk x5c x5u cty".split()), JSON)
PARTS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=", max_size=200)


async def answered(town: Town, authorization: str) -> set[int]:
    """The statuses of both doors."""
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    body = b'{"type":"message"}'
    answers = [await town.send(Request("POST", url, headers, body, 20)) for url in DOORS]
    for answer in answers:
        assert answer.status in (200, 202) or 400 <= answer.status < 500, answer.body
    return {answer.status for answer in answers}


@many
@given(text=PRINTABLE)
async def test_any_header(shared_town: Town, text: str) -> None:
    assert await answered(shared_town, text) == {401}


@many
@given(parts=PARTS)
async def test_any_token(shared_town: Town, parts: str) -> None:
    assert await answered(shared_town, f"Bearer {parts}") == {401}


@many
@given(header=HEADER, claims=CLAIMS)
async def test_any_header_and_claims_without_a_signature(
    shared_town: Town, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    token = f"{part(header)}.{part(claims)}.{part('signature')}"

    assert await answered(shared_town, f"Bearer {token}") == {401}


@many
@given(claims=CLAIMS, header=HEADER)
async def test_any_claims_that_the_authority_signed(
    shared_town: Town, claims: dict[str, Any], header: dict[str, Any]
) -> None:
    authority = shared_town.authority
    kid, key = authority._entra._keys[1]
    token = authority.app_token(client_id=IDS["echo"], audience=IDS["root"])
    usual = jwt.decode(token, options={"verify_signature": False})
    extra = {name: value for name, value in header.items() if name not in ("alg", "kid", "typ")}
    try:
        made = jwt.api_jws.encode(
            json.dumps(usual | claims).encode(), key, "RS256", headers=extra | {"kid": kid}
        )
    except (TypeError, ValueError, jwt.PyJWTError):
        return

    await answered(shared_town, f"Bearer {made}")


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

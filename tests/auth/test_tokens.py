"""Tokens for our own calls: one fetch for all, early, and failures that are not kept."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest

from skills_host.auth.credentials import ClientSecret
from skills_host.auth.tokens import TokenSource
from skills_host.errors import TokenUnavailable, TransportFailed
from skills_host.transport import Request, Response
from tests.auth.issuer import BOT, CLOUD, HOME, PARENT, SKILL, Clock, settled

SECRET = "s3cret&value"


@dataclass
class Authority:
    """A token endpoint that numbers its tokens; an instance is a `Send`."""

    requests: list[Request] = field(default_factory=list)
    life: object = 3600
    answer: Response | Exception | None = None
    gate: asyncio.Event | None = None

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        number = len(self.requests)
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or issued(f"token-{number}", expires_in=self.life)

    def forms(self) -> list[dict[str, list[str]]]:
        return [parse_qs((request.body or b"").decode()) for request in self.requests]


def issued(token: object, **members: Any) -> Response:
    document = {"token_type": "Bearer", "expires_in": 3600, "access_token": token} | members
    return Response(200, body=json.dumps(document).encode())


def refused(error: object, status: int = 401) -> Response:
    document = {"error": error, "error_description": "a long story with a secret"}
    return Response(status, body=json.dumps(document).encode())


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def tokens(authority: Authority, clock: Clock) -> TokenSource:
    credential = ClientSecret(BOT, HOME, SECRET)
    return TokenSource(authority, cloud=CLOUD, credential=credential, now=clock)


async def refusal(tokens: TokenSource, scope: str = SKILL) -> TokenUnavailable:
    with pytest.raises(TokenUnavailable) as failed:
        await tokens.token(scope)
    return failed.value


# What is asked


async def test_the_request_is_a_client_credentials_form(
    tokens: TokenSource, authority: Authority
) -> None:
    assert await tokens.token(SKILL) == "token-1"

    (request,) = authority.requests
    assert request.method == "POST"
    assert request.url == f"https://login.microsoftonline.com/{HOME}/oauth2/v2.0/token"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert authority.forms()[0] == {
        "grant_type": ["client_credentials"],
        "client_id": [BOT],
        "client_secret": [SECRET],
        "scope": [f"{SKILL}/.default"],
    }


async def test_without_a_tenant_the_clouds_is_asked(authority: Authority, clock: Clock) -> None:
    credential = ClientSecret(BOT, "", SECRET)

    await TokenSource(authority, cloud=CLOUD, credential=credential, now=clock).token(SKILL)

    assert "/botframework.com/oauth2/" in authority.requests[0].url


async def test_the_default_suffix_is_added_once(tokens: TokenSource, authority: Authority) -> None:
    await tokens.token(CLOUD.channel_scope)
    await tokens.token(f"{CLOUD.channel_scope}/.default")

    assert [form["scope"] for form in authority.forms()] == [[f"{CLOUD.channel_scope}/.default"]]


async def test_each_scope_has_its_own_token(tokens: TokenSource) -> None:
    first = await tokens.token(SKILL)
    second = await tokens.token(PARENT)

    assert (first, second) == ("token-1", "token-2")
    assert await tokens.token(SKILL) == first


# Sharing and renewing


async def test_two_at_once_share_one_request(tokens: TokenSource, authority: Authority) -> None:
    found = await asyncio.gather(*(tokens.token(SKILL) for _ in range(5)))

    assert set(found) == {"token-1"}
    assert len(authority.requests) == 1


async def test_a_cancelled_waiter_leaves_the_request_to_the_others(
    tokens: TokenSource, authority: Authority
) -> None:
    authority.gate = asyncio.Event()
    first, second = (asyncio.create_task(tokens.token(SKILL)) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    authority.gate.set()

    assert await second == "token-1"
    assert first.cancelled()
    assert len(authority.requests) == 1


@pytest.mark.parametrize(("life", "renewed_after"), [(3600, 3300), (600, 480), ("3600", 3300)])
async def test_a_token_is_renewed_early_while_the_old_one_serves(
    tokens: TokenSource, authority: Authority, clock: Clock, life: object, renewed_after: float
) -> None:
    authority.life = life
    await tokens.token(SKILL)
    clock.time += renewed_after - 1
    assert await tokens.token(SKILL) == "token-1"
    await settled()
    assert len(authority.requests) == 1

    clock.time += 1
    assert {await tokens.token(SKILL) for _ in range(3)} == {"token-1"}
    await settled()

    assert await tokens.token(SKILL) == "token-2"
    assert len(authority.requests) == 2


async def test_an_expired_token_is_never_given_out(tokens: TokenSource, clock: Clock) -> None:
    await tokens.token(SKILL)
    clock.time += 3600

    assert await tokens.token(SKILL) == "token-2"


async def test_the_old_token_serves_while_the_authority_is_down(
    tokens: TokenSource, authority: Authority, clock: Clock
) -> None:
    await tokens.token(SKILL)
    authority.answer = TransportFailed()
    clock.time += 3400
    for _ in range(3):
        assert await tokens.token(SKILL) == "token-1"
        await settled()
    assert len(authority.requests) == 2

    authority.answer = None
    clock.time += 15
    await tokens.token(SKILL)
    await settled()

    assert await tokens.token(SKILL) == "token-3"


async def test_a_forgotten_token_is_fetched_again(tokens: TokenSource) -> None:
    await tokens.token(SKILL)

    tokens.forget(f"{SKILL}/.default")

    assert await tokens.token(SKILL) == "token-2"


async def test_a_late_refusal_does_not_drop_the_next_token(tokens: TokenSource) -> None:
    old = await tokens.token(SKILL)
    tokens.forget(SKILL, token=old)
    new = await tokens.token(SKILL)

    tokens.forget(SKILL, token=old)

    assert await tokens.token(SKILL) == new


# Failures


async def test_a_failure_wakes_everyone_and_is_not_kept(
    tokens: TokenSource, authority: Authority
) -> None:
    authority.answer = refused("invalid_client")
    reasons = await asyncio.gather(*(refusal(tokens) for _ in range(3)))
    assert [error.reason for error in reasons] == ["invalid_client"] * 3
    assert len({id(error) for error in reasons}) == 3
    assert len(authority.requests) == 1

    authority.answer = None
    assert await tokens.token(SKILL) == "token-2"


@pytest.mark.parametrize(
    "error", [None, 7, "", "Invalid client", "a" * 65, "x\ninjected", "<script>", "é"]
)
async def test_a_reason_that_is_no_error_code_is_left_out(
    tokens: TokenSource, authority: Authority, error: object
) -> None:
    authority.answer = refused(error, status=400)

    assert (await refusal(tokens)).reason is None


@pytest.mark.parametrize("failure", [TransportFailed(), TransportFailed(code="deadline")])
async def test_an_authority_that_is_down_gives_no_token(
    tokens: TokenSource, authority: Authority, failure: Exception
) -> None:
    authority.answer = failure

    assert (await refusal(tokens)).reason is None


async def test_an_answer_that_never_comes_gives_no_token(
    authority: Authority, clock: Clock
) -> None:
    authority.gate = asyncio.Event()
    credential = ClientSecret(BOT, HOME, SECRET)
    tokens = TokenSource(authority, cloud=CLOUD, credential=credential, now=clock, timeout=0.01)

    assert (await refusal(tokens)).code == "token-unavailable"


@pytest.mark.parametrize(
    "answer",
    [
        Response(200),
        Response(200, body=b"[]"),
        Response(200, body=b"[" * 100_000),
        Response(200, body=b"{}" + b" " * (1024 * 1024)),
        Response(302),
        Response(500, body=b"\xff"),
        issued(None),
        issued(""),
        issued("a b"),
        issued("a\r\nX-Injected: 1"),
        issued("a", token_type="pop"),
        issued("a", token_type=None),
        issued("a", expires_in=None),
        issued("a", expires_in="soon"),
        issued("a", expires_in=0),
        issued("a", expires_in=-1),
        issued("a", expires_in=10**400),
        issued("a", expires_in=float("nan")),
    ],
)
async def test_an_answer_without_a_usable_token_gives_none(
    tokens: TokenSource, authority: Authority, answer: Response
) -> None:
    authority.answer = answer

    assert (await refusal(tokens)).reason is None


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([700027], "invalid_client (AADSTS700027)"),
        ([], "invalid_client"),
        (["700027"], "invalid_client"),
        ([True], "invalid_client"),
        ([10**400], "invalid_client"),
        ({"a": 1}, "invalid_client"),
    ],
)
async def test_a_refusal_says_its_number(
    tokens: TokenSource,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    numbers: object,
    shown: str,
) -> None:
    """It tells a wrong secret from a certificate that is not registered."""
    body = json.dumps({"error": "invalid_client", "error_codes": numbers}).encode()
    authority.answer = Response(401, body=body)
    with caplog.at_level(logging.WARNING):
        error = await refusal(tokens)

    assert error.reason == shown
    assert caplog.messages == [f"no token for {SKILL}/.default: {shown}"]


async def test_a_failure_shows_neither_the_secret_nor_the_description(
    tokens: TokenSource, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    authority.answer = refused("invalid_client")
    with caplog.at_level(logging.DEBUG):
        error = await refusal(tokens)

    shown = f"{error} {error!r} {vars(error)} {error.__cause__!r}"
    shown += "".join(str(vars(record)) for record in caplog.records)
    assert caplog.records
    assert SECRET not in shown and "long story" not in shown


async def test_closing_lets_nobody_wait(tokens: TokenSource, authority: Authority) -> None:
    authority.gate = asyncio.Event()
    waiting = asyncio.create_task(refusal(tokens))
    await settled()

    await tokens.close()

    assert (await waiting).code == "token-unavailable"

"""Tests of the identity endpoint: routes, refusals, and the real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
import pytest
from quart import Quart

from skills_host.auth.allowlist import AllowedSkill, Snapshot
from skills_host.auth.credentials import ClientSecret
from skills_host.auth.keys import SigningKeys
from skills_host.auth.tokens import TokenSource
from skills_host.auth.verify import Door, Verifier
from skills_host.errors import SettingsError
from skills_host.lab.authority import BOTFRAMEWORK_TENANT, Authority
from skills_host.lab.service import address_of, create_lab, listening, serve_lab
from skills_host.lab.tls import LabTls, create_tls
from skills_host.settings import Cloud
from tests.lab.world import CHANNEL, LAB_URL, ROOT_ID, SKILL_ID, Clock, authority_at, loopback

FORM = {
    "grant_type": "client_credentials",
    "client_id": ROOT_ID,
    "client_secret": "root-secret",
    "scope": f"{SKILL_ID}/.default",
}
MINT = {"Authorization": "Bearer mint-secret"}


@pytest.fixture
def lab(authority: Authority) -> Quart:
    """The endpoint of the shared authority."""
    return create_lab(authority, mint_secret="mint-secret")


async def got(app: Quart, path: str, **named: Any) -> Any:
    answer = await app.test_client().get(path, **named)
    assert answer.status_code == 200
    return await answer.get_json()


@pytest.mark.parametrize("path", ["/common/discovery/v2.0/keys", "/adfs/discovery/keys"])
async def test_any_tenant_has_entras_keys(lab: Quart, authority: Authority, path: str) -> None:
    """Both generations of the address lead to one key set."""
    assert await got(lab, path) == authority.entra_keys()


async def test_metadata_names_the_address_it_was_asked_at(lab: Quart) -> None:
    """A peer with hard-coded hosts is sent back to the same host."""
    document = await got(
        lab,
        "/common/v2.0/.well-known/openid-configuration",
        headers={"Host": "login.microsoftonline.com"},
        scheme="https",
    )

    assert document["jwks_uri"] == "https://login.microsoftonline.com/common/discovery/v2.0/keys"


async def test_older_metadata_names_the_older_endpoints(lab: Quart) -> None:
    """Clients that take the authority for AD FS look there."""
    document = await got(lab, "/adfs/.well-known/openid-configuration")

    assert document["token_endpoint"] == "http://localhost/adfs/oauth2/token"


async def test_channel_metadata_leads_to_channel_keys(lab: Quart, authority: Authority) -> None:
    """The channel has keys of its own."""
    document = await got(lab, "/v1/.well-known/openidconfiguration")

    assert document["jwks_uri"] == "http://localhost/v1/.well-known/keys"
    assert await got(lab, "/v1/.well-known/keys") == authority.channel_keys()


async def test_instance_discovery_leads_to_the_tenant(lab: Quart) -> None:
    """MSAL asks it before it trusts an authority."""
    document = await got(
        lab,
        "/common/discovery/instance",
        query_string={"authorization_endpoint": "https://localhost/contoso/oauth2/v2.0/authorize"},
    )

    expected = "http://localhost/contoso/v2.0/.well-known/openid-configuration"
    assert document["tenant_discovery_endpoint"] == expected
    assert document["metadata"][0]["aliases"] == ["localhost"]


@pytest.mark.parametrize("path", ["/botframework.com/oauth2/v2.0/token", "/adfs/oauth2/token"])
async def test_a_client_with_its_secret_gets_a_token(lab: Quart, path: str) -> None:
    """The answer must not be stored by anything in between."""
    answer = await lab.test_client().post(path, form=FORM)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (await answer.get_json())["access_token"]


async def test_a_refused_grant_has_entras_body(lab: Quart) -> None:
    """Status, error and number are what clients look at."""
    form = FORM | {"client_secret": "guessed"}

    answer = await lab.test_client().post("/common/oauth2/v2.0/token", form=form)

    body = await answer.get_json()
    assert (answer.status_code, body["error"]) == (401, "invalid_client")
    assert "guessed" not in str(body) and body["error_codes"] == [7000215]


async def test_metadata_of_an_unknown_tenant_is_refused(lab: Quart) -> None:
    """It would name an issuer that issues nothing."""
    answer = await lab.test_client().get("/contoso/v2.0/.well-known/openid-configuration")

    assert (answer.status_code, (await answer.get_json())["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "wanted",
    [
        {"kind": "app", "client_id": ROOT_ID, "audience": SKILL_ID, "claims": {"scp": "x"}},
        {"kind": "channel", "audience": ROOT_ID, "service_url": "http://127.0.0.1:1/"},
    ],
)
async def test_the_mint_secret_mints(lab: Quart, wanted: dict[str, Any]) -> None:
    """Both kinds of token can be had for the console and the command line."""
    answer = await lab.test_client().post("/lab/tokens", json=wanted, headers=MINT)

    token = (await answer.get_json())["token"]
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == wanted["audience"]


@pytest.mark.parametrize("path", ["/lab/tokens", "/lab/rotate", "/lab/skew"])
@pytest.mark.parametrize("header", [None, "Bearer guessed", "mint-secret"])
async def test_minting_without_the_secret_is_refused(
    lab: Quart, path: str, header: str | None
) -> None:
    """Whoever can mint can be anyone."""
    headers = {"Authorization": header} if header else {}

    answer = await lab.test_client().post(path, json={"kind": "app"}, headers=headers)

    assert answer.status_code == 401


MISSHAPEN: dict[str, Any] = {
    "an unknown kind": {"kind": "user"},
    "a missing argument": {"kind": "app", "client_id": ROOT_ID},
    "an unknown argument": {"kind": "channel", "audience": "a", "service_url": "b", "ver": "1.0"},
    "a wrong type": {"kind": "channel", "audience": "a", "service_url": "b", "lifetime": "1"},
    "an unknown version": {"kind": "app", "client_id": "a", "audience": "b", "version": "3.0"},
    "an argument among the claims": {
        "kind": "app",
        "client_id": "a",
        "audience": "b",
        "claims": {"audience": "c"},
    },
    "no object": [],
}


@pytest.mark.parametrize("reason", MISSHAPEN)
async def test_a_mint_request_is_refused_for(lab: Quart, reason: str) -> None:
    """A misspelt wish must not mint something else."""
    answer = await lab.test_client().post("/lab/tokens", json=MISSHAPEN[reason], headers=MINT)

    assert answer.status_code == 400


async def test_a_mint_request_that_is_no_json_is_refused(lab: Quart) -> None:
    """The body is read as JSON whatever it is announced as."""
    answer = await lab.test_client().post("/lab/tokens", data="kind=app", headers=MINT)

    assert answer.status_code == 400


async def test_rotation_publishes_a_new_key_beside_the_old() -> None:
    """Tokens of before the rotation can still be verified."""
    app = create_lab(authority_at(Clock()), mint_secret="mint-secret")
    before = await got(app, "/common/discovery/v2.0/keys")

    await app.test_client().post("/lab/rotate", headers=MINT)

    after = await got(app, "/common/discovery/v2.0/keys")
    assert after["keys"][1:] == before["keys"] and len(after["keys"]) == 3


async def test_two_rotations_at_once_are_two() -> None:
    """Neither is lost, and the key set stays in order."""
    app = create_lab(authority_at(Clock()), mint_secret="mint-secret")

    await asyncio.gather(*(app.test_client().post("/lab/rotate", headers=MINT) for _ in range(2)))

    assert len((await got(app, "/v1/.well-known/keys"))["keys"]) == 4


STRANGERS: dict[str, tuple[str, str]] = {
    "a peer of the network": ("192.0.2.1", "localhost"),
    "a tunnel's host name": ("127.0.0.1", "lab.example.org"),
    "a malformed host name": ("127.0.0.1", "[::1"),
}


@pytest.mark.parametrize("reason", STRANGERS)
async def test_a_request_is_refused_for(lab: Quart, reason: str) -> None:
    """The lab is for its own machine."""
    peer, host = STRANGERS[reason]

    answer = await lab.test_client(use_cookies=False).get(
        "/lab/health", headers={"Host": host}, scope_base={"client": (peer, 1)}
    )

    assert answer.status_code == 403


async def test_health_is_open(lab: Quart) -> None:
    """It says that this is a lab and nothing else."""
    assert await got(lab, "/lab/health") == {"ok": True, "skills_host_lab": True}


async def test_the_hosts_own_code_takes_the_labs_tokens(lab: Quart, clock: Clock) -> None:
    """Token source and verifier work against the lab as against the real authority."""
    send = loopback(lab)
    cloud = Cloud(
        login_url=LAB_URL,
        channel_metadata=f"{LAB_URL}/v1/.well-known/openidconfiguration",
        entra_metadata=f"{LAB_URL}/common/v2.0/.well-known/openid-configuration",
    )
    skill = AllowedSkill("echo", SKILL_ID, "http://127.0.0.1:1/", frozenset())
    snapshot = Snapshot(1, {"echo": skill}, {})
    credential = ClientSecret(SKILL_ID, BOTFRAMEWORK_TENANT, "skill-secret")
    source = TokenSource(send, cloud=cloud, credential=credential, now=clock)
    verifier = Verifier(
        cloud=cloud,
        bots={ROOT_ID: frozenset()},
        keys=SigningKeys(send, now=clock, allow_lab=True),
        snapshot=lambda: snapshot,
        now=clock,
    )

    header = f"Bearer {await source.token(ROOT_ID)}"
    identity = await verifier.admit(header, door=Door.SKILL_HOST, bot_app_id=ROOT_ID)

    assert (identity.kind, identity.app_id) == ("skill", SKILL_ID)


# Real sockets


@asynccontextmanager
async def served(app: Quart, tls: LabTls) -> AsyncIterator[tuple[str, str]]:
    """The addresses of a running lab: plain and https."""
    http, https = listening("127.0.0.1:0"), listening("127.0.0.1:0")
    addresses = f"http://{address_of(http)}", f"https://{address_of(https)}"
    stop = asyncio.Event()
    serving = serve_lab(app, http=http, https=https, tls=tls.server_context, shutdown=stop.wait)
    task = asyncio.create_task(serving)
    try:
        yield addresses
    finally:
        stop.set()
        await task


async def test_the_lab_serves_http_and_https_at_once(lab: Quart) -> None:
    """Ports are chosen, the certificate is the lab's, documents name the right scheme."""
    tls = create_tls()
    path = "/common/v2.0/.well-known/openid-configuration"

    async with served(lab, tls) as addresses, aiohttp.ClientSession() as session:
        for address in addresses:
            async with session.get(address + path, ssl=tls.client_context()) as answer:
                document = await answer.json()
            assert document["token_endpoint"].startswith(f"{address}/common/")


async def test_a_client_without_the_ca_is_kept_out(lab: Quart) -> None:
    """Nothing but the lab's authority makes its certificate good."""
    tls = create_tls()

    async with served(lab, tls) as (_, https), aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(https + "/lab/health")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.org:80", "127.0.0.1"])
def test_listening_elsewhere_is_refused(address: str) -> None:
    """The lab can make tokens of anyone."""
    with pytest.raises(SettingsError):
        listening(address)


async def test_https_without_a_certificate_is_refused(lab: Quart) -> None:
    """It would be http under another name."""
    with pytest.raises(SettingsError):
        await serve_lab(lab, http="127.0.0.1:0", https="127.0.0.1:0", shutdown=asyncio.Event().wait)


async def test_the_channel_scope_of_a_bot_reaches_the_channel(lab: Quart) -> None:
    """The Bot Connector's audience is not an app id."""
    form = FORM | {"scope": f"{CHANNEL}/.default"}

    answer = await lab.test_client().post("/botframework.com/oauth2/v2.0/token", form=form)

    token = (await answer.get_json())["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == CHANNEL

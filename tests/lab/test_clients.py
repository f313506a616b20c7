"""The unmodified clients of azure-identity and msal, over real sockets, against the lab.

What they are given passes this project's own verification.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msal
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import aio as identities
from cryptography.hazmat.primitives.hashes import SHA1

from skills_host.auth.allowlist import Snapshot
from skills_host.auth.azure import platform_identity
from skills_host.auth.keys import SigningKeys
from skills_host.auth.tokens import TokenSource
from skills_host.auth.verify import Door, Verifier
from skills_host.lab.authority import BOTFRAMEWORK_TENANT, Authority, LabApp
from skills_host.lab.service import address_of, create_lab, listening, serve_lab
from skills_host.lab.tls import create_tls
from skills_host.settings import BotSettings, Cloud
from skills_host.transport import Client, allow_loopback
from tests.auth.pairs import bot_pair

ROOT_ID = "a0000000-0000-4000-8000-000000000001"
SKILL_ID = "b0000000-0000-4000-8000-000000000002"
USER_ID = "e0000000-0000-4000-8000-000000000005"
SYSTEM_ID = "e0000000-0000-4000-8000-000000000006"
TENANT = "c0000000-0000-4000-8000-000000000003"
WORKLOAD = "system:serviceaccount:bots:root"
SCOPE = f"{SKILL_ID}/.default"


@dataclass(frozen=True)
class Lab:
    """A running lab: its addresses, and the file with the certificate to trust."""

    authority: Authority
    http: str
    https: str
    ca: str


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab in a thread of its own: some of the clients block theirs."""
    pair = bot_pair()
    apps = (
        LabApp(ROOT_ID, "root-secret", certificate=pair.pem.decode(), trusts=(USER_ID, WORKLOAD)),
        LabApp(SKILL_ID, "skill-secret"),
        LabApp(USER_ID, managed="user", tenant=TENANT),
        LabApp(SYSTEM_ID, managed="system", tenant=TENANT),
    )
    http, https = listening("127.0.0.1:0"), listening("127.0.0.1:0")
    tls, port = create_tls(), https.getsockname()[1]
    authority = Authority(apps=apps, base_url=f"http://{address_of(http)}")
    ca = tmp_path_factory.mktemp("lab") / "ca.pem"
    ca.write_text(tls.ca_pem)
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    app = create_lab(authority, mint_secret="mint-secret")
    serving = serve_lab(app, http=http, https=https, tls=tls.server_context, shutdown=stop.wait)
    made = Lab(authority, f"http://{address_of(http)}", f"https://localhost:{port}", str(ca))
    thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
    thread.start()
    yield made
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


async def caller_of(lab: Lab, token: str) -> str:
    """The app id that our own verification of a token for the skill finds."""
    client = Client(guard=allow_loopback)
    cloud = Cloud(
        entra_metadata=f"{lab.http}/common/v2.0/.well-known/openid-configuration",
        channel_metadata=f"{lab.http}/v1/.well-known/openidconfiguration",
    )
    callers = frozenset((ROOT_ID, USER_ID, SYSTEM_ID))
    keys = SigningKeys(client, now=lab.authority._now, allow_lab=True)
    snapshot = Snapshot(1, skills={}, callers={SKILL_ID: callers})
    verifier = Verifier(
        cloud=cloud,
        bots={SKILL_ID: frozenset((TENANT,))},
        keys=keys,
        snapshot=lambda: snapshot,
        now=lab.authority._now,
    )
    try:
        identity = await verifier.admit(f"Bearer {token}", door=Door.MESSAGES, bot_app_id=SKILL_ID)
    finally:
        await keys.close()
        await client.close()
    return identity.app_id


def at(lab: Lab) -> dict[str, Any]:
    """How azure-identity is told of an authority that is not one of the known ones."""
    return {
        "authority": lab.https,
        "disable_instance_discovery": True,
        "connection_verify": lab.ca,
    }


AZURE: dict[str, Callable[[Lab, Path], Any]] = {
    "a secret": lambda lab, _: identities.ClientSecretCredential(
        BOTFRAMEWORK_TENANT, ROOT_ID, "root-secret", **at(lab)
    ),
    "a certificate": lambda lab, _: identities.CertificateCredential(
        BOTFRAMEWORK_TENANT,
        ROOT_ID,
        certificate_data=bot_pair().pem + bot_pair().key_pem(),
        **at(lab),
    ),
    "a certificate with its chain": lambda lab, _: identities.CertificateCredential(
        BOTFRAMEWORK_TENANT,
        ROOT_ID,
        certificate_data=bot_pair().pem + bot_pair().key_pem(),
        send_certificate_chain=True,
        **at(lab),
    ),
    "an exchange": lambda lab, _: identities.ClientAssertionCredential(
        BOTFRAMEWORK_TENANT,
        ROOT_ID,
        lambda: lab.authority.managed_token(USER_ID, "api://AzureADTokenExchange")[0],
        **at(lab),
    ),
    "a workload": lambda lab, folder: identities.WorkloadIdentityCredential(
        tenant_id=BOTFRAMEWORK_TENANT,
        client_id=ROOT_ID,
        token_file_path=str(token_file(lab, folder)),
        **at(lab),
    ),
}


def token_file(lab: Lab, folder: Path) -> Path:
    """What a cluster mounts into a pod."""
    file = folder / "token"
    file.write_text(lab.authority.workload_token(WORKLOAD))
    return file


@pytest.mark.parametrize("kind", AZURE)
async def test_azure_identity_gets_a_token_with(lab: Lab, kind: str, tmp_path: Path) -> None:
    async with AZURE[kind](lab, tmp_path) as credential:
        token = await credential.get_token(SCOPE)

    assert await caller_of(lab, token.token) == ROOT_ID


async def test_azure_identity_is_refused_in_entras_words(lab: Lab) -> None:
    wrong = identities.ClientSecretCredential(BOTFRAMEWORK_TENANT, ROOT_ID, "wrong", **at(lab))
    async with wrong as credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
            await credential.get_token(SCOPE)


@pytest.fixture(params=["App Service", "the machine"])
def platform(request: pytest.FixtureRequest, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab as the platform that the process runs on."""
    for name in list(os.environ):
        if name.startswith(("IDENTITY_", "AZURE_", "MSI_")):
            monkeypatch.delenv(name)
    if request.param == "App Service":
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{lab.http}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "mint-secret")
    else:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", lab.http)
    return lab


@pytest.mark.parametrize(("kind", "expected"), [("user", USER_ID), ("system", SYSTEM_ID)])
async def test_a_managed_identity_of_azure_identity(
    platform: Lab, kind: str, expected: str
) -> None:
    client_id = USER_ID if kind == "user" else None
    async with identities.ManagedIdentityCredential(client_id=client_id) as credential:
        token = await credential.get_token(SCOPE)

    assert await caller_of(platform, token.token) == expected


@pytest.mark.parametrize(
    ("kind", "app_id"),
    [("user-assigned", USER_ID), ("system-assigned", SYSTEM_ID)],
)
async def test_a_bot_with_a_managed_identity(platform: Lab, kind: str, app_id: str) -> None:
    bot = bot_of({"identity": kind}, app_id=app_id)

    assert await caller_of(platform, await token_of(platform, bot)) == app_id


async def test_a_bot_that_a_managed_identity_proves(
    platform: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(monkeypatch, platform)
    bot = bot_of({"identity": "federated", "client_id": USER_ID}, tenant=BOTFRAMEWORK_TENANT)

    assert await caller_of(platform, await token_of(platform, bot)) == ROOT_ID


async def test_a_bot_that_its_cluster_proves(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(monkeypatch, lab)
    file = token_file(lab, tmp_path)
    credential = {"identity": "workload", "token_file": str(file)}
    bot = bot_of(credential, tenant=BOTFRAMEWORK_TENANT)

    assert await caller_of(lab, await token_of(lab, bot)) == ROOT_ID


def trust(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    """As SSL_CERT_FILE does for a process that starts with it."""
    context = ssl.create_default_context(cafile=lab.ca)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)


def bot_of(
    credential: dict[str, str], *, app_id: str = ROOT_ID, tenant: str = TENANT
) -> BotSettings:
    return BotSettings.model_validate(
        {"kind": "root", "app_id": app_id, "tenant": tenant, "credential": credential}
    )


async def token_of(lab: Lab, bot: BotSettings) -> str:
    """The token for the skill that a host with this bot would send."""

    async def nowhere(_: object) -> Any:
        raise AssertionError("the host itself asks nobody")

    cloud = Cloud(login_url=lab.https)
    identity = platform_identity("root", bot, cloud)
    tokens = TokenSource(
        nowhere, cloud=cloud, credential=identity, now=lab.authority._now, timeout=10
    )
    try:
        return await tokens.token(SKILL_ID)
    finally:
        await tokens.close()
        await identity.close()


MSAL: dict[str, Callable[[], Any]] = {
    "a secret": lambda: "root-secret",
    "a certificate": lambda: {
        "private_key": bot_pair().key_pem().decode(),
        "thumbprint": bot_pair().certificate.fingerprint(SHA1()).hex(),
    },
    "a certificate with its chain": lambda: {
        "private_key": bot_pair().key_pem().decode(),
        "public_certificate": bot_pair().pem.decode(),
    },
}


@pytest.mark.parametrize("kind", MSAL)
async def test_msal_gets_a_token_with(lab: Lab, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where it is set, the library below follows it and not the argument.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)

    def ask() -> dict[str, Any]:
        with requests.Session() as session:
            session.verify = lab.ca
            application = msal.ConfidentialClientApplication(
                ROOT_ID,
                client_credential=MSAL[kind](),
                authority=f"{lab.https}/{BOTFRAMEWORK_TENANT}",
                instance_discovery=False,
                http_client=session,
            )
            answer: dict[str, Any] = application.acquire_token_for_client([SCOPE])
            return answer

    answer = await asyncio.to_thread(ask)

    assert await caller_of(lab, answer["access_token"]) == ROOT_ID


@pytest.mark.parametrize(("kind", "expected"), [("user", USER_ID), ("system", SYSTEM_ID)])
async def test_a_managed_identity_of_msal(platform: Lab, kind: str, expected: str) -> None:
    def ask() -> dict[str, Any]:
        identity = (
            msal.UserAssignedManagedIdentity(client_id=USER_ID)
            if kind == "user"
            else msal.SystemAssignedManagedIdentity()
        )
        with requests.Session() as session:
            client = msal.ManagedIdentityClient(identity, http_client=session)
            answer: dict[str, Any] = client.acquire_token_for_client(resource=SKILL_ID)
            return answer

    answer = await asyncio.to_thread(ask)

    assert await caller_of(platform, answer["access_token"]) == expected

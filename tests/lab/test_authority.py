"""Tests of the lab's authority: documents, grants and minted tokens."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from skills_host.auth.certificates import BadCertificate
from skills_host.lab.authority import (
    BOTFRAMEWORK_TENANT,
    Authority,
    LabApp,
    TokenVersion,
)
from skills_host.lab.refusals import FAULTS, GrantRefused
from tests.auth.pairs import bot_pair, pair
from tests.lab.world import CHANNEL, LAB_URL, ROOT_ID, SINGLE_ID, SKILL_ID, TENANT, Clock

ODD = ec.generate_private_key(ec.SECP256R1())


def form(scope: str = f"{SKILL_ID}/.default", **changes: str) -> dict[str, str]:
    usual = {
        "grant_type": "client_credentials",
        "client_id": ROOT_ID,
        "client_secret": "root-secret",
        "scope": scope,
    }
    return usual | changes


def read(token: str, keys: dict[str, Any]) -> dict[str, Any]:
    """The claims of a token whose signature one of `keys` verifies."""
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False}
    return jwt.decode(token, key, algorithms=["RS256"], options=options | {"verify_iat": False})


def issued(authority: Authority, tenant: str = "botframework.com", **changes: str) -> Any:
    answer = authority.issue(tenant, form(**changes), endpoint_version="2.0")
    return read(answer["access_token"], authority.entra_keys())


def test_a_version_1_token_names_its_client_in_appid(authority: Authority) -> None:
    """The audience's registration decides the version, not the endpoint."""
    claims = issued(authority)

    assert claims["ver"] == "1.0" and claims["appid"] == ROOT_ID and "azp" not in claims
    assert claims["iss"] == f"https://sts.windows.net/{BOTFRAMEWORK_TENANT}/"
    assert claims["aud"] == SKILL_ID and claims["tid"] == BOTFRAMEWORK_TENANT


def test_a_version_2_token_names_its_client_in_azp(authority: Authority) -> None:
    """A root registered for newer tokens gets newer tokens."""
    claims = issued(
        authority, scope=f"{ROOT_ID}/.default", client_id=SKILL_ID, client_secret="skill-secret"
    )

    assert claims["ver"] == "2.0" and claims["azp"] == SKILL_ID and "appid" not in claims
    assert claims["iss"] == f"https://login.microsoftonline.com/{BOTFRAMEWORK_TENANT}/v2.0"
    assert claims["idtyp"] == "app" and claims["oid"] == claims["sub"]


@pytest.mark.parametrize("channel", [CHANNEL, "https://api.botframework.us"])
def test_a_channel_scope_is_granted(authority: Authority, channel: str) -> None:
    """A bot talks to its channel with a token for the Bot Connector."""
    assert issued(authority, scope=f"{channel}/.default")["aud"] == channel


def test_a_token_lives_an_hour(authority: Authority, clock: Clock) -> None:
    """It starts now, and the answer states a second less."""
    answer = authority.issue("botframework.com", form(), endpoint_version="2.0")
    claims = read(answer["access_token"], authority.entra_keys())

    assert (claims["iat"], claims["nbf"], claims["exp"]) == (clock(), clock(), clock() + 3600)
    assert answer["expires_in"] == 3599 and answer["token_type"] == "Bearer"


def test_the_older_endpoint_takes_a_resource(authority: Authority) -> None:
    """It answers numbers as text, as Entra does there."""
    asked = form(scope="", resource=SKILL_ID)

    answer = authority.issue("common", asked, endpoint_version="1.0")

    assert read(answer["access_token"], authority.entra_keys())["aud"] == SKILL_ID
    assert answer["expires_in"] == "3599" and answer["resource"] == SKILL_ID


def test_the_older_endpoint_takes_a_scope_too(authority: Authority) -> None:
    """Clients that take the authority for AD FS send one there."""
    answer = authority.issue("adfs", form(), endpoint_version="1.0")

    assert read(answer["access_token"], authority.entra_keys())["aud"] == SKILL_ID


@pytest.mark.parametrize("tenant", ["botframework.com", "common", "adfs", "organizations"])
def test_an_alias_is_the_bot_framework_tenant(authority: Authority, tenant: str) -> None:
    """Multi-tenant bots ask under all of these names."""
    assert issued(authority, tenant)["tid"] == BOTFRAMEWORK_TENANT


def test_a_tenant_by_its_guid_is_itself(authority: Authority) -> None:
    """A single-tenant app gets the tokens of its own tenant."""
    claims = issued(
        authority,
        TENANT.upper(),
        scope=f"{CHANNEL}/.default",
        client_id=SINGLE_ID,
        client_secret="single-secret",
    )

    assert claims["tid"] == TENANT and claims["iss"] == f"https://sts.windows.net/{TENANT}/"


def test_app_ids_are_compared_as_guids(authority: Authority) -> None:
    """Letter case does not matter, and the token has the registered spelling."""
    claims = issued(authority, scope=f"{SKILL_ID.upper()}/.default", client_id=ROOT_ID.upper())

    assert (claims["aud"], claims["appid"]) == (SKILL_ID, ROOT_ID)


REFUSED: dict[str, tuple[str, str, dict[str, str]]] = {
    "a wrong secret": ("secret", "common", {"client_secret": "guessed"}),
    "an unknown client": ("client", "common", {"client_id": TENANT}),
    "a client id that is no guid": ("client", "common", {"client_id": "root"}),
    "a missing client id": ("parameter", "common", {"client_id": ""}),
    "no proof": ("proof", "common", {"client_secret": ""}),
    "an assertion without its type": (
        "proof",
        "common",
        {"client_secret": "", "client_assertion": "x"},
    ),
    "a missing scope": ("parameter", "common", {"scope": ""}),
    "another grant": ("grant", "common", {"grant_type": "password"}),
    "a scope without default": ("scope", "common", {"scope": SKILL_ID}),
    "two scopes": ("scope", "common", {"scope": f"{SKILL_ID} {ROOT_ID}/.default"}),
    "an unknown resource": ("resource", "common", {"scope": f"{TENANT}/.default"}),
    "an app id uri": ("resource", "common", {"scope": f"api://{SKILL_ID}/.default"}),
    "a single-tenant resource elsewhere": (
        "resource",
        "common",
        {"scope": f"{SINGLE_ID}/.default"},
    ),
    "a single-tenant client elsewhere": ("client", "common", {"client_id": SINGLE_ID}),
    "an unknown tenant name": ("tenant", "contoso.example", {}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_grant_is_refused_for(authority: Authority, reason: str) -> None:
    """Every refusal has Entra's error, number and status."""
    fault, tenant, changes = REFUSED[reason]

    with pytest.raises(GrantRefused) as refused:
        authority.issue(tenant, form(**changes), endpoint_version="2.0")

    body = authority.refusal(refused.value)
    assert refused.value.fault == FAULTS[fault]
    assert body["error"] == FAULTS[fault].error and body["error_codes"] == [FAULTS[fault].number]
    assert not {"root-secret", "guessed"} & set(str(body).replace("'", " ").split())


def test_a_wrong_secret_is_401_invalid_client() -> None:
    """The one refusal that is about proof and not about the request."""
    assert (GrantRefused("secret").status, GrantRefused("client").status) == (401, 400)


def test_minted_claims_can_be_changed_and_removed(authority: Authority) -> None:
    """Tests of refusals need tokens that no authority would issue."""
    token = authority.app_token(
        client_id=ROOT_ID, audience=SKILL_ID, tid="elsewhere", idtyp=None, scp="all"
    )

    claims = read(token, authority.entra_keys())
    assert claims["tid"] == "elsewhere" and claims["scp"] == "all" and "idtyp" not in claims


def test_a_negative_lifetime_mints_an_expired_token(authority: Authority, clock: Clock) -> None:
    """Its start still lies before its end."""
    token = authority.app_token(client_id=ROOT_ID, audience=SKILL_ID, lifetime=-600)

    claims = read(token, authority.entra_keys())
    assert claims["nbf"] <= claims["exp"] == clock() - 600


def test_a_minted_token_comes_from_its_apps_tenant(authority: Authority) -> None:
    """Unless another tenant is asked for."""
    token = authority.app_token(client_id=SINGLE_ID, audience=ROOT_ID)

    assert read(token, authority.entra_keys())["tid"] == TENANT


def test_a_channel_token_vouches_for_its_service_url(authority: Authority) -> None:
    """It is signed with the channel's keys and names no application."""
    token = authority.channel_token(audience=ROOT_ID, service_url="http://127.0.0.1:1/")

    claims = read(token, authority.channel_keys())
    assert claims["iss"] == CHANNEL and claims["aud"] == ROOT_ID
    assert claims["serviceurl"] == "http://127.0.0.1:1/" and "ver" not in claims


def test_channel_keys_are_endorsed_and_entras_are_not(authority: Authority) -> None:
    """Endorsements are what ties a channel's key to its channel ids."""
    channel, _ = authority.channel_keys()["keys"]
    entra, _ = authority.entra_keys()["keys"]

    assert {"console", "directline", "msteams", "emulator", "test"} <= set(channel["endorsements"])
    assert "endorsements" not in entra


def test_every_document_is_marked_as_the_labs(authority: Authority) -> None:
    """A host in public must be able to refuse them."""
    documents = (
        authority.entra_metadata("common"),
        authority.entra_keys(),
        authority.channel_metadata(),
        authority.channel_keys(),
    )

    assert all(document["skills_host_lab"] is True for document in documents)


@pytest.mark.parametrize(
    ("tenant", "version", "issuer"),
    [
        ("common", "2.0", "https://login.microsoftonline.com/{tenantid}/v2.0"),
        (TENANT, "2.0", f"https://login.microsoftonline.com/{TENANT}/v2.0"),
        ("botframework.com", "1.0", f"https://sts.windows.net/{BOTFRAMEWORK_TENANT}/"),
    ],
)
def test_metadata_names_the_well_known_issuer(
    authority: Authority, tenant: str, version: TokenVersion, issuer: str
) -> None:
    """Addresses are the lab's, issuers are not."""
    document = authority.entra_metadata(tenant, version=version)

    assert document["issuer"] == issuer
    assert document["token_endpoint"].startswith(f"{LAB_URL}/{tenant}/oauth2/")


def test_an_apps_secret_is_not_shown() -> None:
    """Not even by the value that holds it."""
    assert "hidden" not in repr(LabApp(ROOT_ID, "hidden"))


def test_an_app_without_proof_is_refused() -> None:
    """It could be impersonated by anyone."""
    with pytest.raises(ValueError, match="a secret, a certificate"):
        LabApp(ROOT_ID)


def test_an_app_with_a_certificate_needs_no_secret() -> None:
    """Nor does an empty one open it."""
    app = LabApp(ROOT_ID, certificate=bot_pair().pem.decode())
    authority = Authority(apps=[app], base_url=LAB_URL)

    for secret in (" ", "None", "root-secret"):
        with pytest.raises(GrantRefused) as refused:
            authority.issue("common", form(client_secret=secret), endpoint_version="2.0")
        assert refused.value.fault == FAULTS["secret"]


@pytest.mark.parametrize(
    "pem", ["certificate", pair("odd", key=ODD).pem.decode()], ids=["no PEM", "odd key"]
)
def test_a_certificate_that_verifies_nothing_is_refused(pem: str) -> None:
    """At once, and not when its app asks for a token."""
    with pytest.raises(BadCertificate):
        LabApp(ROOT_ID, certificate=pem)

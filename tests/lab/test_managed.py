"""Identities without a secret: what the lab's platform and its exchange give, and refuse."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from quart import Quart

from skills_host.lab.authority import Authority, LabApp
from skills_host.lab.refusals import GrantRefused
from skills_host.lab.service import create_lab
from tests.lab.world import LAB_URL, ROOT_ID, SKILL_ID, TENANT, Clock

USER_ID = "e0000000-0000-4000-8000-000000000005"
SYSTEM_ID = "e0000000-0000-4000-8000-000000000006"
WORKLOAD = "system:serviceaccount:bots:root"
MINE = {"X-IDENTITY-HEADER": "mint-secret"}
MACHINE = {"Metadata": "true"}
PLACES = {"/msi/token": MINE, "/metadata/identity/oauth2/token": MACHINE}


@pytest.fixture(scope="module")
def authority() -> Authority:
    """A skill, two managed identities, and an app that trusts one of them and a workload."""
    apps = (
        LabApp(SKILL_ID, "skill-secret", token_version="1.0"),
        LabApp(USER_ID, managed="user", tenant=TENANT),
        LabApp(SYSTEM_ID, managed="system", tenant=TENANT),
        LabApp(ROOT_ID, trusts=(USER_ID, WORKLOAD)),
    )
    return Authority(apps=apps, base_url=LAB_URL, now=Clock())


@pytest.fixture
def lab(authority: Authority) -> Quart:
    return create_lab(authority, mint_secret="mint-secret")


async def asked(
    lab: Quart, path: str, headers: dict[str, str], **query: str
) -> tuple[int, dict[str, Any]]:
    answer = await lab.test_client().get(path, query_string=query, headers=headers)
    return answer.status_code, await answer.get_json()


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize(("client", "identity"), [(USER_ID, USER_ID), ("", SYSTEM_ID)])
async def test_an_identity_gets_a_token_of_its_own_tenant(
    lab: Quart, path: str, client: str, identity: str
) -> None:
    query = {"resource": SKILL_ID} | ({"client_id": client} if client else {})
    status, document = await asked(lab, path, PLACES[path], **query)
    found = claims(document["access_token"])

    assert status == 200
    assert (found["appid"], found["tid"], found["aud"]) == (identity, TENANT, SKILL_ID)
    assert int(document["expires_on"]) == found["exp"]


async def test_app_service_wants_its_header(lab: Quart) -> None:
    for headers in ({}, {"X-IDENTITY-HEADER": "guessed"}):
        assert (await asked(lab, "/msi/token", headers, resource=SKILL_ID))[0] == 401


async def test_the_machine_wants_to_be_meant(lab: Quart) -> None:
    status, document = await asked(lab, "/metadata/identity/oauth2/token", {}, resource=SKILL_ID)

    assert (status, document["error"]) == (400, "bad_request_102")


@pytest.mark.parametrize("path", PLACES)
async def test_an_unknown_identity_is_not_found(lab: Quart, path: str) -> None:
    query = {"resource": SKILL_ID, "client_id": ROOT_ID}
    status, document = await asked(lab, path, PLACES[path], **query)

    assert (status, document["message"]) == (400, "Identity not found")


@pytest.mark.parametrize(
    ("path", "status"), [("/msi/token", 500), ("/metadata/identity/oauth2/token", 400)]
)
async def test_a_managed_identity_is_no_audience(lab: Quart, path: str, status: int) -> None:
    answered, document = await asked(lab, path, PLACES[path], resource=USER_ID)

    assert answered == status
    assert "access_token" not in document


async def test_a_managed_identity_is_no_audience_for_an_app_either(authority: Authority) -> None:
    other = Authority(
        apps=[LabApp(ROOT_ID, "s"), LabApp(USER_ID, managed="user")], base_url=LAB_URL
    )
    form = {
        "grant_type": "client_credentials",
        "client_id": ROOT_ID,
        "client_secret": "s",
        "scope": f"{USER_ID}/.default",
    }

    with pytest.raises(GrantRefused) as caught:
        other.issue("botframework.com", form, endpoint_version="2.0")
    assert caught.value.fault.error == "invalid_resource"


def exchange(authority: Authority, assertion: str) -> dict[str, Any]:
    form = {
        "grant_type": "client_credentials",
        "client_id": ROOT_ID,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
        "scope": f"{SKILL_ID}/.default",
    }
    return authority.issue("botframework.com", form, endpoint_version="2.0")


def test_a_trusted_identitys_token_is_exchanged(authority: Authority) -> None:
    assertion, _, _ = authority.managed_token(USER_ID, "api://AzureADTokenExchange")

    assert claims(exchange(authority, assertion)["access_token"])["appid"] == ROOT_ID


def test_a_trusted_workloads_token_is_exchanged(authority: Authority) -> None:
    token = authority.workload_token(WORKLOAD)

    assert claims(exchange(authority, token)["access_token"])["appid"] == ROOT_ID


FAULTY: dict[str, tuple[Any, int]] = {
    "another workload": (lambda a: a.workload_token("system:serviceaccount:x:y"), 700213),
    "another identity": (
        lambda a: a.managed_token(SYSTEM_ID, "api://AzureADTokenExchange")[0],
        700213,
    ),
    "another audience": (lambda a: a.workload_token(WORKLOAD, aud=SKILL_ID), 700212),
    "an ordinary token": (lambda a: a.managed_token(USER_ID, SKILL_ID)[0], 700211),
    "a cluster that is not trusted": (
        lambda a: a.workload_token(WORKLOAD, iss="https://elsewhere"),
        700211,
    ),
    "a workload that calls itself an identity": (
        lambda a: a.workload_token(
            claims(a.managed_token(USER_ID, "api://AzureADTokenExchange")[0])["sub"]
        ),
        700213,
    ),
    "an expired one": (lambda a: a.workload_token(WORKLOAD, exp=1000), 700024),
    "no end": (lambda a: a.workload_token(WORKLOAD, exp=None), 700024),
    "another key": (lambda a: a.workload_token(WORKLOAD)[:-8] + "AAAAAAAA", 700027),
    "no token": (lambda a: "a.b.c", 50027),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_an_exchange_is_refused_for(authority: Authority, fault: str) -> None:
    make, number = FAULTY[fault]

    with pytest.raises(GrantRefused) as caught:
        exchange(authority, make(authority))
    assert caught.value.fault.number == number


async def test_the_clock_goes_wrong_on_command(lab: Quart, authority: Authority) -> None:
    before = claims(authority.app_token(client_id=ROOT_ID, audience=SKILL_ID))["exp"]
    headers = {"Authorization": "Bearer mint-secret"}
    try:
        answer = await lab.test_client().post("/lab/skew", json={"seconds": -900}, headers=headers)
        after = claims(authority.app_token(client_id=ROOT_ID, audience=SKILL_ID))["exp"]
    finally:
        authority.skew = 0.0

    assert (answer.status_code, after - before) == (200, -900)


@pytest.mark.parametrize("body", [{}, {"seconds": "1"}, {"seconds": True}, {"seconds": 10**9}])
async def test_a_skew_is_a_number_of_seconds(lab: Quart, body: dict[str, Any]) -> None:
    headers = {"Authorization": "Bearer mint-secret"}
    answer = await lab.test_client().post("/lab/skew", json=body, headers=headers)

    assert answer.status_code == 400

"""Who may do what: every role at every route, and every reason why somebody does not come in."""

from __future__ import annotations

import json

import pytest

from skills_host.admin.tokens import AdminTokens
from skills_host.auth.denials import DENIALS
from skills_host.consumer.registry.records import Role
from skills_host.web.admin.routes import ROUTES, Route
from tests.web.admin.desk import ORDER, Desk, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

MATRIX = {
    "author": {
        "openapi", "list", "show", "revision", "raw", "diff", "explain",
        "add", "revise", "submit", "refresh",
    },
    "approver": {
        "openapi", "list", "show", "revision", "raw", "diff", "explain", "audit", "verify",
        "allowlist", "approve", "reject", "revoke", "rollback", "quarantine",
    },
    "operator": {
        "openapi", "list", "show", "revision", "raw", "diff", "explain", "audit", "verify",
        "allowlist", "add", "revise", "submit", "refresh", "revoke", "rollback", "quarantine",
        "release", "enable", "disable", "drain", "retire", "remove", "grants", "ping",
    },
    "auditor": {
        "openapi", "list", "show", "revision", "raw", "diff", "explain", "audit", "verify",
        "allowlist",
    },
    "none": set(),
}  # fmt: skip


def path_of(route: Route) -> str:
    """A path of the route, of a skill that there is not."""
    return route.path.replace("{skill}", "nobody").replace("{digest}", "0" * 64)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_each_role_may_exactly_what_the_matrix_says(desk: Desk, route: Route) -> None:
    """admin-role comes before the body is looked at; whoever may, gets another answer."""
    for role, may in MATRIX.items():
        answer = await desk.ask(route.method, path_of(route), role=role)
        refused = answer.status == 403 and json.loads(answer.body)["code"] == "admin-role"

        assert refused == (route.name not in may), (role, route.name, answer.body)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_nobody_comes_in_without_a_token(desk: Desk, route: Route) -> None:
    answer = await desk.ask(route.method, path_of(route), role="")

    assert problem(answer) == (401, "no-header")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_refusal_leaves_a_receipt_without_the_token(desk: Desk) -> None:
    answer = await desk.ask("GET", "/audit", role="author")
    told = json.loads(answer.body)
    bad = "skh_" + "0" * 16 + "_" + "s" * 43
    forged = await desk.ask("GET", "/skills", role="", headers={"Authorization": f"Bearer {bad}"})

    assert (told["code"], told["fix"]) == ("admin-role", DENIALS["admin-role"].fix)
    assert told["receipt"] and json.loads(forged.body)["receipt"]
    assert bad[21:] not in forged.body.decode()


async def test_a_revoked_token_is_out_at_the_next_request(desk: Desk) -> None:
    tokens = AdminTokens(desk.store, now=desk.town.now, random=lambda n: b"r" * n)
    made, text = await tokens.add("eve", frozenset(Role), seconds=60, order=ORDER)
    header = {"Authorization": f"Bearer {text}"}
    before = await desk.ask("GET", "/skills", role="", headers=header)
    await tokens.revoke(made.id, order=ORDER)
    after = await desk.ask("GET", "/skills", role="", headers=header)

    assert before.status == 200
    assert problem(after) == (401, "admin-token-revoked")


async def test_entra_comes_in_with_app_roles(desk: Desk) -> None:
    auditor = await desk.ask("GET", "/audit", role="", headers=desk.entra("auditor"))
    author = await desk.ask("GET", "/audit", role="", headers=desk.entra("author"))
    other = await desk.ask("GET", "/audit", role="", headers=desk.town.bearer("echo"))

    assert auditor.status == 200
    assert problem(author) == (403, "admin-role")
    assert other.status == 401


async def test_a_forwarded_request_is_refused_in_a_lab(desk: Desk) -> None:
    answer = await desk.ask("GET", "/skills", headers={"X-Forwarded-For": "10.0.0.1"})

    assert problem(answer) == (403, "forwarded-in-lab")


async def test_no_token_is_in_a_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for role in ("author", "none"):
        await desk.ask("GET", "/audit", role=role)

    assert "admin-role" in caplog.text
    assert not any(token[21:] in caplog.text for token in desk.tokens.values())

"""The OpenAPI document says what the routes do, no more and no less."""

from __future__ import annotations

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from skills_host.web.admin.door import QUERY
from skills_host.web.admin.openapi import document
from skills_host.web.admin.routes import ROUTES
from tests.web.admin.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = json.loads(document())


async def test_the_document_is_sound() -> None:
    assert not list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors())


async def test_the_document_is_served(desk: Desk) -> None:
    served = await desk.ask("GET", "/openapi.json", role="auditor")

    assert json.loads(served.body) == DOCUMENT


async def test_the_document_has_every_route_with_its_roles_and_no_other() -> None:
    told = {
        (method.upper(), path): (operation["operationId"], operation["x-roles"])
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }

    assert told == {(r.method, r.path): (r.name, sorted(r.roles)) for r in ROUTES}


async def test_the_document_says_which_headers_and_parameters_a_route_takes() -> None:
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        told = {(one["in"], one["name"]) for one in operation["parameters"]}
        headers = {name for where, name in told if where == "header"}
        query = {name for where, name in told if where == "query"}

        assert {name for where, name in told if where == "path"} == set(route.ids)
        assert query == {*route.query, *(["dryRun"] if route.changes else [])}
        assert query <= {*QUERY, "dryRun"}
        assert ("If-Match" in headers) == route.guarded == ("412" in operation["responses"])
        assert ("Idempotency-Key" in headers) == route.changes
        assert ("requestBody" in operation) == (route.body is not None)

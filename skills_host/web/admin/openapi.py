"""The OpenAPI document of the REST API, made from the table that registers its routes. Pure."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from skills_host.web.admin.bodies import ProblemBody
from skills_host.web.admin.routes import BASE, PATTERNS, ROUTES, Route
from skills_host.wire import encode

__all__ = ["document"]

JSON = "application/json"
PROBLEM = "application/problem+json"
BYTES = "application/octet-stream"

ANY: dict[int, str] = {
    400: "A parameter or header has the wrong form",
    401: "No token, or one that is not good",
    403: "None of the roles that are needed",
    429: "Too many bad tokens came from this address",
    500: "The host failed",
    503: "The store or the signing keys cannot be had",
}
WITH_IDS = {404: "There is no such skill or revision"}
CHANGE = {409: "Not in the state that it is in"}
GUARDED = {412: "It was changed since it was read", 428: "If-Match is missing"}
BODY = {
    408: "The body did not come in time",
    413: "The body is too large",
    415: "The body is not announced as JSON",
    422: "A member of the body has the wrong form",
}
FETCHED = {502: "The address of the manifest gave none", 504: "It gave none in time"}
SOME = {501: "This host does not offer it"}

QUERY: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
    "after": {"type": "string", "maxLength": 64},
    "from": {"type": "string", "pattern": "^(|[0-9a-f]{4,64})$"},
    "to": {"type": "string", "pattern": "^(|[0-9a-f]{4,64})$"},
    "dryRun": {"type": "string", "enum": ["true", "false"], "default": "false"},
}
ENTRY = {"type": "string", "pattern": "^[0-9]{1,12}$"}


def document() -> bytes:
    """The document, in JSON."""
    models = {m for route in ROUTES for m in (route.body,) if m}
    given = {m for route in ROUTES for m in (route.answer,) if m} | {ProblemBody}
    named = sorted(models | given, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "serialization" if model in given else "validation") for model in named],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "skills_host registry",
                "version": "1",
                "description": "Skills: what is sent in, approved and in use.",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": BASE}],
            "security": [{"token": []}],
            "paths": paths,
            "components": {
                "schemas": schemas["$defs"],
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _operation(route: Route) -> dict[str, Any]:
    roles = sorted(route.roles)
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"Roles of which one is needed: {', '.join(roles)}.",
        "x-roles": roles,
        "parameters": _parameters(route),
        "responses": {str(status): made for status, made in sorted(_responses(route).items())},
    }
    if route.body is not None:
        schema = {"$ref": f"#/components/schemas/{route.body.__name__}"}
        content = {JSON: {"schema": schema}}
        operation["requestBody"] = {"required": route.needs_body, "content": content}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [
        _parameter("path", name, {"type": "string", "pattern": f"^{PATTERNS[name]}$"})
        for name in route.ids
    ]
    for name in route.query:
        is_entry = (route.name, name) == ("audit", "after")
        found.append(_parameter("query", name, ENTRY if is_entry else QUERY[name]))
    if route.changes:
        found.append(_parameter("query", "dryRun", QUERY["dryRun"]))
        found.append(
            _parameter(
                "header",
                "Idempotency-Key",
                {"type": "string", "pattern": "^[!-~]{1,255}$"},
            )
        )
    if route.guarded:
        schema = {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]{0,100}")$'}
        found.append(_parameter("header", "If-Match", schema, required=True))
    if route.tagged and not route.changes:
        found.append(_parameter("header", "If-None-Match", {"type": "string", "maxLength": 1000}))
    return found


def _parameter(
    where: str, name: str, schema: dict[str, Any], *, required: bool = False
) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required or where == "path", "schema": schema}


def _responses(route: Route) -> dict[int, dict[str, Any]]:
    found = {status: _problem(text) for status, text in _refusals(route).items()}
    good: dict[str, Any] = {"description": "Done" if route.changes else "As asked"}
    if route.answer is not None:
        schema = {"$ref": f"#/components/schemas/{route.answer.__name__}"}
        good["content"] = {JSON: {"schema": schema}}
    elif route.name == "openapi":
        good["content"] = {JSON: {"schema": {"type": "object"}}}
    elif route.status == 200:
        good["content"] = {BYTES: {"schema": {"type": "string", "format": "binary"}}}
    if route.tagged:
        good["headers"] = {"ETag": {"schema": {"type": "string"}}}
    found[route.status] = good
    if route.tagged and not route.changes:
        found[304] = {"description": "It is as it was"}
    return found


def _refusals(route: Route) -> dict[int, str]:
    found = dict(ANY)
    if route.ids:
        found |= WITH_IDS
    if route.name == "diff":
        found |= CHANGE
    if route.ids and "digest" in route.ids:
        found |= CHANGE
    if route.changes:
        found |= CHANGE
    if route.guarded:
        found |= GUARDED
    if route.body is not None:
        found |= BODY
    if route.name in ("add", "revise", "refresh", "ping", "explain"):
        found |= SOME
    if route.name in ("add", "revise", "refresh"):
        found |= FETCHED
    return found


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {"description": text, "content": {PROBLEM: {"schema": schema}}}

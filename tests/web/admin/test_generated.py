"""Requests that are made from the OpenAPI document: every answer is one that it knows."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis.core import NOT_SET
from schemathesis.core.result import Ok

from skills_host.transport import Response
from skills_host.web.admin.openapi import document
from skills_host.web.admin.routes import BASE
from tests.web.admin.desk import Desk

# Thousands of requests: they run with the suite of whole processes.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.processes]

DOCUMENT = json.loads(document())
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
FOUND = [result.ok() for result in SCHEMA.get_all_operations() if isinstance(result, Ok)]
OPERATIONS = {operation.definition.raw["operationId"]: operation for operation in FOUND}
EXAMPLES = 30


@pytest.mark.parametrize("name", OPERATIONS)
async def test_every_answer_is_one_that_the_document_knows(desk: Desk, name: str) -> None:
    """Status, media type and members, for requests that fit the document and that do not."""
    await skill_there(desk)
    loop = asyncio.get_running_loop()
    operation = OPERATIONS[name]
    checked: list[int] = []

    def ask(case: Any) -> None:
        path = case.formatted_path.partition(BASE)[2] or case.formatted_path
        body = None if case.body is NOT_SET else case.body
        if isinstance(body, dict) and body.get("url"):
            # Nothing is there; whatever else is made up must not be looked for in the network.
            body = body | {"url": "http://127.0.0.1:9/manifest.json"}
        headers = {key: str(value) for key, value in (case.headers or {}).items()}
        query = "&".join(f"{key}={value}" for key, value in (case.query or {}).items())
        full = f"{path}?{query}" if query else path
        coroutine = desk.ask(case.method, full, body, headers=headers)
        answer = asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)
        checked.append(answer.status)
        assert_told(operation.definition.raw, answer)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def examples(case: Any) -> None:
        ask(case)

    await asyncio.to_thread(examples)

    assert checked


def assert_told(operation: dict[str, Any], answer: Response) -> None:
    """An answer's status is in the document, and its body fits what is said there."""
    assert answer.status not in (500, 503), answer.body
    told = operation["responses"].get(str(answer.status))
    assert told is not None, (operation["operationId"], answer.status, answer.body)
    if not answer.body:
        return
    content = told["content"][answer.headers["content-type"].partition(";")[0]]
    reference = content["schema"].get("$ref", "")
    if reference:
        whole = {"$ref": reference, "components": DOCUMENT["components"]}
        Draft202012Validator(whole).validate(json.loads(answer.body))


async def skill_there(desk: Desk) -> None:
    """There is a skill whose name is often met."""
    if (await desk.ask("GET", "/skills/0")).status == 404:
        await desk.registered("0")

"""Values to and from a skill against what its manifest declares: off, warned of, or enforced."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from skills_host.consumer.manifest.contract import Contract, contract_of
from skills_host.consumer.manifest.readers import read
from skills_host.transport import Request, Response
from tests.consumer.manifest.sound import data_of
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.world import IDS, SKILLS, Town

NUMBER = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
GOOD, BAD = {"n": 1}, {"n": "hush"}
DECLARED: dict[str, Any] = {
    "activities": {
        "talk": {"type": "message", "description": "Talks"},
        "count": {"type": "event", "name": "count", "value": {"$ref": "#/definitions/number"}},
        "ask": {
            "type": "invoke",
            "name": "ask",
            "value": {"$ref": "#/definitions/number"},
            "resultValue": {"$ref": "#/definitions/number"},
        },
    },
    "activitiesSent": {"told": {"type": "event", "name": "told", "value": NUMBER}},
    "definitions": {"number": NUMBER},
}


def contract() -> Contract:
    """What the skill above has declared."""
    found = contract_of(read(data_of(**DECLARED)).manifest)
    assert found is not None
    return found


async def started(town: Town, schemas: str | None, **more: Any) -> Witness:
    """A root whose echo skill has declared the above, and has the floor."""
    endpoint = {
        "name": "default",
        "endpointUrl": f"{SKILLS['echo']}/api/messages",
        "msAppId": IDS["echo"],
    }
    file = town.folder / "echo.json"
    file.write_bytes(data_of(**DECLARED, endpoints=[endpoint]))
    given = {"manifest": str(file), "endpoint": None, "app_id": None} | more
    root = Witness()
    await town.start_root(
        root=root, echo=given if schemas is None else given | {"schemas": schemas}
    )
    town.send.faults[SKILLS["echo"]] = lambda _: Response(200, {}, b'{"activities": []}')
    await town.say("echo")
    return root


def values_to_skill(town: Town) -> list[Any]:
    """The values that the skill got, none for the first message."""
    return [activity.value for activity in town.to_skill("echo")[1:]]


def answers_with(town: Town, *replies: dict[str, Any], status: int = 200, body: Any = None) -> None:
    """Let the skill answer so from now on."""
    document = body if body is not None else {"activities": list(replies)}

    def skill(_: Request) -> Response:
        return Response(status, {"content-type": "application/json"}, json.dumps(document).encode())

    town.send.faults[SKILLS["echo"]] = skill


# What is declared


@pytest.mark.parametrize(
    ("about", "value", "fits"),
    [
        (("taken", "event", "count"), GOOD, True),
        (("taken", "event", "count"), BAD, False),
        (("taken", "event", "count"), None, False),
        (("taken", "event", "other"), BAD, True),
        (("taken", "invoke", "count"), BAD, True),
        (("taken", "message", ""), BAD, True),
        (("sent", "event", "told"), BAD, False),
        (("sent", "event", "told"), GOOD, True),
        (("sent", "event", "count"), BAD, True),
        (("result", "invoke", "ask"), BAD, False),
        (("result", "invoke", "ask"), GOOD, True),
        (("taken", "event", "count"), {"n": 1, "x": "y" * 300_000}, False),
    ],
)
def test_a_value_is_held_against_its_own_schema(
    about: tuple[str, str, str], value: Any, fits: bool
) -> None:
    direction, kind, name = about
    raw = None if value is None else json.dumps(value).encode()

    complaint = getattr(contract(), direction)(kind, name, raw)

    assert (complaint is None) == fits
    assert "hush" not in str(complaint)


def test_an_end_may_have_the_result_of_any_activity_or_none() -> None:
    assert contract().end(b'{"n": 1}') is None
    assert contract().end(None) is None
    assert contract().end(b'{"n": "hush"}') is not None


def test_a_manifest_without_schemas_costs_nothing() -> None:
    assert contract_of(None) is None
    assert contract_of(read(data_of()).manifest) is None


# What is sent to a skill


@pytest.mark.parametrize("schemas", [None, "warn", "off"])
async def test_what_does_not_fit_is_sent_and_at_most_warned_of(
    empty_town: Town, schemas: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    await started(empty_town, schemas)
    with caplog.at_level(logging.WARNING):
        await empty_town.post("", type="event", name="count", value=BAD)

    assert values_to_skill(empty_town) == [BAD]
    assert ("does not fit its manifest" in caplog.text) == (schemas != "off")
    assert "hush" not in caplog.text


async def test_what_does_not_fit_is_refused_where_that_is_enforced(empty_town: Town) -> None:
    await started(empty_town, "enforce")
    await empty_town.post("", type="event", name="count", value=BAD)
    await empty_town.post("", type="event", name="count", value=GOOD)
    await empty_town.post("", type="event", name="other", value=BAD)

    assert values_to_skill(empty_town) == [GOOD, BAD]


async def test_an_invoke_that_does_not_fit_is_answered_with_the_code(empty_town: Town) -> None:
    await started(empty_town, "enforce")
    answer = await empty_town.post("", type="invoke", name="ask", value=BAD)

    assert answer.status == 400
    assert json.loads(answer.body)["error"]["code"] == "value-refused"
    assert values_to_skill(empty_town) == []
    assert b"hush" not in answer.body


# What a skill sends


@pytest.mark.parametrize(("schemas", "status"), [("enforce", 400), ("warn", 200), ("off", 200)])
async def test_an_event_that_does_not_fit_is_refused_to_the_skill(
    empty_town: Town, schemas: str, status: int
) -> None:
    root = await started(empty_town, schemas)
    event = {"type": "event", "name": "told", "value": BAD}

    answer = await empty_town.callback("echo", empty_town.handle("echo"), event)

    assert answer == (status, "value-refused" if status == 400 else "")
    assert [value for *_, value in root.events] == ([] if status == 400 else [BAD])


async def test_an_end_that_does_not_fit_ends_without_its_value(empty_town: Town) -> None:
    root = await started(empty_town, "enforce")
    end = {"type": "endOfConversation", "code": "completedSuccessfully", "value": BAD}

    answer = await empty_town.callback("echo", empty_town.handle("echo"), end)

    assert answer == (200, "")
    assert root.ends == [("echo", "botIssuedInvalidMessage", None)]


@pytest.mark.parametrize("value", [GOOD, None])
async def test_an_end_that_fits_keeps_its_value(empty_town: Town, value: Any) -> None:
    root = await started(empty_town, "enforce")
    end = {"type": "endOfConversation", "code": "completedSuccessfully", "value": value}

    await empty_town.callback("echo", empty_town.handle("echo"), end)

    assert root.ends == [("echo", "completedSuccessfully", value)]


@pytest.mark.parametrize("schemas", ["enforce", "warn"])
async def test_what_comes_in_an_answer_is_held_to_the_same(empty_town: Town, schemas: str) -> None:
    root = await started(empty_town, schemas, **EXPECT_REPLIES)
    answers_with(
        empty_town,
        {"type": "event", "name": "told", "value": BAD},
        {"type": "event", "name": "told", "value": GOOD},
        {"type": "endOfConversation", "code": "completedSuccessfully", "value": BAD},
    )

    await empty_town.post("go")

    kept = schemas == "warn"
    assert [value for *_, value in root.events] == ([BAD, GOOD] if kept else [GOOD])
    code = "completedSuccessfully" if kept else "botIssuedInvalidMessage"
    assert root.ends == [("echo", code, BAD if kept else None)]


@pytest.mark.parametrize(("schemas", "status"), [("enforce", 502), ("warn", 200)])
async def test_a_response_that_does_not_fit_is_the_skills_fault(
    empty_town: Town, schemas: str, status: int
) -> None:
    await started(empty_town, schemas, **EXPECT_REPLIES)
    response = {"type": "invokeResponse", "value": {"status": 200, "body": BAD}}
    answers_with(empty_town, response)

    answer = await empty_town.post("", type="invoke", name="ask", value=GOOD)

    assert answer.status == status
    assert (b"value-refused" in answer.body) == (status == 502)
    assert (b"hush" in answer.body) == (status == 200)

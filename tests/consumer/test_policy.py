"""What skills may ask: defaults, settings, and the order of what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from skills_host.auth.denials import Denied
from skills_host.consumer.policy import DEFAULTS, check_policy
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import NotOffered
from skills_host.settings import Operation, Policy
from skills_host.transport import Response
from tests.conftest import new_folder, open_town
from tests.consumer.asking import HELLO, answered, asked, at_channel
from tests.world import IDS, Lab, Town

in_module = pytest.mark.asyncio(loop_scope="module")

# What each operation is asked with; `{}` is the conversation, `a1` what the skill sent there.
REQUESTS: dict[Operation, tuple[str, str, Any]] = {
    Operation.SEND: ("POST", "/v3/conversations/{}/activities", HELLO),
    Operation.UPDATE: ("PUT", "/v3/conversations/{}/activities/a1", HELLO),
    Operation.DELETE: ("DELETE", "/v3/conversations/{}/activities/a1", None),
    Operation.MEMBERS: ("GET", "/v3/conversations/{}/members", None),
    Operation.MEMBER: ("GET", "/v3/conversations/{}/members/ann", None),
    Operation.PAGED_MEMBERS: ("GET", "/v3/conversations/{}/pagedmembers", None),
    Operation.ACTIVITY_MEMBERS: ("GET", "/v3/conversations/{}/activities/a1/members", None),
    Operation.DELETE_MEMBER: ("DELETE", "/v3/conversations/{}/members/ann", None),
    Operation.HISTORY: ("POST", "/v3/conversations/{}/activities/history", {"activities": []}),
    Operation.UPLOAD: ("POST", "/v3/conversations/{}/attachments", {"name": "x"}),
    Operation.ATTACHMENT: ("GET", "/v3/attachments/1", None),
    Operation.ATTACHMENT_VIEW: ("GET", "/v3/attachments/1/views/original", None),
    Operation.CREATE: ("POST", "/v3/conversations", {}),
    Operation.LIST: ("GET", "/v3/conversations", None),
}


def of_skill(**operations: Policy) -> Skill:
    """A skill with these settings."""
    named = {Operation(name): policy for name, policy in operations.items()}
    return Skill("echo", "Echo", IDS["echo"], "http://127.0.0.1:1/", operations=named)


def test_every_operation_has_a_default_and_a_route() -> None:
    assert set(DEFAULTS) == set(REQUESTS) == set(Operation)


def test_own_conversation_is_allowed_and_nothing_else() -> None:
    """What the SDKs' skills do every day needs no settings."""
    allowed = {operation for operation, policy in DEFAULTS.items() if policy is Policy.ALLOWED}

    assert allowed == {
        *(Operation.SEND, Operation.UPDATE, Operation.DELETE),
        *(Operation.MEMBERS, Operation.MEMBER),
        *(Operation.PAGED_MEMBERS, Operation.ACTIVITY_MEMBERS),
    }
    assert Policy.REFUSED not in DEFAULTS.values()


def test_settings_come_before_defaults() -> None:
    check_policy(of_skill(history=Policy.ALLOWED), Operation.HISTORY)
    with pytest.raises(Denied, match="refuse"):
        check_policy(of_skill(send=Policy.REFUSED), Operation.SEND)
    with pytest.raises(NotOffered):
        check_policy(of_skill(send=Policy.NOT_OFFERED), Operation.SEND)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict_town(lab: Lab) -> AsyncIterator[Town]:
    """Echo is refused everything, booking is offered nothing."""
    with new_folder() as folder:
        town = await opened(folder, lab)
        yield town
        await town.close()


async def opened(folder: Path, lab: Lab) -> Town:
    """Ann talks to echo and Bob to booking."""
    refused, missing = (
        {"operations": dict.fromkeys(Operation, policy), "delivery": "expectReplies"}
        for policy in ("refused", "not-offered")
    )
    town = await open_town(Town(folder, lab), echo=refused, booking=missing)
    await town.post("echo", user="ann", conversation="c1")
    await town.post("booking", user="bob", conversation="c2")
    return town


@in_module
@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize(
    ("skill", "expected"),
    [("echo", (403, "operation-refused")), ("booking", (501, "not-offered"))],
)
async def test_policy_decides_every_operation(
    strict_town: Town, operation: Operation, skill: str, expected: tuple[int, str]
) -> None:
    """And the channel hears nothing."""
    method, path, body = REQUESTS[operation]
    got = at_channel(strict_town)
    below = path.format(strict_town.handle(skill))
    answer = await asked(strict_town, method, below, body, skill=skill)

    assert (answer.status, json.loads(answer.body)["error"]["code"]) == expected
    assert not got


@in_module
async def test_skill_that_may_say_nothing_may_end(strict_town: Town) -> None:
    """Otherwise its user could not get out."""
    await strict_town.post("echo", user="eve", conversation="c3")
    end = {"type": "endOfConversation"}

    assert (await answered(strict_town, "POST", "/{}/activities", end))[0] == 200
    assert (await answered(strict_town, "POST", "/{}/activities", end))[0] == 404


@in_module
@pytest.mark.parametrize(
    "operation", [op for op, request in REQUESTS.items() if "{}" in request[1]]
)
async def test_foreign_conversation_is_refused_for_every_operation(
    shared_town: Town, operation: Operation
) -> None:
    """Before anything is said of what would be allowed."""
    await shared_town.say("echo")
    method, path, body = REQUESTS[operation]
    got = at_channel(shared_town, Response(200))
    below = path.format(shared_town.handle("echo"))
    answer = await asked(shared_town, method, below, body, skill="booking")

    shared_town.send.faults.clear()
    assert answer.status == 403
    assert json.loads(answer.body)["error"]["code"] == "not-conversation-owner"
    assert not got


@in_module
@pytest.mark.parametrize("operation", Operation)
async def test_stranger_is_refused_for_every_operation(
    shared_town: Town, operation: Operation
) -> None:
    """Whoever is no skill of the host learns nothing."""
    method, path, body = REQUESTS[operation]
    answer = await asked(shared_town, method, path.format("x"), body, skill="stranger")

    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (403, "skill-not-allowed")

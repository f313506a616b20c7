"""`/readyz` names what is wrong, and is well again by itself."""

from __future__ import annotations

import json

import pytest

from skills_host.transport import Request
from tests.world import ROOT, Town


async def ready(town: Town) -> tuple[int, dict[str, object]]:
    answer = await town.send(Request("GET", f"{ROOT}/readyz", {}, None, 5))
    return answer.status, json.loads(answer.body)


async def test_a_lost_store_is_named_and_nothing_acknowledged_is_lost(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    file = town.folder / "root.db"
    before = await ready(town)
    await town.say("echo")
    file.rename(town.folder / "elsewhere")
    message = town.console.activity("hello", user="ann", conversation="c1")
    refused = await town.console.post(message, timeout=5)
    lost = await ready(town)
    await ready(town)
    (town.folder / "elsewhere").rename(file)
    accepted = await town.console.post(message, timeout=5)

    assert before[0] == 200
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (503, "store-failed")
    assert lost[0] == 503
    assert lost[1]["why"] == {"store": "the file is not where it was"}
    assert lost[1]["checks"] == before[1]["checks"] | {"store": "store-failed"}  # type: ignore[operator]
    assert caplog.text.count("not ready: store: the file is not where it was") == 1
    assert accepted.status == 200
    assert await ready(town) == before
    assert town.said()[-1] == "Echo: hello"

"""`/readyz` names what is wrong, and is well again by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from quart import Quart

from skills_host.errors import SkillsHostError, StoreFailed
from skills_host.transport import Request
from skills_host.web.health import Probe, health
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


async def sound() -> None:
    """Nothing is wrong."""


async def broken() -> None:
    raise StoreFailed()


async def away() -> None:
    raise SkillsHostError(code="coordination-away")


@pytest.mark.parametrize(
    ("probe", "aid", "status", "said", "checks"),
    [
        (sound, sound, 200, "ok", ("ok", "ok")),
        (sound, away, 200, "degraded", ("ok", "coordination-away")),
        (broken, sound, 503, "not ready", ("store-failed", "ok")),
        (broken, away, 503, "not ready", ("store-failed", "coordination-away")),
    ],
)
async def test_ready_is_who_can_do_its_work(
    probe: Probe, aid: Probe, status: int, said: str, checks: tuple[str, str]
) -> None:
    app = Quart(__name__)
    app.register_blueprint(health({"store": probe}, {"coordination": aid}))
    answer = await app.test_client().get("/readyz")
    body: dict[str, Any] = json.loads(await answer.get_data())
    codes = dict(zip(("store", "coordination"), checks, strict=True))

    assert (answer.status_code, body["status"], body["checks"]) == (status, said, codes)
    assert set(body.get("why", {})) == {name for name, code in codes.items() if code != "ok"}

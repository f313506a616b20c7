"""What a bot says when the answer that its replies go into has been given."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import skills_host.app
from skills_host import Bot, Turn
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.world import Town, until


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is due all the time."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.01)


class Working(Bot):
    """A skill that answers at once and goes on working; it says so when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.on_message(self._work)

    async def _work(self, turn: Turn) -> None:
        await turn.send("I am working on it")
        self.tasks.append(asyncio.create_task(self._finish(turn)))

    async def _finish(self, turn: Turn) -> None:
        await self.go.wait()
        for n in range(5):
            await turn.send(f"done {n}")
        await turn.end({"n": 5})


@pytest.mark.parametrize("delivery", ["expectReplies", "stream"])
async def test_what_comes_after_the_answer_arrives_in_order(
    empty_town: Town, delivery: str
) -> None:
    """By callbacks, from the outbox, an end among them."""
    root, skill = Witness(), Working()
    await empty_town.start_skill("echo", skill)
    await empty_town.start_root(root=root, echo={"delivery": delivery})
    skill.go.set()
    assert (await empty_town.post("echo")).status == 200
    said = await empty_town.heard(6)
    await until(lambda: root.ends)

    assert said == ["I am working on it", *(f"done {n}" for n in range(5))]
    assert root.ends == [("echo", "completedSuccessfully", {"n": 5})]


async def test_what_comes_after_an_end_reaches_nobody(empty_town: Town) -> None:
    """It is refused, once, and given up."""
    skill = Working()
    await empty_town.start_skill("echo", skill)
    await empty_town.start_root(echo=EXPECT_REPLIES)
    await empty_town.say("echo")
    assert await empty_town.say("cancel") == ["echo was cancelled."]
    skill.go.set()
    await asyncio.gather(*skill.tasks)
    await until(lambda: not empty_town.records("outbox", of="echo"))

    assert empty_town.said() == ["I am working on it", "echo was cancelled."]
    assert len(empty_town.records("dead", of="echo")) == 6


async def test_late_reply_survives_a_restart_of_its_skill(empty_town: Town) -> None:
    skill = Working()
    more: dict[str, Any] = EXPECT_REPLIES
    await empty_town.start_skill("echo", skill)
    await empty_town.start_root(echo=more)
    await empty_town.say("echo")
    skill.go.set()
    await asyncio.gather(*skill.tasks)
    await empty_town.stop("http://127.0.0.1:9003")
    await empty_town.start_skill("echo", Working())

    assert await empty_town.heard(6) == ["I am working on it", *(f"done {n}" for n in range(5))]

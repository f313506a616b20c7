"""Skills that are registered, changed and revoked while the host runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import skills_host.app
from skills.booking import bot as booking
from skills.echo import bot as echo
from skills_host import Activity, Bot, Root, Turn
from skills_host.consumer.registry.intake import Submission
from skills_host.consumer.registry.lock import lock_text, locked_of
from skills_host.consumer.registry.records import Actor, Order
from skills_host.consumer.registry.registry import Registry
from skills_host.errors import SettingsError
from skills_host.registered import registry_of
from skills_host.store.sqlite import SqliteStore
from tests.consumer.registry.shelf import manifest
from tests.consumer.roots import Witness
from tests.world import IDS, REPLICA, ROOT, SKILLS, Town, bot_settings, settings, until

OPERATOR = Order(Actor("operator"))
GONE = "Echo is not available right now. Please try again later."


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is due all the time."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.01)


@asynccontextmanager
async def registry_of_town(town: Town) -> AsyncIterator[Registry]:
    """The registry as a command beside the running host has it: another connection."""
    store = SqliteStore(town.folder / "root.db", now=lambda: town.now())
    await store.open()
    given = settings(ROOT, "root", {"bots": {"root": bot_settings("root", "root")}}, town.folder)
    yield registry_of(given, store, now=lambda: town.now(), lab=True)
    await store.close()


def sent(name: str = "echo", **registration: Any) -> Submission:
    endpoints = [
        {
            "name": "default",
            "protocol": "BotFrameworkV3",
            "endpointUrl": f"{SKILLS[name]}/api/messages",
            "msAppId": IDS[name],
        }
    ]
    raw = json.dumps(manifest(name, endpoints=endpoints)).encode()
    return Submission(raw, "upload", registration)


async def start(town: Town, root: Witness | None = None) -> None:
    """A root whose skills are those of the registry alone, and the example skills."""
    await town.start_skill("echo", echo)
    await town.start_skill("booking", booking)
    await start_root(town, root)


async def start_root(
    town: Town, root: Root | None = None, *, base: str = ROOT, **host: Any
) -> None:
    toml = {
        "host": {"skills": "registry", "public_url": ROOT} | host,
        "registry": {"check_seconds": 0.05},
        "bots": {"root": bot_settings("root", "root")},
    }
    await town.start(base, "root", toml, {"root": root} if root else None)


async def register(registry: Registry, name: str = "echo", **registration: Any) -> None:
    await registry.add(name, sent(name, **registration), order=OPERATOR, submit=True)
    await registry.approve(name, order=OPERATOR)


async def seen(town: Town, said: str, answer: str, **where: Any) -> None:
    """Say it until the answer is this: the host has taken something up."""
    async with asyncio.timeout(10):
        while (await town.say(said, **where))[-1:] != [answer]:
            pass


async def test_a_skill_gets_its_first_message_without_a_restart(empty_town: Town) -> None:
    await start(empty_town)
    assert (await empty_town.say("echo"))[-1].startswith("I did not understand")

    async with registry_of_town(empty_town) as registry:
        await register(registry)
        await seen(empty_town, "echo", "Echo: echo")

    assert await empty_town.say("hello") == ["Echo: hello"]


async def test_a_revocation_ends_a_conversation_and_all_are_told(empty_town: Town) -> None:
    root = Witness()
    await start(empty_town, root)
    async with registry_of_town(empty_town) as registry:
        await register(registry)
        await seen(empty_town, "echo", "Echo: echo")
        handle = empty_town.handle("echo")
        await registry.revoke("echo", order=OPERATOR)
        await until(lambda: GONE in empty_town.said())
        await until(lambda: empty_town.to_skill("echo")[-1].type == "endOfConversation")

        refused = await empty_town.callback("echo", handle, {"type": "message", "text": "hi"})

    assert refused == (403, "skill-revoked")
    assert empty_town.to_skill("echo")[-1].code == "skillWithdrawn"
    await until(lambda: root.ends)
    assert root.ends == [("echo", "skillWithdrawn", None)]
    assert (await empty_town.say("echo"))[-1].startswith("I did not understand")


async def test_a_draining_skill_goes_on_and_begins_nothing(empty_town: Town) -> None:
    await start(empty_town)
    async with registry_of_town(empty_town) as registry:
        await register(registry)
        await seen(empty_town, "echo", "Echo: echo")
        await registry.drain("echo", order=OPERATOR)
        await until_other(empty_town, "echo")

        assert await empty_town.say("hello") == ["Echo: hello"]
        answer = await empty_town.callback(
            "echo", empty_town.handle("echo"), {"type": "message", "text": "still here"}
        )
        await registry.enable("echo", order=OPERATOR)
        await seen(empty_town, "echo", "Echo: echo", conversation="c3")

    assert answer == (200, "")


async def until_other(town: Town, said: str) -> None:
    """Until nobody new is passed on to the skill."""
    async with asyncio.timeout(10):
        n = 0
        while not (await town.say(said, conversation=f"new-{n}"))[-1].startswith("I did not"):
            n += 1


@pytest.mark.parametrize("verb", ["quarantine"])
async def test_a_suspended_skill_is_refused_with_its_code(empty_town: Town, verb: str) -> None:
    await start(empty_town)
    async with registry_of_town(empty_town) as registry:
        await register(registry)
        await seen(empty_town, "echo", "Echo: echo")
        handle = empty_town.handle("echo")
        await getattr(registry, verb)("echo", order=OPERATOR)
        await until(lambda: GONE in empty_town.said())

        refused = await empty_town.callback("echo", handle, {"type": "message", "text": "hi"})

    assert refused == (403, "skill-suspended")


async def test_a_skill_sends_only_what_it_declares(empty_town: Town) -> None:
    root = Witness()
    await start(empty_town, root)
    async with registry_of_town(empty_town) as registry:
        await register(registry, sends=["event/known"])
        await seen(empty_town, "echo", "Echo: echo")
    handle = empty_town.handle("echo")

    answers = [
        await empty_town.callback("echo", handle, {"type": "event", "name": name})
        for name in ("known", "other")
    ]

    assert answers == [(200, ""), (403, "activity-not-declared")]


async def test_a_host_runs_only_what_its_lock_file_names(empty_town: Town) -> None:
    lock = empty_town.folder / "skills.lock"
    async with registry_of_town(empty_town) as registry:
        await register(registry)
        digest = (await registry.running())["echo"]
        revision = await registry.ledger.revision("echo", digest)
        lock.write_text(lock_text({"echo": locked_of(revision)}))
        await start_root(empty_town, skills_lock=str(lock))
        await empty_town.start_skill("echo", echo)
        await seen(empty_town, "echo", "Echo: echo")

        await registry.revise("echo", sent(phrases=["anew"]), order=OPERATOR, submit=True)
        await registry.approve("echo", order=OPERATOR)
        await until_other(empty_town, "anew")
        await empty_town.stop(ROOT)
        with pytest.raises(SettingsError) as drifted:
            await start_root(empty_town, skills_lock=str(lock))

    assert drifted.value.code == "lock-drift"


async def test_replicas_take_up_what_is_done_beside_them(empty_town: Town) -> None:
    await start(empty_town)
    await start_root(empty_town, base=REPLICA)

    async with registry_of_town(empty_town) as registry:
        await register(registry)
        for base in (ROOT, REPLICA):
            await empty_town.say("cancel")
            before = empty_town.said().count("Echo: echo")
            async with asyncio.timeout(10):
                while empty_town.said().count("Echo: echo") == before:
                    assert (await empty_town.post_to(base, "echo")).status == 200


async def test_nothing_is_dropped_while_skills_change(empty_town: Town) -> None:
    """Users talk to one skill while another one comes and goes."""
    await start(empty_town)
    async with registry_of_town(empty_town) as registry:
        await register(registry)
        await seen(empty_town, "echo", "Echo: echo")
        done = asyncio.Event()

        async def change() -> None:
            await register(registry, "booking")
            while not done.is_set():
                await registry.disable("booking", order=OPERATOR)
                await registry.enable("booking", order=OPERATOR)

        changing = asyncio.create_task(change())
        answers = await asyncio.gather(
            *(empty_town.say("echo", user=f"u{n}", conversation=f"load-{n}") for n in range(20))
        )
        done.set()
        await changing

    assert answers == [["Echo: echo"]] * 20


async def test_what_is_undeclared_is_not_heard_in_an_answer_either(empty_town: Town) -> None:
    heard: list[str] = []
    root = Root()

    @root.on_event("known")
    @root.on_event("other")
    async def on_event(turn: Turn) -> None:
        heard.append(turn.activity.name or "")

    skill = Bot()

    @skill.on_message
    async def on_message(turn: Turn) -> None:
        for name in ("known", "other"):
            await turn.send(Activity.make("event", name=name))
        await turn.send("done")

    await empty_town.start_skill("echo", skill)
    await start_root(empty_town, root)
    async with registry_of_town(empty_town) as registry:
        await register(registry, sends=["event/known"], delivery="expectReplies")
        await seen(empty_town, "echo", "done")

    assert set(heard) == {"known"}

"""Intake: every activity once, in order, and to its end whoever hangs up meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

from skills.booking import bot as booking
from skills_host import Bot, Root, Turn
from skills_host.bot.tasks import Tasks
from skills_host.errors import SkillsHostError, StoreFailed
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Response
from skills_host.wire import decode
from tests.world import ROOT, SKILLS, Hold, Town, until


def hold_skill(town: Town, name: str = "echo", *, conversation: str = "") -> Hold:
    """Let what is posted to a skill wait; all of it, or what comes from one conversation."""

    def concerns(request: Any) -> bool:
        relates = decode(request.body)["relatesTo"]
        return not conversation or bool(relates["conversation"]["id"] == conversation)

    hold = town.send.faults[SKILLS[name]] = Hold(concerns)
    return hold


# Hanging up


async def test_reply_arrives_after_the_client_hung_up(town: Town) -> None:
    """Exactly once, although nobody waits for the answer any more."""
    hold = hold_skill(town)
    client = asyncio.create_task(town.post("echo"))
    await hold.arrived.wait()
    client.cancel()
    hold.go.set()

    assert await town.heard(1) == ["Echo: echo"]
    assert await town.say("again") == ["Echo: again"]


async def test_redelivery_after_hanging_up_gets_the_first_answer(town: Town) -> None:
    """A channel that lost patience and tries again joins the turn that is running."""
    hold = hold_skill(town)
    activity = town.console.activity("echo", user="ann", conversation="c1")
    first = asyncio.create_task(town.console.post(activity))
    await hold.arrived.wait()
    first.cancel()
    second = asyncio.create_task(town.console.post(activity))
    hold.go.set()

    assert (await second).status == 200
    assert town.said() == ["Echo: echo"]


async def test_skill_that_hangs_up_is_heard_once(town: Town) -> None:
    """A callback whose sender goes away is carried out all the same."""
    await town.say("echo")
    hold = town.send.faults["http://127.0.0.1:9001"] = Hold()
    said = {"type": "message", "text": "by the way"}
    client = asyncio.create_task(town.callback("echo", town.handle("echo"), said))
    await hold.arrived.wait()
    client.cancel()
    hold.go.set()

    assert await town.heard(2) == ["Echo: echo", "by the way"]


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """The app behind a real socket; it is started and stopped by somebody else."""

    async def requests_only(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})

    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    config, done = Config(), asyncio.Event()
    config.bind = [f"fd://{server.detach()}"]
    config.errorlog = None
    serving = asyncio.create_task(serve(requests_only, config, shutdown_trigger=done.wait))
    yield port
    done.set()
    await serving


async def test_closed_socket_does_not_stop_a_turn(town: Town) -> None:
    """The same through a real server and a real connection."""
    hold = hold_skill(town)
    activity = town.console.activity("echo", user="ann", conversation="c1")
    town.console.open("c1", user="ann")
    body = json.dumps(activity).encode()
    headers = {**town.channel_bearer(), "Host": "x", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    async with listening(town.send.apps[ROOT]) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /api/messages HTTP/1.1\r\n{head}\r\n".encode() + body)
        await hold.arrived.wait()
        writer.transport.abort()
        hold.go.set()

        assert await town.heard(1) == ["Echo: echo"]


# The same thing twice


def counting_root() -> tuple[Root, list[str]]:
    """A root that notes what it handles by itself, and answers."""
    root, seen = Root(), []

    @root.on_message
    async def note(turn: Turn) -> None:
        seen.append(turn.text)
        await turn.send(f"number {len(seen)}")

    @root.on_invoke("count")
    async def count(turn: Turn) -> None:
        seen.append("invoke")
        turn.respond(200, {"number": len(seen)})

    return root, seen


async def test_same_activity_twice_has_one_effect(empty_town: Town) -> None:
    """The second delivery is answered like the first."""
    root, seen = counting_root()
    await empty_town.start_root(root=root)
    activity = empty_town.console.activity("hello", user="ann", conversation="c1")
    first = await empty_town.console.post(activity)
    second = await empty_town.console.post(activity)

    assert first == second
    assert first.status == 200
    assert (seen, empty_town.said()) == (["hello"], ["number 1"])


async def test_same_activity_twice_at_once_has_one_effect(empty_town: Town) -> None:
    """Both wait for the one turn."""
    root, seen = counting_root()
    await empty_town.start_root(root=root)
    activity = empty_town.console.activity("hello", user="ann", conversation="c1")
    answers = await asyncio.gather(*(empty_town.console.post(activity) for _ in range(5)))

    assert len(set(map(repr, answers))) == 1
    assert (seen, empty_town.said()) == (["hello"], ["number 1"])


@pytest.mark.parametrize("members", [{"type": "invoke", "name": "count"}, {}])
@pytest.mark.parametrize("mode", [None, "expectReplies"])
async def test_redelivery_gets_the_same_body(
    empty_town: Town, members: dict[str, str], mode: str | None
) -> None:
    """The answers of invokes and of expectReplies are remembered whole."""
    root, seen = counting_root()
    await empty_town.start_root(root=root)
    activity = empty_town.console.activity("hello", user="ann", conversation="c1") | members
    activity |= {"deliveryMode": mode} if mode else {}
    first = await empty_town.console.post(activity)
    second = await empty_town.console.post(activity)

    assert (first.status, first.body) == (second.status, second.body)
    assert bool(first.body) == bool(members or mode)
    assert len(seen) == 1


async def test_activity_without_id_is_new_each_time(empty_town: Town) -> None:
    """Nothing tells two of them apart or together."""
    root, seen = counting_root()
    await empty_town.start_root(root=root)
    activity = empty_town.console.activity("hello", user="ann", conversation="c1") | {"id": ""}
    await empty_town.console.post(activity)
    await empty_town.console.post(activity)

    assert seen == ["hello", "hello"]


async def test_same_id_in_another_conversation_is_new(empty_town: Town) -> None:
    """Ids belong to their conversation."""
    root, seen = counting_root()
    await empty_town.start_root(root=root)
    for conversation in ("c1", "c2"):
        activity = empty_town.console.activity("hi", user="ann", conversation=conversation)
        await empty_town.console.post(activity | {"id": "1"})

    assert seen == ["hi", "hi"]


async def test_end_is_not_taken_for_the_message_of_the_same_id(town: Town) -> None:
    """Consumers give an end the id of what caused it."""
    await town.say("echo")
    sent = town.to_skill("echo")[-1]
    headers, url = town.bearer("root", audience="echo"), f"{SKILLS['echo']}/api/messages"

    end = sent.with_(type="endOfConversation")
    assert await town.call("POST", url, headers, end.encode()) == (200, "")
    assert not town.records("state", of="echo")


# Order


async def test_turns_of_a_session_run_in_order(town: Town) -> None:
    """The second is posted to the skill when the first is answered."""
    await town.say("echo")
    hold = hold_skill(town)
    posts = [asyncio.create_task(town.post("one"))]
    await hold.arrived.wait()
    known = len(town.records("inbound"))
    posts.append(asyncio.create_task(town.post("two")))
    await until(lambda: len(town.records("inbound")) > known)
    waiting = [activity.text for activity in town.to_skill("echo")]
    hold.go.set()
    await asyncio.gather(*posts)

    assert waiting == ["echo", "one"]
    assert town.said() == ["Echo: echo", "Echo: one", "Echo: two"]


async def test_many_turns_of_a_session_keep_their_order(town: Town) -> None:
    """First come, first served."""
    await town.say("echo")
    texts = [f"number {n}" for n in range(12)]
    await asyncio.gather(*(town.post(text) for text in texts))

    assert town.said()[1:] == [f"Echo: {text}" for text in texts]


async def test_turns_of_different_sessions_run_beside_each_other(town: Town) -> None:
    """Nobody waits for another's skill."""
    hold = hold_skill(town, conversation="c1")
    waiting = asyncio.create_task(town.post("echo"))
    await hold.arrived.wait()

    assert await town.say("echo", user="bob", conversation="c2") == ["Echo: echo"]
    hold.go.set()
    assert (await waiting).status == 200


async def test_callbacks_do_not_wait_for_the_open_post(town: Town) -> None:
    """Skills answer while the call that caused it is open: that is how the protocol works."""
    await town.say("echo")
    hold = hold_skill(town)
    waiting = asyncio.create_task(town.post("hello"))
    await hold.arrived.wait()
    said = {"type": "message", "text": "working on it"}

    assert (await town.callback("echo", town.handle("echo"), said))[0] == 200
    assert town.said()[-1] == "working on it"
    hold.go.set()
    assert (await waiting).status == 200


async def test_users_of_a_group_have_sessions_of_their_own(town: Town) -> None:
    """What Bob starts does not get what Ann says."""
    here: dict[str, Any] = {"conversation": "team", "is_group": True}
    await town.say("echo", user="ann", **here)
    await town.say("booking", user="bob", **here)

    assert await town.say("Lisbon", user="ann", **here) == ["Echo: Lisbon"]
    assert await town.say("Lisbon", user="bob", **here) == ["On which day? (YYYY-MM-DD)"]


async def test_open_turn_of_a_group_member_stops_nobody(town: Town) -> None:
    """Lanes are by session, not by conversation."""
    here: dict[str, Any] = {"conversation": "team", "is_group": True}
    await town.say("echo", user="ann", **here)
    await town.say("booking", user="bob", **here)
    hold = hold_skill(town, "echo")
    waiting = asyncio.create_task(town.post("hello", user="ann", **here))
    await hold.arrived.wait()

    assert await town.say("Lisbon", user="bob", **here) == ["On which day? (YYYY-MM-DD)"]
    hold.go.set()
    await waiting


# Stopping


async def test_stop_lets_a_running_turn_finish(town: Town) -> None:
    """Callbacks for it included; a new turn is refused meanwhile."""
    hold = hold_skill(town)
    running = asyncio.create_task(town.post("echo"))
    await hold.arrived.wait()
    app = town.send.apps[ROOT]
    stopping = asyncio.create_task(app.shutdown())
    # The stop begins in a task of its own, a few steps of the loop from here.
    for _ in range(20):
        await asyncio.sleep(0)
    refused = await town.post("hello", conversation="c2")
    hold.go.set()

    assert (refused.status, decode(refused.body)["error"]["code"]) == (503, "stopping")
    assert refused.headers["retry-after"]
    assert (await running).status == 200
    assert town.said() == ["Echo: echo"]
    await stopping
    await town.start_root()


async def test_stop_cancels_what_does_not_end(empty_town: Town) -> None:
    """After its time, a turn is left to be taken up again."""
    root, started = Root(), asyncio.Event()

    @root.on_message
    async def wait_for_ever(turn: Turn) -> None:
        started.set()
        await asyncio.Event().wait()

    await empty_town.start_root(root=root, limits={"stop_seconds": 0.01})
    waiting = asyncio.create_task(empty_town.post("hello"))
    await started.wait()
    await empty_town.stop(ROOT)

    assert (await waiting).status == 503
    (record,) = empty_town.records("inbound").values()
    assert "answer" not in decode(record)


async def test_tasks_take_what_belongs_to_running_work_until_it_is_over() -> None:
    """`start` is refused at once, `follow` when everything has ended."""
    tasks, go = Tasks(), asyncio.Event()

    async def work() -> str:
        await go.wait()
        return "done"

    running = tasks.start(work())
    stopping = asyncio.create_task(tasks.stop(5))
    await asyncio.sleep(0)
    following = tasks.follow(work())
    with pytest.raises(SkillsHostError, match="stopping"):
        tasks.start(work())
    go.set()
    await stopping

    assert (running.result(), following.result()) == ("done", "done")
    with pytest.raises(SkillsHostError, match="stopping"):
        tasks.follow(work())


# Failures


async def test_store_that_fails_is_told_to_try_again(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be recorded is not acknowledged, and nothing is done."""
    root, seen = counting_root()
    await empty_town.start_root(root=root)

    async def full(self: SqliteStore, changes: Any) -> Any:
        raise StoreFailed

    monkeypatch.setattr(SqliteStore, "write", full)
    answer = await empty_town.post("hello")
    monkeypatch.undo()

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert not seen


async def test_two_turns_that_change_one_property_conflict(empty_town: Town) -> None:
    """The later one is told, and its change is not written."""
    bot, go, begun = Bot(), asyncio.Event(), asyncio.Event()

    @bot.on_message
    async def slow(turn: Turn) -> None:
        turn.state.set("word", await turn.state.get("word", "") + "slow")
        begun.set()
        await go.wait()

    @bot.on_end
    async def quick(turn: Turn) -> None:
        turn.state.set("word", "quick")

    await empty_town.start_skill("echo", bot)
    message = empty_town.console.activity("x", user="ann", conversation="c1")
    url, headers = f"{SKILLS['echo']}/api/messages", empty_town.bearer("root", audience="echo")

    async def post(**members: Any) -> tuple[int, str]:
        return await empty_town.call("POST", url, headers, json.dumps(message | members).encode())

    first = asyncio.create_task(post())
    await begun.wait()
    assert await post(type="endOfConversation") == (200, "")
    go.set()

    assert await first == (409, "state-conflict")
    assert list(empty_town.records("state", of="echo").values()) == [b'"quick"']


async def test_failing_skill_code_ends_its_conversation(empty_town: Town) -> None:
    """The user is told by the skill, and gets the floor back."""
    bot = Bot()

    @bot.on_message
    async def broken(turn: Turn) -> None:
        turn.state.set("half", "done")
        raise ZeroDivisionError

    await empty_town.start_skill("echo", bot)
    await empty_town.start_skill("booking", booking)
    await empty_town.start_root()

    assert "went wrong" in (await empty_town.say("echo"))[0]
    assert "did not understand" in (await empty_town.say("hello"))[0]
    assert not empty_town.records("state", of="echo")


async def test_hook_that_fails_does_not_escape(empty_town: Town) -> None:
    """Even if the apology cannot be sent, the request is answered and remembered."""
    root, _ = counting_root()

    async def broken(turn: Turn, activity: Any, call_next: Any) -> str:
        raise ZeroDivisionError

    root.use_on_send(broken)
    await empty_town.start_root(root=root)
    answer = await empty_town.post("hello")

    assert (answer.status, decode(answer.body)["error"]["code"]) == (500, "internal")
    (record,) = empty_town.records("inbound").values()
    assert "answer" in decode(record)


async def test_channel_that_refuses_is_not_blamed_on_the_caller(town: Town) -> None:
    """401 and 403 would say that the caller's token is wrong."""
    town.send.faults["http://127.0.0.1:9001"] = lambda _: Response(403)
    answer = await town.post("hello")

    assert (answer.status, decode(answer.body)["error"]["code"]) == (502, "channel-failed")


# What may answer an open turn


class Busy(Bot):
    """Notes what it gets; its first message keeps it busy."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.on_message(self._note)
        self.on_activity("event", "invoke")(self._note)

    async def _note(self, turn: Turn) -> None:
        self.got.append(turn.text or turn.activity.type)
        if turn.text == "first":
            self.begun.set()
            await self.go.wait()
        turn.respond(200)


async def from_caller(town: Town, text: str, **members: Any) -> tuple[int, str]:
    """Post an activity to the echo skill as its caller does."""
    said = town.console.activity(text, user="ann", conversation="c1") | members
    headers, url = town.bearer("root", audience="echo"), f"{SKILLS['echo']}/api/messages"
    return await town.call("POST", url, headers, json.dumps(said).encode())


@pytest.mark.parametrize("type", ["event", "invoke"])
async def test_callers_answer_does_not_wait_for_the_turn(empty_town: Town, type: str) -> None:
    """It may be what the open turn waits for; what the user says next waits."""
    bot = Busy()
    await empty_town.start_skill("echo", bot)
    first = asyncio.create_task(from_caller(empty_town, "first"))
    await bot.begun.wait()
    second = asyncio.create_task(from_caller(empty_town, "second"))
    await until(lambda: len(empty_town.records("inbound", of="echo")) == 2)

    assert await from_caller(empty_town, "", type=type, name="x") == (200, "")
    assert bot.got == ["first", type]
    bot.go.set()
    assert {*await asyncio.gather(first, second)} == {(200, "")}
    assert bot.got == ["first", type, "second"]


async def test_words_wait_for_an_event_before_them(empty_town: Town) -> None:
    """An event that nothing is open before is a turn like others."""
    bot, begun, go = Busy(), asyncio.Event(), asyncio.Event()

    async def slow(turn: Turn, call_next: Any) -> None:
        if turn.activity.type == "event":
            begun.set()
            await go.wait()
        await call_next(turn)

    bot.use(slow)
    bot.go.set()
    await empty_town.start_skill("echo", bot)
    event = asyncio.create_task(from_caller(empty_town, "", type="event", name="x"))
    await begun.wait()
    words = asyncio.create_task(from_caller(empty_town, "first"))
    await until(lambda: len(empty_town.records("inbound", of="echo")) == 2)
    go.set()
    await asyncio.gather(event, words)

    assert bot.got == ["event", "first"]


async def test_channels_event_waits_for_the_turn(empty_town: Town) -> None:
    """A channel answers nothing: its order is the user's."""
    bot = Busy()
    root = Root()
    root.on_message("first")(bot._note)
    root.on_event("x")(bot._note)
    await empty_town.start_root(root=root)
    first = asyncio.create_task(empty_town.post("first"))
    await bot.begun.wait()
    event = asyncio.create_task(empty_town.post("", type="event", name="x"))
    await until(lambda: len(empty_town.records("inbound")) == 2)

    assert bot.got == ["first"]
    bot.go.set()
    await asyncio.gather(first, event)
    assert bot.got == ["first", "event"]

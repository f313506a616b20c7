"""Skills that stream: what they say arrives while they still work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from skills_host import Activity, Bot, Turn
from skills_host.consumer.frames import frame_of
from skills_host.settings import Delivery
from skills_host.transport import Request, Response
from skills_host.wire import decode
from tests.consumer.roots import Witness
from tests.consumer.streams import STREAM, hand_made, served
from tests.world import CONSOLE, SKILLS, Town, until

UNAVAILABLE = "echo is not available right now. Please try again later."
Answer = Callable[[Request], Response | Awaitable[Response]]


@dataclass
class Slow(Bot):
    """Says one thing, waits until it may go on, and says another."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    done: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.on_message(self.speak)

    async def speak(self, turn: Turn) -> None:
        await turn.send("one")
        await self.go.wait()
        await turn.send("two")
        self.done += 1


async def of_skill(town: Town, answer: Answer, **more: object) -> Witness:
    """A root whose echo skill is asked to stream, and answers like this."""
    root = Witness()
    town.send.faults[SKILLS["echo"]] = answer
    await town.start_root(root=root, echo={**STREAM, **more})
    return root


def frames(*activities: Mapping[str, Any]) -> bytes:
    """A stream of activities, whole."""
    return b"".join(frame_of("activity", json.dumps(one).encode()) for one in activities)


def streamed(body: bytes) -> Response:
    """A stream that is there at once."""
    return Response(200, {"content-type": "text/event-stream; charset=utf-8"}, body)


def message(text: str) -> dict[str, object]:
    return {"type": "message", "text": text}


# Over sockets, both sides ours


async def test_first_words_are_heard_while_the_skill_still_works(empty_town: Town) -> None:
    """That is what a stream is for."""
    bot = Slow()
    async with served(empty_town, bot):
        await empty_town.start_root(echo=STREAM)
        post = asyncio.create_task(empty_town.post("echo"))

        assert await empty_town.heard(1) == ["one"]
        assert not post.done()
        bot.go.set()
        assert (await post).status == 200
    assert empty_town.said() == ["one", "two"]


async def test_cancel_in_the_middle_of_a_stream(empty_town: Town) -> None:
    """The skill loses the floor at once; what it says later is not heard."""
    bot, root = Slow(), Witness()
    async with served(empty_town, bot):
        await empty_town.start_root(root=root, echo=STREAM)
        post = asyncio.create_task(empty_town.post("echo"))
        await empty_town.heard(1)

        assert await empty_town.say("cancel") == ["echo was cancelled."]
        assert (await post).status == 200
        bot.go.set()
        await until(lambda: bot.done)
    assert empty_town.said() == ["one", "echo was cancelled."]
    assert root.ends == [("echo", "userCancelled", None)]


async def test_stream_that_takes_too_long(empty_town: Town) -> None:
    """The deadline is for the whole of it."""
    bot, root = Slow(), Witness()
    async with served(empty_town, bot):
        await empty_town.start_root(root=root, echo=STREAM | {"seconds": 0.5})

        assert await empty_town.say("echo") == ["one", UNAVAILABLE]
        assert root.ends == [("echo", "botTimedOut", None)]
        bot.go.set()
        await until(lambda: bot.done)


async def asked(town: Town, text: str = "hello") -> Request:
    """A post to the skill as a consumer sends it that wants a stream."""
    said = town.console.activity(text, user="ann", conversation="c1")
    body = json.dumps(said | {"deliveryMode": "stream"}).encode()
    headers = town.bearer("root", audience="echo")
    url = f"{SKILLS['echo']}/api/messages"
    return Request("POST", url, headers, body, 20, stream=True)


async def read(chunks: AsyncIterator[bytes] | None) -> bytes:
    """What is left of a stream."""
    assert chunks is not None
    return b"".join([chunk async for chunk in chunks])


async def test_turn_goes_on_when_the_client_hangs_up(empty_town: Town) -> None:
    """A stream is only a way to listen."""
    bot = Slow()
    async with served(empty_town, bot) as send:
        answer = await send(await asked(empty_town))
        assert answer.chunks is not None
        assert b'"one"' in await anext(answer.chunks)
        await answer.chunks.aclose()
        bot.go.set()
        await until(lambda: bot.done)

    assert bot.done == 1


async def test_repeated_delivery_gets_every_frame(empty_town: Town) -> None:
    """While the first is open, and when it is over; the turn runs once."""
    bot = Slow()
    async with served(empty_town, bot) as send:
        request = await asked(empty_town)
        first = await send(request)
        second = asyncio.ensure_future(send(request))
        bot.go.set()
        bodies = [await read(first.chunks), await read((await second).chunks)]
        bodies.append(await read((await send(request)).chunks))

    assert bodies[0].count(b"event: activity\r\n") == 2
    assert bodies[0] == bodies[1] == bodies[2]
    assert bot.done == 1


async def test_failure_before_the_first_frame_has_its_own_answer(empty_town: Town) -> None:
    """A stream begins with the first thing that is said."""
    async with served(empty_town, Slow()) as send:
        request = await asked(empty_town)
        body = (request.body or b"").replace(b'"channelId"', b'"x"')
        refused = await send(Request("POST", request.url, request.headers, body, 20, stream=True))

    assert (refused.status, decode(refused.body)["error"]["code"]) == (400, "missing-member")


async def test_conflict_breaks_the_stream_off(empty_town: Town) -> None:
    """What was said cannot be taken back, but the caller learns that the turn failed."""
    bot, root = Bot(), Witness()

    @bot.on_message
    async def conflicting(turn: Turn) -> None:
        turn.state.set("n", 1 + await turn.state.get("n", 0))
        await turn.send("said")
        await bot.continue_conversation(turn.place, also)

    async def also(turn: Turn) -> None:
        turn.state.set("n", 7 + await turn.state.get("n", 0))

    async with served(empty_town, bot):
        await empty_town.start_root(root=root, echo=STREAM)
        said = await empty_town.say("echo")

    assert said == ["said", UNAVAILABLE]
    assert root.ends == [("echo", "channelFailed", None)]


async def test_invoke_is_answered_at_the_end_of_the_stream(empty_town: Town) -> None:
    """After whatever the skill says meanwhile."""
    bot = Bot()

    @bot.on_message
    async def here(turn: Turn) -> None:
        await turn.send("here")

    @bot.on_invoke("ask")
    async def answer(turn: Turn) -> None:
        turn.respond(201, {"got": turn.activity.value})
        await turn.send("asked")

    async with served(empty_town, bot):
        await empty_town.start_root(echo=STREAM)
        await empty_town.say("echo")
        known = await empty_town.post("", type="invoke", name="ask", value=[1])
        unknown = await empty_town.post("", type="invoke", name="other")

    assert (known.status, decode(known.body)) == (201, {"got": [1]})
    assert (unknown.status, unknown.body) == (501, b"")
    assert empty_town.said() == ["here", "asked"]


# A peer's streams


async def test_end_in_a_stream_is_acted_upon_when_all_is_said(empty_town: Town) -> None:
    """As in a list."""
    end = {"type": "endOfConversation", "code": "done", "value": {"n": 1}}
    event = {"type": "event", "name": "e", "value": 2}
    body = frames(message("before"), end, message("after"), event, {"type": "typing"})
    root = await of_skill(empty_town, lambda _: streamed(body))

    assert await empty_town.say("echo") == ["before", "after", ""]
    assert root.events == [("echo", "e", 2)]
    assert root.ends == [("echo", "done", {"n": 1})]


BROKEN: dict[str, bytes] = {
    "a frame that is no activity": frames(message("one")) + frame_of("activity", b"[]"),
    "a frame without type": frames(message("one")) + frame_of("activity", b"{}"),
    "a frame that is cut off": frames(message("one")) + b"event: activity\r\ndata: {",
    "an endless frame": frames(message("one")) + b"data: " + b"x" * (4 * 1024 * 1024 + 1),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_stream_costs_the_floor(empty_town: Town, name: str) -> None:
    """What was said before has been said."""
    root = await of_skill(empty_town, lambda _: streamed(BROKEN[name]))

    assert await empty_town.say("echo") == ["one", UNAVAILABLE]
    assert root.ends == [("echo", "channelFailed", None)]


async def test_skill_that_breaks_off(empty_town: Town) -> None:
    """The connection ends before the stream does."""
    root, body = Witness(), frames(message("one"))

    async def break_off(writer: asyncio.StreamWriter) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(body), body))
        await writer.drain()

    async with hand_made(empty_town, break_off):
        await empty_town.start_root(root=root, echo=STREAM)
        assert await empty_town.say("echo") == ["one", UNAVAILABLE]
    assert root.ends == [("echo", "channelFailed", None)]


async def test_channel_that_fails_is_not_the_skills_fault(empty_town: Town) -> None:
    """The skill keeps the floor."""
    root = await of_skill(empty_town, lambda _: streamed(frames(message("one"))))
    empty_town.send.faults[CONSOLE] = lambda _: Response(500)
    await empty_town.post("echo")
    del empty_town.send.faults[CONSOLE]

    assert await empty_town.say("more") == ["one"]
    assert root.ends == []


# Skills that do not stream


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", []),
        (b"Accepted", []),
        (b'"id"', []),
        (b'{"id":"1"}', []),
        (b'{"activities":[{"type":"message","text":"listed"}]}', ["listed"]),
    ],
)
async def test_skill_that_answers_otherwise(empty_town: Town, body: bytes, said: list[str]) -> None:
    """It does not know the mode: any success will do."""
    await of_skill(empty_town, lambda _: Response(200, {}, body))

    assert await empty_town.say("echo") == said


async def test_skill_that_calls_back_instead(empty_town: Town) -> None:
    """As if nothing special had been asked for."""
    town = empty_town

    async def call_back(_: Request) -> Response:
        await town.callback("echo", town.handle("echo"), message("called back"))
        return Response(202)

    await of_skill(town, call_back)

    assert await town.say("echo") == ["called back"]


# Chosen per skill and per call


@pytest.mark.parametrize("mode", [*Delivery, "ephemeral", None])
async def test_delivery_may_stand_in_the_activity(empty_town: Town, mode: str | None) -> None:
    """In one that the root's code made; it holds as if it had been given beside it."""
    root, town = Witness(), empty_town

    @root.on_message("begin")
    async def begin(turn: Turn) -> None:
        made = Activity.make("message", text="hi", delivery_mode=mode)
        await root.skills.begin(turn, "echo", made)

    town.send.faults[SKILLS["echo"]] = lambda _: Response(200)
    await town.start_root(root=root)
    for text in ("begin", "more"):
        await town.post(text)
    first, second = town.to_skill("echo")

    chosen = mode if mode in ("expectReplies", "stream") else None
    assert second.delivery_mode == chosen
    assert first.delivery_mode == (chosen or mode)


@pytest.mark.parametrize("delivery", [None, *Delivery])
@pytest.mark.parametrize("skill", list(Delivery))
async def test_delivery_is_the_skills_or_the_calls(
    empty_town: Town, skill: Delivery, delivery: Delivery | None
) -> None:
    """What is chosen for a conversation holds until its end; the next is the skill's again."""
    root, town = Witness(), empty_town

    @root.on_message("begin")
    async def begin(turn: Turn) -> None:
        await root.skills.begin(turn, "echo", delivery=delivery)

    town.send.faults[SKILLS["echo"]] = lambda _: Response(200)
    await town.start_root(root=root, echo={"delivery": skill})
    for text in ("begin", "more", "cancel", "echo"):
        await town.post(text)
    await town.quiet()
    asked = [sent.delivery_mode for sent in town.to_skill("echo") if sent.type == "message"]

    chosen = delivery or skill
    modes = [None if mode is Delivery.NORMAL else mode for mode in (chosen, chosen, skill)]
    assert asked == modes


@pytest.mark.parametrize("invoke", list(Delivery))
@pytest.mark.parametrize("delivery", list(Delivery))
async def test_invokes_of_a_normal_skill_have_a_delivery_of_their_own(
    empty_town: Town, delivery: Delivery, invoke: Delivery
) -> None:
    """Only in an answer can both replies and response be seen; other skills have theirs anyway."""
    town = empty_town
    town.send.faults[SKILLS["echo"]] = lambda _: Response(200)
    await town.start_root(echo={"delivery": delivery, "invoke_delivery": invoke})
    await town.post("echo")
    await town.post("", type="invoke", name="ask")

    chosen = invoke if delivery is Delivery.NORMAL else delivery
    asked = town.to_skill("echo")[-1]
    assert asked.type == "invoke"
    assert asked.delivery_mode == (None if chosen is Delivery.NORMAL else chosen)

"""`POST /api/messages`: where users' channels, and calling bots, reach a bot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from typing import Any

from skills_host.activity import Activity
from skills_host.auth import verify
from skills_host.bot.adapter import Answer
from skills_host.bot.inbox import Inbox
from skills_host.consumer.frames import ACTIVITY, INVOKE_RESPONSE, frame_of
from skills_host.consumer.hops import hops_in
from skills_host.errors import SkillsHostError
from skills_host.transport import EVENT_STREAM
from skills_host.web.front import Door
from skills_host.web.guard import Guard, json_answer
from skills_host.web.incoming import Incoming, Outgoing
from skills_host.wire import decode_elements, decode_members

__all__ = ["messages"]


def messages(
    name: str, *, guard: Guard, inbox: Inbox, bot_app_id: str, answer_seconds: float
) -> Door:
    """The door of the bot `name`.

    A plain delivery whose turn takes longer than `answer_seconds` is answered 202: it is recorded,
    and the turn goes on.
    """

    async def receive(incoming: Incoming) -> Outgoing:
        identity = await guard.admit(
            incoming, door=verify.Door.MESSAGES, bot_app_id=bot_app_id, with_body=True
        )
        activity = await guard.received(incoming, identity)
        hops = hops_in(incoming.header("baggage")) if identity.kind == "skill" else ()
        if activity.delivery_mode == "stream":
            return await _streamed(partial(inbox.take, activity, identity, hops=hops))
        taking = inbox.take(activity, identity, hops=hops)
        if activity.type == "invoke" or activity.delivery_mode == "expectReplies":
            answer = await taking
        else:
            answer = await _soon(taking, answer_seconds)
        return json_answer(answer.body, answer.status)

    door = Door(f"messages-{name}", receive, path="/api/messages", endpoint="messages")
    door.offer("/api/messages", methods=["POST"])
    return door


async def _soon(taking: Coroutine[Any, Any, Answer], seconds: float) -> Answer:
    # Only the waiting is given up: the host owns the turn, and logs how it ends.
    try:
        async with asyncio.timeout(seconds):
            return await taking
    except TimeoutError:
        return Answer(202)


async def _streamed(take: Callable[..., Coroutine[Any, Any, Answer]]) -> Outgoing:
    """The turn's replies as frames, each when it is given.

    The status is decided with the first of them: what fails before has an ordinary answer.
    """
    said: asyncio.Queue[Activity | None] = asyncio.Queue()
    taking = asyncio.ensure_future(take(said=said.put_nowait))
    taking.add_done_callback(lambda done: _finished(done, said))
    first = await said.get()
    if first is None and not 200 <= (answer := taking.result()).status < 300:
        return json_answer(answer.body, answer.status)
    return Outgoing(media_type=EVENT_STREAM, chunks=_frames(first, said, taking))


def _finished(done: asyncio.Future[Answer], said: asyncio.Queue[Activity | None]) -> None:
    said.put_nowait(None)
    if not done.cancelled():
        # The client may have hung up, so that nobody asks any more.
        done.exception()


async def _frames(
    first: Activity | None, said: asyncio.Queue[Activity | None], taking: asyncio.Future[Answer]
) -> AsyncGenerator[bytes]:
    sent, reply = 0, first
    while reply is not None:
        yield frame_of(ACTIVITY, reply.encode())
        sent, reply = sent + 1, await said.get()
    answer = await taking
    if answer.status != 200:
        # Frames cannot be taken back; a stream that breaks off says that the turn failed.
        raise SkillsHostError("a streamed turn failed at its end")
    # A repeated delivery is told all at once what the first was told piece by piece.
    for element in _elements(answer)[sent:]:
        reply = Activity.parse(element)
        if reply.type == "invokeResponse":
            yield frame_of(INVOKE_RESPONSE, reply.raw("value") or b"{}")
        else:
            yield frame_of(ACTIVITY, element)


def _elements(answer: Answer) -> list[bytes]:
    if not answer.body:
        return []
    return decode_elements(decode_members(answer.body).get("activities", b"null"))

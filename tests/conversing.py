"""One bot, one store, and somebody who talks to it: whole turns without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from skills_host.activity import Activity
from skills_host.auth.claims import Identity
from skills_host.bot.adapter import Adapter, Answer
from skills_host.bot.channel import ReplyBuffer
from skills_host.bot.handlers import Bot
from skills_host.bot.sealing import Sealing
from skills_host.store.records import Store
from skills_host.store.seal import Keys
from skills_host.store.sqlite import SqliteStore
from skills_host.wire import decode, decode_elements, decode_members

__all__ = ["Chat", "opened"]

BOT = "a0000000-0000-4000-8000-000000000001"
ROOT = "b0000000-0000-4000-8000-000000000001"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    """A store in a file of this folder."""
    store = SqliteStore(folder / "bot.db")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Chat:
    """A conversation of one user with one bot, which is called as a skill; replies are buffered.

    A second chat over the same store is the same bot after a restart.
    """

    def __init__(
        self, bot: Bot, store: Store, *, user: str = "ann", conversation: str = "c1"
    ) -> None:
        self._store = store
        self._addresses = {
            "channelId": "test",
            "serviceUrl": "https://root.example/",
            "from": {"id": user},
            "recipient": {"id": "bot"},
            "conversation": {"id": conversation},
        }
        self._numbers = count(1)
        self._adapter = Adapter(
            bot,
            name="bot",
            handle=bot.run,
            store=store,
            connect=lambda audience, **_: ReplyBuffer(),
            channel_scope="scope",
            caller_id="urn:test",
            sealing=Sealing(Keys.generate(), (), purpose=b"test"),
            new_id=lambda: f"n{next(self._numbers)}",
            now=lambda: 1000.0,
        )

    async def tell(self, type: str, **members: Any) -> list[Activity]:
        """What the bot answers to an activity."""
        activity = Activity.make(type, delivery_mode="expectReplies", **members)
        answer = await self._handled(activity)
        replies = decode_members(answer.body)["activities"]
        return [Activity.parse(raw) for raw in decode_elements(replies)]

    async def say(self, text: str) -> list[str]:
        """What the bot says to these words; an end as `(code, value)`."""
        return [_heard(reply) for reply in await self.tell("message", text=text)]

    async def invoke(self, name: str, **members: Any) -> tuple[int, Any]:
        """Status and body of the answer to an invoke."""
        answer = await self._handled(Activity.make("invoke", name=name, **members))
        return answer.status, decode(answer.body) if answer.body else None

    async def _handled(self, activity: Activity) -> Answer:
        activity = activity.with_(id=f"a{next(self._numbers)}", **self._addresses)
        identity = Identity("skill", BOT, ROOT)
        outcome = await self._adapter.process(activity, identity, key=activity.id or "")
        if outcome.changes:
            await self._store.write(outcome.changes)
        return outcome.answer


def _heard(reply: Activity) -> str:
    if reply.type == "endOfConversation":
        return f"{reply.code}: {reply.value}"
    return reply.text or reply.type

"""Talking to a root through the console channel: what was said, by whom, and how fast."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from skills_host.lab.console import Console, create_console
from skills_host.lab.service import address_of, listening, serve_lab
from skills_host.lab.transcript import Entry
from skills_host.transport import Request, Response, Send

__all__ = ["Answered", "Chat", "Exchange", "LabClient", "opened_chat"]


@dataclass(frozen=True, slots=True)
class Answered:
    """One thing the root said: which bot spoke, the words, and after how many milliseconds."""

    bot: str
    text: str
    ms: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the user said, how the root's endpoint answered, and what the user was told."""

    said: str
    status: int
    answers: tuple[Answered, ...]

    @property
    def is_answered(self) -> bool:
        """True if the words were taken and something was said."""
        return 200 <= self.status < 300 and bool(self.answers)


class LabClient:
    """Asks a running lab for tokens and keys."""

    def __init__(self, send: Send, *, lab_url: str, mint_secret: str) -> None:
        self._send = send
        self._lab_url = lab_url
        self._secret = mint_secret

    async def token(self, **wanted: Any) -> str:
        """A token as `POST /lab/tokens` gives it."""
        headers = {
            "Authorization": f"Bearer {self._secret}",
            "Content-Type": "application/json",
        }
        url = f"{self._lab_url}/lab/tokens"
        answer = await self._send(Request("POST", url, headers, json.dumps(wanted).encode()))
        token: str = _json(answer)["token"]
        return token

    async def entra_keys(self) -> dict[str, Any]:
        """The keys that bots' tokens are signed with."""
        url = f"{self._lab_url}/common/discovery/v2.0/keys"
        return _json(await self._send(Request("GET", url)))


class Chat:
    """One user's conversation with a root."""

    def __init__(
        self, console: Console, *, user: str, conversation: str, now: Callable[[], float]
    ) -> None:
        self._console = console
        self._user = user
        self._conversation = conversation
        self._now = now
        self._shown = 0

    async def say(self, text: str) -> Exchange:
        """Say something and wait for the end of the root's turn."""
        began = self._now()
        activity = self._console.activity(text, user=self._user, conversation=self._conversation)
        answer = await self._console.post(activity)
        return Exchange(text, answer.status, tuple(self.news(since=began)))

    def news(self, *, since: float) -> list[Answered]:
        """What the root said that was not shown yet; times count from `since`."""
        entries = self._console.open(self._conversation).transcript.entries[self._shown :]
        self._shown += len(entries)
        return [_answered(entry, since) for entry in entries]


@asynccontextmanager
async def opened_chat(
    lab: LabClient, *, bot_url: str, bot_app_id: str, port: int, send: Send, user: str
) -> AsyncIterator[Chat]:
    """A chat through a console channel that listens on `port` as long as the context is open.

    `bot_url` is the bot's host; port 0 takes a free one.
    """
    listener = listening(f"127.0.0.1:{port}")
    base_url = f"http://{address_of(listener)}"

    async def channel_token() -> str:
        return await lab.token(kind="channel", audience=bot_app_id, service_url=base_url)

    console = Console(
        base_url=base_url,
        bot_url=f"{bot_url.rstrip('/')}/api/messages",
        bot_app_id=bot_app_id,
        send=send,
        channel_token=channel_token,
        entra_keys=lab.entra_keys,
        now=time.time,
    )
    done = asyncio.Event()
    serving = asyncio.create_task(
        serve_lab(create_console(console), http=listener, shutdown=done.wait)
    )
    try:
        yield Chat(console, user=user, conversation=f"chat-{uuid4().hex}", now=time.time)
    finally:
        done.set()
        await serving


def _answered(entry: Entry, since: float) -> Answered:
    return Answered(entry.speaker or "root", entry.text, round((entry.received - since) * 1000, 1))


def _json(answer: Response) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(answer.body)
    return document

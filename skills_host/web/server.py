"""Serving with hypercorn, each answer's head written together with its body.

hypercorn writes the two one after the other. One widely used client (that of the Bot Framework SDK
for Python) closes its connection when it has the head and reads the body only then: it loses what
came in a segment of its own. One write is also cheaper than two.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import hypercorn.asyncio
import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.events import Event, RawData
from quart import Quart

__all__ = ["serve_asgi"]

# A head that its body follows; interim answers (1xx) must leave at once.
_HEAD = re.compile(rb"HTTP/1\.[01] [2-5]")


class _WholeAnswers(TCPServer):
    """A connection that keeps a head back until what follows it is there."""

    _head = b""

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData) and not self._head and _HEAD.match(event.data):
            self._head = event.data
            return
        head, self._head = self._head, b""
        if isinstance(event, RawData):
            await super().protocol_send(RawData(head + event.data))
            return
        if head:
            await super().protocol_send(RawData(head))
        await super().protocol_send(event)


async def serve_asgi(app: Quart, config: Config, *, shutdown: Callable[[], Awaitable[Any]]) -> None:
    """Serve the application in this event loop until `shutdown` returns, then stop gracefully."""
    # hypercorn has no setting for the class of its connections.
    hypercorn.asyncio.run.TCPServer = _WholeAnswers  # type: ignore[attr-defined]
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=shutdown)

"""The doors that most requests go through, reached without Quart's way of a request.

A door is an ordinary blueprint, and Quart answers at it whatever is out of the ordinary. What is
not, a POST to its very path, is answered by the same function before Quart is asked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from quart import Blueprint, Quart, Response

from skills_host.web.guard import Noted, answered
from skills_host.web.incoming import Answering, AsgiIncoming, Outgoing, QuartIncoming

__all__ = ["Door", "Front"]

Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Door(Blueprint):
    """A blueprint with one answering function, for its `path` or, if that ends so, all below."""

    def __init__(self, name: str, answering: Answering, *, path: str, endpoint: str) -> None:
        super().__init__(name, __name__)
        self.answering = answering
        self.path = path
        self.view = endpoint

    def offer(self, *rules: str, methods: Sequence[str], **options: Any) -> None:
        """Answer at these rules of Quart's too."""

        async def answer(**_: Any) -> Response:
            incoming = QuartIncoming()
            return incoming.response(await self.answering(incoming))

        options |= {"methods": methods, "provide_automatic_options": False}
        for rule in rules:
            self.add_url_rule(rule, self.view, answer, **options)


@dataclass(frozen=True, slots=True)
class _Known:
    answering: Answering
    endpoint: str


class Front:
    """What is before Quart in an application; `noted` is told of refusals."""

    def __init__(self, app: Quart, *, noted: Noted) -> None:
        self._behind: Any = app.asgi_app
        self._noted = noted
        self._most = app.config["MAX_CONTENT_LENGTH"]
        self._seconds = app.config["BODY_TIMEOUT"]
        self._exact: dict[bytes, _Known] = {}
        self._below: list[tuple[bytes, _Known]] = []
        # Hooks for all requests are the application's owner's: with any, Quart answers everything.
        self._hooks = (
            app.before_request_funcs,
            app.after_request_funcs,
            app.teardown_request_funcs,
        )
        # As the framework has it done: whatever is before it takes the place of this attribute.
        app.asgi_app = self  # type: ignore[method-assign, assignment]

    def add(self, door: Door, *, prefix: str) -> None:
        """Answer at a door, below this prefix."""
        known = _Known(door.answering, f"{prefix}:{door.name}.{door.view}")
        path = f"{prefix}{door.path}".encode()
        if path.endswith(b"/"):
            self._below.append((path, known))
        else:
            self._exact[path] = known

    async def __call__(
        self, scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Send
    ) -> None:
        """Answer a request, or let Quart do it."""
        known = self._known(scope)
        if known is None:
            await self._behind(scope, receive, send)
            return
        incoming = AsgiIncoming(scope, receive, most=self._most, seconds=self._seconds)
        answer = await answered(
            known.answering, incoming, endpoint=known.endpoint, noted=self._noted
        )
        await _sent(answer, send)

    def _known(self, scope: Mapping[str, Any]) -> _Known | None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
            return None
        path = scope.get("raw_path")
        # Quart leaves an empty list for whatever it has looked for.
        if path is None or any([any(hooks.values()) for hooks in self._hooks]):
            return None
        found = self._exact.get(path)
        if found is not None:
            return found
        return next((known for base, known in self._below if path.startswith(base)), None)


async def _sent(answer: Outgoing, send: Send) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.headers.items()
    ]
    if answer.body or answer.chunks is not None:
        headers.append((b"content-type", answer.media_type.encode("latin-1")))
    if answer.chunks is None:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.chunks is not None:
        await _streamed(answer.chunks, send)
        return
    await send({"type": "http.response.body", "body": answer.body})


async def _streamed(chunks: AsyncGenerator[bytes], send: Send) -> None:
    async with aclosing(chunks) as opened:
        async for chunk in opened:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})

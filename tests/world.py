"""A whole world in one process: lab, console channel, root and skills, real tokens, no sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from quart import Quart

from skills_host import Activity, Bot, Root, Settings, create_app
from skills_host.app import World
from skills_host.configuration import from_mapping
from skills_host.errors import TransportFailed
from skills_host.lab.authority import Authority, LabApp
from skills_host.lab.console import Console, create_console
from skills_host.lab.service import create_lab
from skills_host.store.heartbeats import Machine
from skills_host.transport import Request, Response, Send

LAB = "http://127.0.0.1:9000"
CONSOLE = "http://127.0.0.1:9001"
ROOT = "http://127.0.0.1:9002"
REPLICA = "http://127.0.0.1:9005"
SKILLS = {"echo": "http://127.0.0.1:9003", "booking": "http://127.0.0.1:9004"}
IDS = {
    "root": "a0000000-0000-4000-8000-000000000001",
    "echo": "b0000000-0000-4000-8000-000000000001",
    "booking": "b0000000-0000-4000-8000-000000000002",
    "stranger": "c0000000-0000-4000-8000-000000000001",
}
MACHINE = Machine("this machine", "its run")
TABLES = ("bots", "skills", "routing", "metrics", "coordination", "admin")
CLOUD = {
    "login_url": LAB,
    "entra_metadata": f"{LAB}/common/v2.0/.well-known/openid-configuration",
    "channel_metadata": f"{LAB}/v1/.well-known/openidconfiguration",
}


@dataclass
class Loopback:
    """A `Send` into apps of this process, by their base address; `sent` keeps what went through.

    A cancelled request is a client that hangs up. `faults` come before the app of an address: they
    give a response, a coroutine of one, or None to let the app answer.
    """

    apps: dict[str, Quart] = field(default_factory=dict)
    sent: list[Request] = field(default_factory=list)
    faults: dict[str, Callable[[Request], Any]] = field(default_factory=dict)
    served: set[asyncio.Task[None]] = field(default_factory=set)

    async def __call__(self, request: Request) -> Response:
        parts = urlsplit(request.url)
        base = f"{parts.scheme}://{parts.netloc}"
        self.sent.append(request)
        try:
            async with asyncio.timeout(request.timeout):
                fault = self.faults.get(base)
                answer = fault(request) if fault else None
                answer = await answer if asyncio.iscoroutine(answer) else answer
                if answer is not None:
                    return answer  # type: ignore[no-any-return]
                if base in self.apps:
                    return await self._served(self.apps[base], request)
        except TimeoutError:
            raise TransportFailed(code="deadline") from None
        raise TransportFailed(code="unreachable", sent=False)

    async def _served(self, app: Quart, request: Request) -> Response:
        exchange = Exchange(request)
        task = asyncio.create_task(app(exchange.scope, exchange.receive, exchange.send))  # type: ignore[arg-type]
        self.served.add(task)
        task.add_done_callback(self.served.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            exchange.events.put_nowait({"type": "http.disconnect"})
            raise
        return exchange.response()


async def until(happened: Callable[[], object]) -> None:
    """Let others work until something has happened; `TimeoutError` if it never does."""
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0)


@dataclass
class Hold:
    """A fault: requests that `concerns` picks arrive, and wait until they are let go."""

    concerns: Callable[[Request], bool] = lambda request: True
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: Request) -> Response | None:
        if self.concerns(request):
            self.arrived.set()
            await self.go.wait()
        return None


class Exchange:
    """One request and its answer as an ASGI server passes them on; paths as bytes, undecoded."""

    def __init__(self, request: Request, *, pieces: Sequence[bytes] | None = None) -> None:
        parts = urlsplit(request.url)
        given = {"host": parts.netloc, **{k.lower(): v for k, v in request.headers.items()}}
        if pieces is None:
            given.setdefault("content-length", str(len(request.body or b"")))
        self.scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"version": "3.0"},
            "method": request.method,
            "scheme": parts.scheme,
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in given.items()],
            "client": ("127.0.0.1", 50000),
            "extensions": {},
        }
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for piece in pieces or [request.body or b""]:
            self.events.put_nowait({"type": "http.request", "body": piece, "more_body": True})
        self.events.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    async def receive(self) -> dict[str, Any]:
        return await self.events.get()

    async def send(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self._status = event["status"]
            self._headers = {k.decode().lower(): v.decode() for k, v in event["headers"]}
        self._body += event.get("body", b"")
        if event["type"] == "http.response.body" and not event.get("more_body", False):
            # As every ASGI server says once an answer is complete; some applications wait for it.
            self.events.put_nowait({"type": "http.disconnect"})

    def response(self) -> Response:
        return Response(self._status, self._headers, bytes(self._body))


def bot_settings(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """One `[bots.NAME]` table."""
    return {"kind": kind, "app_id": IDS[name], "credential": {"secret": f"{name}-secret"}, **more}


def settings(base: str, name: str, toml: Mapping[str, Any], folder: Path) -> Settings:
    """Settings of one host of the world."""
    bind = urlsplit(base).netloc
    return from_mapping(
        {
            "host": {"bind": bind, "public_url": base, **toml.get("host", {})},
            "store": {"url": f"sqlite:///{folder / name}.db", **toml.get("store", {})},
            "cloud": CLOUD,
            **{table: toml[table] for table in TABLES if table in toml},
        },
        {},
    )


class Lab:
    """An authority that knows every bot of the world; making it takes longer than most tests."""

    def __init__(self) -> None:
        apps = [LabApp(app_id, f"{name}-secret") for name, app_id in IDS.items()]
        self.authority = Authority(apps=apps, base_url=LAB)
        self.app = create_lab(self.authority, mint_secret="mint")


class Town:
    """The lab, a console channel, one root and its skills, all in this process."""

    def __init__(self, folder: Path, lab: Lab | None = None) -> None:
        lab = lab or Lab()
        self.folder = folder
        self.send = Loopback()
        self.now = time.time
        self.machine = MACHINE
        self.authority = lab.authority
        self.console = Console(
            base_url=CONSOLE,
            bot_url=f"{ROOT}/api/messages",
            bot_app_id=IDS["root"],
            send=self.send,
            channel_token=self._channel_token,
            entra_keys=self._entra_keys,
        )
        self.send.apps[LAB] = lab.app
        self.send.apps[CONSOLE] = create_console(self.console)
        self._running: dict[str, Quart] = {}

    async def start(
        self,
        base: str,
        name: str,
        toml: Mapping[str, Any],
        bots: Mapping[str, Bot] | None = None,
        *,
        send: Send | None = None,
        **more: Any,
    ) -> Quart:
        """Start one host at a base address, with the store that carries its name."""
        world = World(send=send or self.send, now=lambda: self.now(), machine=self.machine)
        app = create_app(settings(base, name, toml, self.folder), bots=bots, world=world, **more)
        await app.startup()
        self.send.apps[base] = app
        self._running[base] = app
        return app

    async def start_root(
        self,
        *,
        root: Root | None = None,
        limits: Mapping[str, Any] = MappingProxyType({}),
        store: Mapping[str, Any] = MappingProxyType({}),
        routing: Mapping[str, Any] = MappingProxyType({}),
        host: Mapping[str, Any] = MappingProxyType({}),
        coordination: Mapping[str, Any] = MappingProxyType({}),
        bot: Mapping[str, Any] = MappingProxyType({}),
        base: str = ROOT,
        send: Send | None = None,
        **skills: Mapping[str, Any],
    ) -> Quart:
        """Start the root; `skills` add to or replace settings of echo and booking.

        At another `base` it is a replica: on the same store, and known by the same address.
        """
        toml = {
            "host": {"limits": dict(limits), "public_url": ROOT, **host},
            "store": dict(store),
            "routing": dict(routing),
            "coordination": dict(coordination),
            "bots": {"root": bot_settings("root", "root", **bot)},
            "skills": {name: skill_settings(name) | dict(skills.get(name, {})) for name in SKILLS},
        }
        bots = {"root": root} if root else None
        return await self.start(base, "root", toml, bots, send=send)

    async def start_skill(self, name: str, bot: Bot) -> Quart:
        """Start a skill whose only allowed caller is the root."""
        table = bot_settings("skill", name, allowed_callers=[IDS["root"]])
        return await self.start(SKILLS[name], name, {"bots": {name: table}}, {name: bot})

    async def stop(self, base: str) -> None:
        """Stop one host gracefully."""
        del self.send.apps[base]
        await self._running.pop(base).shutdown()

    async def close(self) -> None:
        """Stop all hosts, skills first, so that nothing calls what is gone."""
        for base in sorted(self._running, reverse=True):
            await self.stop(base)
        await asyncio.gather(*self.send.served)

    async def post_to(self, base: str, text: str, **members: Any) -> Response:
        """What a user says, posted to one of several replicas."""
        activity = self.console.activity(text, user="ann", conversation="c1") | members
        body = json.dumps(activity).encode()
        url = f"{base}/api/messages"
        return await self.send(Request("POST", url, self.channel_bearer(), body, 20))

    async def post(
        self, text: str, *, user: str = "ann", conversation: str = "c1", **members: Any
    ) -> Response:
        """What `user` says, posted to the root as the channel does."""
        group = bool(members.pop("is_group", False))
        activity = self.console.activity(text, user=user, conversation=conversation, is_group=group)
        return await self.console.post(activity | members, timeout=20)

    async def say(self, text: str, **where: Any) -> list[str]:
        """What the bot says between the user's words and the answer to their POST."""
        conversation = where.get("conversation", "c1")
        before = len(self.console.open(conversation).transcript.entries)
        answer = await self.post(text, **where)
        assert answer.status == 200, (answer.status, answer.body)
        return self.said(conversation)[before:]

    async def quiet(self) -> None:
        """Wait until nobody is being served any more: what was begun beside a turn is done too."""
        await until(lambda: not self.send.served)

    async def heard(self, count: int, conversation: str = "c1") -> list[str]:
        """All that the bot said, as soon as it is so many things."""
        entries = self.console.open(conversation).transcript
        async with asyncio.timeout(10):
            await entries.next_entry(after=count - 1)
        return self.said(conversation)

    def said(self, conversation: str = "c1") -> list[str]:
        """All that the bot said in a conversation."""
        entries = self.console.open(conversation).transcript.entries
        return [entry.text for entry in entries]

    def to_skill(self, name: str) -> list[Activity]:
        """What the root posted to a skill."""
        return [
            Activity.parse(request.body or b"")
            for request in self.send.sent
            if request.url.startswith(SKILLS[name])
        ]

    def handle(self, name: str) -> str:
        """The conversation id that the skill was given last."""
        posts = (r for r in reversed(self.send.sent) if r.url.startswith(SKILLS[name]))
        return Activity.parse(next(posts).body or b"").conversation.id or ""

    async def callback(
        self,
        name: str,
        handle: str,
        activity: Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        to: str = "",
    ) -> tuple[int, str]:
        """What the skill `name` asks of the root's skill host: status and error code."""
        url = f"{ROOT}/api/skills/v3/conversations/{handle}/activities{to}"
        body = None if activity is None else json.dumps(activity).encode()
        return await self.call(method, url, self.bearer(name), body)

    def records(self, kind: str, *, of: str = "root") -> dict[str, bytes]:
        """What a host's store holds of one kind."""
        with contextlib.closing(sqlite3.connect(self.folder / f"{of}.db")) as file:
            rows = file.execute("SELECT key, body FROM records WHERE kind = ?", (kind,))
            return dict(rows.fetchall())

    def bearer(self, client: str, *, audience: str = "root", **claims: Any) -> dict[str, str]:
        """Request headers with a token of one bot for another."""
        token = self.authority.app_token(
            client_id=IDS[client], audience=IDS.get(audience, audience), **claims
        )
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def channel_bearer(self, *, audience: str = "root", **claims: Any) -> dict[str, str]:
        """Request headers with the channel's token."""
        token = self.authority.channel_token(audience=IDS[audience], service_url=CONSOLE, **claims)
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[int, str]:
        """Status and error code (or an empty string) of any request."""
        answer = await self.send(Request(method, url, headers, body, 20))
        document = json.loads(answer.body) if answer.body else {}
        return answer.status, document.get("error", {}).get("code", "")

    async def _channel_token(self) -> str:
        return self.authority.channel_token(audience=IDS["root"], service_url=CONSOLE)

    async def _entra_keys(self) -> dict[str, Any]:
        return self.authority.entra_keys()


def skill_settings(name: str) -> dict[str, Any]:
    """One `[skills.NAME]` table."""
    phrases = {"echo": ["repeat after me"], "booking": ["book a trip", "travel"]}
    endpoint = f"{SKILLS[name]}/api/messages"
    return {"endpoint": endpoint, "app_id": IDS[name], "phrases": phrases[name]}

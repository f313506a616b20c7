"""A world of processes: the lab, our hosts, and bots on published SDKs, all on loopback.

Every bot is a process of its own and starts when a test first needs it; console channels and the
tap between roots and skills are in this one.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self
from uuid import NAMESPACE_DNS, uuid4, uuid5

from quart import Quart

from skills_host.lab.chat import LabClient
from skills_host.lab.console import Console, create_console
from skills_host.lab.service import address_of, listening, serve_lab
from skills_host.lab.transcript import Entry
from skills_host.lab.world import Inhabitant, free_port, toml_of
from skills_host.transport import Client, Request, Response, allow_loopback
from tests.interop.processes import Processes
from tests.interop.tap import Tap, create_tap

__all__ = [
    "DELIVERIES",
    "PEERS",
    "InteropWorld",
    "Talk",
    "peer_root",
    "skill_name",
    "stranger",
]

PEERS = ("bfpy", "bfjs")
DELIVERIES = ("normal", "expectReplies")
OURS = [sys.executable, "-m", "skills_host.cli"]
HOSTS = {"root": "root", "plain": "root", "echo": "skill"}
COMMANDS = {
    "root": ["run", "tests/interop/root.py"],
    "plain": ["serve"],
    "echo": ["run", "skills/echo.py"],
}


def skill_name(peer: str, delivery: str) -> str:
    """What our roots call a peer's skill in this delivery mode."""
    return peer if delivery == "normal" else f"{peer}-replies"


def peer_root(peer: str, delivery: str) -> str:
    """The name of a peer's consumer."""
    return f"{peer}-root-{delivery}"


def stranger(peer: str) -> str:
    """The name of a peer's consumer that our echo skill does not know."""
    return f"{peer}-root-stranger"


class Talk:
    """One user's conversation with a root."""

    def __init__(self, console: Console, *, user: str, conversation: str) -> None:
        self.console = console
        self.user = user
        self.conversation = conversation
        self._heard = 0

    @property
    def entries(self) -> list[Entry]:
        """All that reached the user's channel."""
        return list(self.console.open(self.conversation).transcript.entries)

    async def say(self, text: str, **members: Any) -> list[str]:
        """Say something, with other members than usual; what was said until the root's answer."""
        activity = self.console.activity(text, user=self.user, conversation=self.conversation)
        answer = await self.console.post(activity | members, timeout=60)
        assert answer.ok, f"the root answered {answer.status}"
        heard, self._heard = self._heard, len(self.entries)
        return [entry.text for entry in self.entries[heard:]]


class InteropWorld:
    """Everything a test of interoperation needs; an async context that ends it all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self._starting: dict[str, asyncio.Task[Any]] = {}
        self._consoles: dict[str, Console] = {}
        self._addresses: dict[str, str] = {}
        self.send = Client(guard=allow_loopback)
        self.bots = _bots()

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self.send.close)
        self._processes = Processes(self._folder, send=self.send)
        self._stack.push_async_callback(self._processes.stop)
        listener = listening("127.0.0.1:0")
        self.tap = Tap(f"http://{address_of(listener)}", send=self.send)
        self._serve(create_tap(self.tap), listener)
        await self._start_lab()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # Bots

    async def start_host(self, name: str) -> None:
        """Start one of our hosts, unless it runs."""
        await self._once(name, self._start_host(name))

    async def start_skill(self, peer: str) -> None:
        """Start a peer's echo skill, unless it runs; our roots may call it."""
        allowed = ",".join(self.bots[name].app_id for name in ("root", "plain"))
        await self._once(peer, self._start_peer(peer, peer, "skill", {"ALLOWED_CALLERS": allowed}))

    async def start_consumer(self, name: str, *, delivery: str) -> None:
        """Start a peer's consumer of our echo skill, unless it runs."""
        environ = {
            "SKILL_APP_ID": self.bots["echo"].app_id,
            "SKILL_ENDPOINT": f"{self.tap.url('echo')}/api/messages",
            "HOST_URL": f"{self.tap.url(name)}/api/skills",
            "DELIVERY": delivery,
        }
        peer = name.partition("-")[0]
        await self._once(name, self._start_peer(name, peer, "root", environ))

    # Users and callers

    def talk(self, root: str, *, user: str = "ann") -> Talk:
        """A new conversation of a user with a root that runs."""
        console = self._consoles.get(root) or self._opened_console(root)
        return Talk(console, user=user, conversation=f"c-{uuid4().hex}")

    async def post(
        self, url: str, activity: Mapping[str, Any], *, caller: str, audience: str
    ) -> Response:
        """Post an activity with one bot's real token for another."""
        token = await self.lab.token(
            kind="app",
            client_id=self.bots[caller].app_id,
            audience=self.bots[audience].app_id,
        )
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return await self.send(Request("POST", url, headers, json.dumps(activity).encode(), 60))

    # Starting

    async def _once(self, name: str, start: Coroutine[Any, Any, None]) -> None:
        if name in self._starting:
            start.close()
        else:
            self._starting[name] = asyncio.create_task(start)
        await asyncio.shield(self._starting[name])

    async def _start_lab(self) -> None:
        mint_secret = secrets.token_urlsafe(24)
        apps = [{"app_id": bot.app_id, "secret": bot.secret} for bot in self.bots.values()]
        command = ["lab", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]
        files = ["--ca", f"{self._folder / 'ca.pem'}", "--bundle", f"{self._folder / 'bundle.pem'}"]
        environ = {"SKILLS_HOST_LAB_APPS": json.dumps(apps), "SKILLS_HOST_LAB_MINT": mint_secret}
        printed = await self._processes.announced(
            "lab", [*OURS, *command, *files, "--with-parent"], os.environ | environ, last="}"
        )
        self._addresses = json.loads(printed)
        self.lab = LabClient(self.send, lab_url=self._addresses["http"], mint_secret=mint_secret)

    async def _start_host(self, name: str) -> None:
        bot = self.bots[name]
        self.tap.targets[name] = bot.url
        config = self._folder / f"{name}.toml"
        config.write_text(toml_of(self._settings(bot)), encoding="utf-8")
        await self._processes.answering(
            name,
            [*OURS, *COMMANDS[name], "--config", str(config), "--with-parent"],
            os.environ | {bot.variable: bot.secret},
            url=f"{bot.url}/readyz",
        )

    async def _start_peer(
        self, name: str, peer: str, role: str, environ: Mapping[str, str]
    ) -> None:
        bot = self.bots[name]
        interpreter = {"bfpy": ".peers/bfpy/bin/python", "bfjs": "node"}[peer]
        printed = await self._processes.announced(
            name,
            [interpreter, f"tests/peers/{peer}/{role}.{peer[-2:]}"],
            {
                "PORT": f"{bot.port}",
                "APP_ID": bot.app_id,
                "APP_PASSWORD": bot.secret,
                "LAB": self._addresses["https"],
                "LAB_HTTP": self._addresses["http"],
                "REQUESTS_CA_BUNDLE": f"{self._folder / 'bundle.pem'}",
                "SSL_CERT_FILE": f"{self._folder / 'bundle.pem'}",
                "NODE_EXTRA_CA_CERTS": f"{self._folder / 'ca.pem'}",
                "NO_PROXY": "localhost,127.0.0.1",
                "PATH": os.environ["PATH"],
                **environ,
            },
            last="ready ",
        )
        assert printed == f"ready {bot.port}\n"
        self.tap.targets[name] = bot.url

    def _settings(self, bot: Inhabitant) -> dict[str, Any]:
        lab = self._addresses["http"]
        given: dict[str, Any] = {
            "kind": bot.kind,
            "app_id": bot.app_id,
            "credential": {"secret": f"${{{bot.variable}}}"},
        }
        settings: dict[str, Any] = {
            "host": {"bind": f"127.0.0.1:{bot.port}", "public_url": self.tap.url(bot.name)},
            "store": {"url": f"sqlite:///{bot.name}.db"},
            "cloud": {
                "login_url": lab,
                "entra_metadata": f"{lab}/common/v2.0/.well-known/openid-configuration",
                "channel_metadata": f"{lab}/v1/.well-known/openidconfiguration",
            },
            "bots": {bot.name: given},
        }
        if bot.kind == "skill":
            roots = (peer_root(peer, delivery) for peer in PEERS for delivery in DELIVERIES)
            given["allowed_callers"] = [self.bots[root].app_id for root in roots]
        else:
            settings["skills"] = self._skills()
        return settings

    def _skills(self) -> dict[str, Any]:
        return {
            skill_name(peer, delivery): {
                "endpoint": f"{self.tap.url(peer)}/api/messages",
                "app_id": self.bots[peer].app_id,
                "delivery": delivery,
            }
            for peer in PEERS
            for delivery in DELIVERIES
        }

    # Channels

    def _opened_console(self, root: str) -> Console:
        bot = self.bots[root]
        listener = listening("127.0.0.1:0")
        base_url = f"http://{address_of(listener)}"

        async def channel_token() -> str:
            return await self.lab.token(kind="channel", audience=bot.app_id, service_url=base_url)

        console = Console(
            base_url=base_url,
            bot_url=f"{bot.url}/api/messages",
            bot_app_id=bot.app_id,
            send=self.send,
            channel_token=channel_token,
            entra_keys=self.lab.entra_keys,
        )
        self._serve(create_console(console), listener)
        self._consoles[root] = console
        return console

    def _serve(self, app: Quart, listener: socket.socket) -> None:
        done = asyncio.Event()
        serving = asyncio.create_task(serve_lab(app, http=listener, shutdown=done.wait))

        async def stop() -> None:
            done.set()
            await serving

        self._stack.push_async_callback(stop)


def _bots() -> dict[str, Inhabitant]:
    """Everybody whom the lab knows, with a port each."""
    consumers = [peer_root(peer, delivery) for peer in PEERS for delivery in DELIVERIES]
    kinds = {
        **HOSTS,
        **dict.fromkeys(PEERS, "skill"),
        **dict.fromkeys([*consumers, *map(stranger, PEERS)], "root"),
    }
    taken: set[int] = set()
    return {
        name: Inhabitant(name, kind, str(uuid5(NAMESPACE_DNS, name)), free_port(0, taken=taken))
        for name, kind in kinds.items()
    }

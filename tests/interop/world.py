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
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from quart import Quart

from skills_host.lab.chat import LabClient
from skills_host.lab.console import Console, create_console
from skills_host.lab.service import address_of, listening, serve_lab
from skills_host.lab.transcript import Entry
from skills_host.lab.world import toml_of
from skills_host.transport import Client, Request, Response, allow_loopback
from tests.interop.cast import COMMANDS, CONSUMERS, ROOTS, bots_of_all, settings_of
from tests.interop.processes import REPOSITORY, Processes
from tests.interop.tap import Tap, create_tap

__all__ = ["InteropWorld", "Talk"]

OURS = [sys.executable, "-m", "skills_host.cli"]
# Where SDKs look for the authorities whose addresses are fixed in their code.
FIXED_PORT = 443
WITH_HOSTS = ["tests/peers/with_hosts", "tests/peers/hosts"]
INTERPRETERS = {
    "bfpy": [".peers/bfpy/bin/python"],
    "bfjs": ["node"],
    "agpy": [*WITH_HOSTS, ".peers/agpy/bin/python"],
    "agjs": [*WITH_HOSTS, "node"],
}
# What a peer's host is called below its address.
HOST_PATHS = {"agpy": "/api/skills/", "agjs": "/api/agentresponse/"}


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

    @property
    def members(self) -> list[str]:
        """The ids of the members of the conversation."""
        return list(self.console.open(self.conversation).members)

    async def say(self, text: str, **members: Any) -> list[str]:
        """Say something, with other members than usual; what was said until the root's answer."""
        answer = await self.post(text, **members)
        assert answer.ok, f"the root answered {answer.status}"
        return [entry.text for entry in self.news()]

    async def post(self, text: str = "", **members: Any) -> Response:
        """Send an activity with these members; the root's answer to it."""
        activity = self.console.activity(text, user=self.user, conversation=self.conversation)
        return await self.console.post(activity | members, timeout=60)

    def news(self) -> list[Entry]:
        """What reached the user since the last time."""
        heard, self._heard = self._heard, len(self.entries)
        return self.entries[heard:]


class InteropWorld:
    """Everything a test of interoperation needs; an async context that ends it all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self._starting: dict[str, asyncio.Task[Any]] = {}
        self._consoles: dict[str, Console] = {}
        self._addresses: dict[str, str] = {}
        self.send = Client(guard=allow_loopback)
        self.bots = bots_of_all()

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
        """Start a peer's skill, unless it runs; our roots and all consumers of it may call it."""
        callers = [*ROOTS, *(one.name for one in CONSUMERS.values() if one.skill == peer)]
        environ = {"ALLOWED_CALLERS": self._app_ids(callers)}
        await self._once(peer, self._start_peer(peer, peer, "skill", environ))

    async def start_consumer(self, name: str) -> None:
        """Start a peer's consumer, unless it runs; our roots may call it, too."""
        consumer = CONSUMERS[name]
        host_path = HOST_PATHS.get(consumer.peer, "/api/skills")
        environ = {
            "SKILL_APP_ID": self.bots[consumer.skill].app_id,
            "SKILL_ENDPOINT": f"{self.tap.url(consumer.skill)}/api/messages",
            "HOST_URL": f"{self.tap.url(name)}{host_path}",
            "DELIVERY": consumer.delivery,
            "ALLOWED_CALLERS": self._app_ids(ROOTS),
        }
        shipped = {"AS_SHIPPED": "1"} if consumer.is_shipped else {}
        await self._once(name, self._start_peer(name, consumer.peer, "root", environ | shipped))

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

    async def tell(self, skill: str) -> dict[str, Any]:
        """Have a skill speak up where somebody said `proactive`: how often it did, and could not.

        Peers have a door for that; ours takes an invoke of a caller that is nothing else.
        """
        if skill != "ours":
            answer = await self.send(Request("POST", f"{self.bots[skill].url}/tell", timeout=60))
            return _object(answer)
        activity = {
            "type": "invoke",
            "name": "tell",
            "id": uuid4().hex,
            "channelId": "test",
            "serviceUrl": self.tap.url("nobody"),
            "conversation": {"id": "tell"},
            "from": {"id": "teller"},
            "recipient": {"id": "ours"},
        }
        url = f"{self.bots[skill].url}/api/messages"
        return _object(await self.post(url, activity, caller="teller", audience=skill))

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
        self.no_fixed_hosts = await _no_fixed_hosts()
        https = f"127.0.0.1:{0 if self.no_fixed_hosts else FIXED_PORT}"
        command = ["lab", "--http", "127.0.0.1:0", "--https", https]
        files = ["--ca", f"{self._folder / 'ca.pem'}", "--bundle", f"{self._folder / 'bundle.pem'}"]
        environ = {"SKILLS_HOST_LAB_APPS": json.dumps(apps), "SKILLS_HOST_LAB_MINT": mint_secret}
        printed = await self._processes.announced(
            "lab", [*OURS, *command, *files, "--with-parent"], os.environ | environ, last="}"
        )
        self._addresses = json.loads(printed)
        self.lab_url = self._addresses["http"]
        self.lab = LabClient(self.send, lab_url=self.lab_url, mint_secret=mint_secret)

    async def _start_host(self, name: str) -> None:
        bot = self.bots[name]
        self.tap.targets[name] = bot.url
        config = self._folder / f"{name}.toml"
        settings = settings_of(bot, self.bots, lab=self.lab_url, url=self.tap.url)
        config.write_text(toml_of(settings), encoding="utf-8")
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
        printed = await self._processes.announced(
            name,
            [*INTERPRETERS[peer], f"tests/peers/{peer}/{role}.{peer[-2:]}"],
            {
                "PORT": f"{bot.port}",
                "APP_ID": bot.app_id,
                "APP_PASSWORD": bot.secret,
                "LAB": self._addresses["https"].removesuffix(f":{FIXED_PORT}"),
                "LAB_HTTP": self.lab_url,
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

    def _app_ids(self, names: Iterable[str]) -> str:
        return ",".join(self.bots[name].app_id for name in names)

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


async def _no_fixed_hosts() -> str:
    """Why the lab cannot stand for addresses that are fixed in code; empty if it can."""
    try:
        socket.create_server(("127.0.0.1", FIXED_PORT)).close()
    except OSError as error:
        return f"not startable here: port {FIXED_PORT}: {error.strerror}"
    process = await asyncio.create_subprocess_exec(
        *WITH_HOSTS, "true", cwd=REPOSITORY, stderr=asyncio.subprocess.PIPE
    )
    _, reason = await process.communicate()
    return reason.decode().strip() if process.returncode else ""


def _object(answer: Response) -> dict[str, Any]:
    assert answer.ok, f"answered {answer.status}"
    parsed: dict[str, Any] = json.loads(answer.body)
    return parsed

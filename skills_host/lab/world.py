"""A laptop-sized world as separate processes: a lab, a root, its skills; all ended together."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from skills_host.configuration import load_settings
from skills_host.consumer.manifest.readers import rendered
from skills_host.consumer.registry.intake import Submission
from skills_host.consumer.registry.records import Actor, Order, Trust
from skills_host.consumer.registry.registry import Registry
from skills_host.errors import RegistryRefused, SkillsHostError, TransportFailed
from skills_host.registered import registry_of
from skills_host.store.address import store_from_url
from skills_host.transport import Request, Send

__all__ = ["Inhabitant", "ProcessWorld", "StartFailed", "Started", "free_port", "toml_of"]

READY_SECONDS = 30.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02


class StartFailed(SkillsHostError):
    """A process of the world ended or did not get ready; the message names its log."""

    code = "unreachable"


@dataclass(frozen=True, slots=True)
class Inhabitant:
    """A bot of the world: its name, kind, app id, where it listens, and its file if it has one."""

    name: str
    kind: str
    app_id: str
    port: int
    file: Path | None = None
    phrases: tuple[str, ...] = ()
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        """The bot's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def variable(self) -> str:
        """The environment variable that holds its secret."""
        return f"{self.name.upper().replace('-', '_')}_SECRET"


@dataclass(frozen=True, slots=True)
class Started:
    """A running process and where it is ready."""

    name: str
    process: asyncio.subprocess.Process
    log: Path


def free_port(preferred: int, *, taken: set[int]) -> int:
    """`preferred` if nothing listens there, else any free one; added to `taken`."""
    for wanted in (preferred, 0):
        try:
            with socket.create_server(("127.0.0.1", wanted)) as probe:
                port = int(probe.getsockname()[1])
        except OSError:
            continue
        if port not in taken:
            taken.add(port)
            return port
    return free_port(0, taken=taken)


def toml_of(tables: Mapping[str, Any], *, path: tuple[str, ...] = ()) -> str:
    """Nested tables of strings, numbers, booleans and lists as TOML."""
    plain = {key: value for key, value in tables.items() if not isinstance(value, Mapping)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    if path and lines:
        lines.insert(0, f"[{'.'.join(path)}]")
    text = "\n".join(lines) + ("\n\n" if lines else "")
    nested = (item for item in tables.items() if isinstance(item[1], Mapping))
    return text + "".join(toml_of(value, path=(*path, key)) for key, value in nested)


class ProcessWorld:
    """Starts the processes of a world in one folder and ends them again; an async context.

    Children stop when this process does, however it ends: they watch a pipe that it holds.
    """

    def __init__(
        self, folder: Path, *, send: Send, root: Inhabitant, skills: Sequence[Inhabitant]
    ) -> None:
        self.folder = folder
        self.root = root
        self.skills = tuple(skills)
        self.mint_secret = secrets.token_urlsafe(24)
        self._send = send
        self._started: dict[str, Started] = {}
        self.lab_url = ""

    async def __aenter__(self) -> Self:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(self.stop(name) for name in tuple(self._started)))

    async def start_lab(self, port: int, *, others: Sequence[Inhabitant] = ()) -> None:
        """Start the authority; it knows every inhabitant and `others`."""
        self.lab_url = f"http://127.0.0.1:{port}"
        apps = [
            {"app_id": bot.app_id, "secret": bot.secret}
            for bot in (self.root, *self.skills, *others)
        ]
        environ = {
            "SKILLS_HOST_LAB_APPS": json.dumps(apps),
            "SKILLS_HOST_LAB_MINT": self.mint_secret,
        }
        await self._start("lab", ["lab", "--http", f"127.0.0.1:{port}"], environ)
        await self._ready("lab", f"{self.lab_url}/lab/health")

    async def start_bots(self, manifests: Path) -> None:
        """Start the skills and the root, all at once; `manifests` has a template for each skill."""
        for skill in self.skills:
            self._render(manifests, skill)
        await self._register()
        await asyncio.gather(*map(self.start_bot, (*self.skills, self.root)))

    async def start_bot(self, bot: Inhabitant) -> None:
        """Start one bot with a settings file of its own, and wait until it is ready."""
        config = self._configured(bot)
        command = ["run", str(bot.file)] if bot.file else ["serve"]
        await self._start(bot.name, [*command, "--config", str(config)], {bot.variable: bot.secret})
        await self._ready(bot.name, f"{bot.url}/readyz")

    async def stop(self, name: str, *, kill: bool = False) -> None:
        """End one process, gracefully unless `kill`."""
        process = self._started.pop(name).process
        if process.returncode is None:
            (process.kill if kill else process.terminate)()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _register(self) -> None:
        """Send in the manifests of the skills and approve them, as an operator does."""
        settings = load_settings(self._configured(self.root), {self.root.variable: "not needed"})
        store = store_from_url(settings.store.url)
        await store.open()
        try:
            registry = registry_of(settings, store, now=time.time, lab=True)
            for skill in self.skills:
                raw = (self.folder / "manifests" / f"{skill.name}.json").read_bytes()
                await _approved(registry, skill.name, Submission(raw, registration=_said(skill)))
        finally:
            await store.close()

    def _configured(self, bot: Inhabitant) -> Path:
        """The settings file of a bot, written anew."""
        config = self.folder / f"{bot.name}.toml"
        config.write_text(toml_of(self._settings(bot)), encoding="utf-8")
        return config

    def _settings(self, bot: Inhabitant) -> dict[str, Any]:
        given: dict[str, Any] = {
            "kind": bot.kind,
            "app_id": bot.app_id,
            "credential": {"secret": f"${{{bot.variable}}}"},
        }
        settings: dict[str, Any] = {
            "host": {"bind": f"127.0.0.1:{bot.port}", "public_url": bot.url},
            "store": {"url": f"sqlite:///{bot.name}.db"},
            "cloud": {
                "login_url": self.lab_url,
                "entra_metadata": f"{self.lab_url}/common/v2.0/.well-known/openid-configuration",
                "channel_metadata": f"{self.lab_url}/v1/.well-known/openidconfiguration",
            },
            "bots": {bot.name: given},
        }
        if bot.kind == "skill":
            given["allowed_callers"] = [self.root.app_id]
        return settings

    def _render(self, manifests: Path, skill: Inhabitant) -> None:
        template = (manifests / f"{skill.name}.json").read_text(encoding="utf-8")
        values = {"endpointUrl": f"{skill.url}/api/messages", "appId": skill.app_id}
        target = self.folder / "manifests" / f"{skill.name}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(rendered(template, values), encoding="utf-8")

    async def _start(self, name: str, arguments: list[str], environ: Mapping[str, str]) -> None:
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "skills_host.cli",
                *arguments,
                "--with-parent",
                env={**os.environ, **environ},
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                # Ctrl-C is for this process; it ends the others in order.
                start_new_session=True,
            )
        self._started[name] = Started(name, process, log)

    async def _ready(self, name: str, url: str) -> None:
        started = self._started[name]
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await self._answers(url):
                    if started.process.returncode is not None:
                        raise StartFailed(f"{name} ended at once; see {started.log}")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise StartFailed(f"{name} did not get ready; see {started.log}") from None

    async def _answers(self, url: str) -> bool:
        try:
            return (await self._send(Request("GET", url, timeout=5))).ok
        except TransportFailed:
            return False


async def _approved(registry: Registry, name: str, sent: Submission) -> None:
    """Register a skill, or its new revision, and let exactly that run."""
    order = Order(Actor("lab"))
    try:
        found = await registry.add(name, sent, order=order, submit=True)
    except RegistryRefused as exc:
        if exc.code != "already-registered":
            raise
        found = await registry.revise(name, sent, order=order, submit=True)
    state = found.skill.state(found.revision.digest)
    if state is not None and state.trust is Trust.PENDING:
        await registry.approve(name, found.revision.digest, order=order)


def _said(skill: Inhabitant) -> dict[str, Any]:
    """What is registered with a skill beside its manifest."""
    return {"phrases": list(skill.phrases)}

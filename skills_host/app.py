"""The composition root: everything is built once here, opened in order, and closed in reverse."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress

from hypercorn.utils import LifespanFailureError
from quart import Quart

from skills_host.assembly import Shared, doors
from skills_host.auth.credentials import AnyCredential, TokenCredential
from skills_host.auth.denials import Denied
from skills_host.auth.keys import SigningKeys
from skills_host.auth.rotation import Rotation
from skills_host.auth.tokens import TokenSource
from skills_host.bot.handlers import Bot
from skills_host.bot.rounds import go_round
from skills_host.bot.tasks import Tasks
from skills_host.configured import (
    World,
    announce_lists,
    configured_bots,
    configured_coordination,
    configured_credentials,
    configured_skills,
    credential_in,
    served_manifests,
    trusts_lab,
    verifier_of,
)
from skills_host.consumer.watch import Watch
from skills_host.errors import SkillsHostError
from skills_host.registered import RegisteredSkills
from skills_host.settings import BotSettings, Settings
from skills_host.store.address import store_from_url
from skills_host.store.coordination import DUE
from skills_host.store.heartbeats import Heartbeats
from skills_host.store.leases import Leases
from skills_host.store.observed import ObservedStore
from skills_host.store.seal import Keys, keys_of
from skills_host.telemetry import REFUSALS, Telemetry
from skills_host.transport import Client, Send, allow_https_or_loopback, allow_loopback
from skills_host.web.front import Front
from skills_host.web.guard import Guard, answer_errors
from skills_host.web.health import health
from skills_host.web.manifests import manifests
from skills_host.web.metrics import MetricsListener, metrics
from skills_host.web.receipts import Receipts
from skills_host.web.server import Listeners, listening, serve_asgi

__all__ = ["World", "create_app", "serve"]

log = logging.getLogger(__name__)

START_ERROR = "SKILLS_HOST_START_ERROR"
MEASURE_SECONDS = 15.0
ROUND_SECONDS = 1.0
SWEEP_SECONDS = 60.0
SWEEP_RECORDS = 500


def create_app(
    settings: Settings,
    *,
    bots: Mapping[str, Bot] | None = None,
    credentials: Mapping[str, TokenCredential] | None = None,
    reload: Callable[[], Settings] | None = None,
    world: World | None = None,
) -> Quart:
    """The ASGI application of a host with all its bots.

    `bots` gives the code of the configured bots by name; a root without code is a plain `Root`.
    `credentials` are those of the bots whose `credential.identity` is `external`; whoever made
    them closes them. `reload` reads the settings again, so that changed credentials are taken up.
    Settings are checked here; stores and keys are opened when the application starts, and it
    does not start without them. Raises `SettingsError`.
    """
    app = Quart("skills_host", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.host.limits.body_bytes
    app.config["BODY_TIMEOUT"] = settings.host.limits.body_seconds
    app.url_map.strict_slashes = False
    host = _Host(settings, world or World(), dict(bots or {}), dict(credentials or {}), reload)
    answer_errors(app, host.noted)

    @app.before_serving
    async def start() -> None:
        try:
            await host.open(app)
        except SkillsHostError as exc:
            # ASGI servers report that an application did not start, but not why.
            app.config[START_ERROR] = exc
            raise

    @app.after_serving
    async def stop() -> None:
        await host.close()

    return app


class _Host:
    """All that one application owns."""

    def __init__(
        self,
        settings: Settings,
        world: World,
        bots: Mapping[str, Bot],
        credentials: Mapping[str, TokenCredential],
        reload: Callable[[], Settings] | None,
    ) -> None:
        self._settings = settings
        self._world = world
        self._brought = credentials
        self._reload = reload
        self._credentials = configured_credentials(settings, world, credentials)
        self._lab = trusts_lab(settings, configured_skills(settings))
        self._manifests = served_manifests(settings)
        self._bots = configured_bots(settings, bots)
        self._telemetry = Telemetry()
        self._measures: list[Callable[[], Awaitable[None]]] = []
        self._store = ObservedStore(
            store_from_url(settings.store.url, now=world.now), self._telemetry
        )
        host = world.new_id()
        self._coordination = configured_coordination(settings, name=host, telemetry=self._telemetry)
        self._heartbeats = Heartbeats(
            self._store,
            host=host,
            machine=world.machine,
            pid=world.pid,
            coordinated=settings.coordination.url is not None,
            now=world.now,
        )
        self._registered = RegisteredSkills(
            settings, self._store, self._coordination, now=world.now, lab=self._lab
        )
        self._tasks = Tasks()
        self._rounds: list[Callable[[], Awaitable[None]]] = []
        limits = settings.host.limits
        self._receipts = Receipts(
            self._store,
            now=world.now,
            random=world.random,
            keep=limits.denials_kept,
            age=limits.denial_seconds,
        )
        self._closing = AsyncExitStack()

    async def open(self, app: Quart) -> None:
        """Open in the order of dependence; what was opened is closed again if the rest fails."""
        announce_lists(self._settings)
        async with AsyncExitStack() as stack:
            await self._store.open()
            stack.push_async_callback(self._store.close)
            await self._heartbeats.open()
            stack.push_async_callback(self._heartbeats.close)
            await self._coordination.open()
            stack.push_async_callback(self._coordination.close)
            await self._registered.load()
            self._receipts.open()
            stack.push_async_callback(self._receipts.close)
            send = self._opened_client(stack)
            keys = SigningKeys(
                send,
                now=self._world.now,
                allow_lab=self._lab,
                burst=self._settings.host.limits.unknown_key_burst,
                refill=self._settings.host.limits.unknown_key_seconds,
                timeout=self._settings.host.limits.authority_seconds,
            )
            stack.push_async_callback(keys.close)
            await self._warm(keys)
            leases = Leases(
                self._store,
                now=self._world.now,
                seconds=self._settings.host.limits.lease_seconds,
                telemetry=self._telemetry,
            )
            leases.open()
            # What it gives back, another can have at once.
            stack.callback(self._coordination.wake, DUE)
            stack.push_async_callback(leases.close)
            handle_keys = await keys_of(
                self._store, [key.get_secret_value() for key in self._settings.host.keys]
            )
            rotation = self._rotation(send, stack)
            self._build(app, keys=keys, handle_keys=handle_keys, send=send, leases=leases)
            for task in (self._sweep(rotation), self._watch(rotation), self._registered.run()):
                stack.push_async_callback(_cancelled, asyncio.create_task(task))
            await self._tell(app, stack)
            stack.push_async_callback(_cancelled, asyncio.create_task(self._go_round()))
            stack.push_async_callback(self._tasks.stop, self._settings.host.limits.stop_seconds)
            self._closing = stack.pop_all()

    async def close(self) -> None:
        """Finish what runs, then close everything in reverse order."""
        await self._closing.aclose()

    def noted(self, error: Denied, door: str, caller: str) -> str | None:
        """Take note of a refusal; the id of its receipt."""
        self._telemetry.count(REFUSALS, error.code)
        return self._receipts.note(error, door=door, caller=caller)

    # Building

    def _opened_client(self, stack: AsyncExitStack) -> Send:
        if self._world.send is not None:
            return self._world.send
        client = Client(guard=allow_loopback if self._lab else allow_https_or_loopback)
        stack.push_async_callback(client.close)
        return client

    async def _warm(self, keys: SigningKeys) -> None:
        for url in (self._settings.cloud.channel_metadata, self._settings.cloud.entra_metadata):
            try:
                await keys.warm(url)
            except Denied as exc:
                log.warning("signing keys of %s are not there yet: %s", url, exc.code)

    def _build(
        self,
        app: Quart,
        *,
        send: Send,
        keys: SigningKeys,
        handle_keys: Keys,
        leases: Leases,
    ) -> None:
        bots, now = self._settings.bots, self._world.now
        registered = self._registered
        front = Front(app, noted=self.noted)
        verifier = verifier_of(self._settings, keys, lambda: registered.now.snapshot, now=now)
        watch = Watch(self._store, leases=leases, tasks=self._tasks, now=now)
        shared = Shared(
            settings=self._settings,
            now=self._world.now,
            random=self._world.random,
            new_id=self._world.new_id,
            send=send,
            store=self._store,
            coordination=self._coordination,
            tasks=self._tasks,
            registered=registered,
            keys=handle_keys,
            guard=Guard(verifier, body_bytes=self._settings.host.limits.body_bytes, lab=self._lab),
            lab=self._lab,
            leases=leases,
            rounds=self._rounds,
            watch=watch,
            telemetry=self._telemetry,
            measures=self._measures,
        )
        self._rounds += [watch.look, registered.withdraw]
        for name in bots:
            for prefix, door in doors(shared, name, self._bots[name], self._sources[name]):
                app.register_blueprint(door, url_prefix=prefix, name=f"{prefix}:{door.name}")
                front.add(door, prefix=prefix)
        app.register_blueprint(health(self._probes(keys), self._aids()))
        app.register_blueprint(manifests(self._manifests))
        if self._settings.admin.enabled:
            # A host that is not administered need not carry what it takes.
            from skills_host.administered import admin

            api = admin(shared, registered, keys, sources=self._sources, noted=self.noted)
            app.register_blueprint(api)

    async def _tell(self, app: Quart, stack: AsyncExitStack) -> None:
        """Offer what the host tells of itself, as its settings say."""
        given = self._settings.metrics
        token = given.token.get_secret_value() if given.token else None
        door = metrics(self._telemetry, measures=self._measures, token=token)
        if given.bind is not None:
            listener = await MetricsListener.opened(door, given.bind, ports=given.ports)
            stack.push_async_callback(listener.close)
        elif token is not None:
            app.register_blueprint(door)
        stack.push_async_callback(_cancelled, asyncio.create_task(self._measure()))

    def _rotation(self, send: Send, stack: AsyncExitStack) -> Rotation:
        self._sources = {name: self._tokens(name, send) for name in self._settings.bots}
        rotation = Rotation(
            self._settings,
            self._credentials,
            sources=self._sources,
            build=self._credential,
            reload=self._reload,
            now=self._world.now,
            telemetry=self._telemetry,
        )
        stack.push_async_callback(rotation.close)
        for tokens in self._sources.values():
            stack.push_async_callback(tokens.close)
        rotation.announce()
        return rotation

    def _credential(self, name: str, bot: BotSettings) -> AnyCredential:
        return credential_in(name, bot, self._settings, self._world, self._brought.get(name))

    def _tokens(self, name: str, send: Send) -> TokenSource:
        return TokenSource(
            send,
            cloud=self._settings.cloud,
            credential=self._credentials[name],
            now=self._world.now,
            timeout=self._settings.host.limits.authority_seconds,
        )

    def _probes(self, keys: SigningKeys) -> dict[str, Callable[[], Awaitable[None]]]:
        cloud = self._settings.cloud
        return {
            "store": self._store.probe,
            "channel keys": lambda: keys.warm(cloud.channel_metadata),
            "entra keys": lambda: keys.warm(cloud.entra_metadata),
        }

    def _aids(self) -> dict[str, Callable[[], Awaitable[None]]]:
        is_set = self._settings.coordination.url is not None
        return {"coordination": self._coordination.probe} if is_set else {}

    async def _watch(self, rotation: Rotation) -> None:
        """Take up credentials that have changed."""
        while True:
            await asyncio.sleep(self._settings.host.limits.credential_check_seconds)
            await rotation.check()

    async def _go_round(self) -> None:
        await go_round(
            self._rounds,
            tasks=self._tasks,
            coordination=self._coordination,
            seconds=ROUND_SECONDS,
        )

    async def _measure(self) -> None:
        """Set what is told of the moment, for those who get it by OpenTelemetry."""
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            for measure in self._measures:
                with suppress(SkillsHostError):
                    await measure()

    async def _sweep(self, rotation: Rotation) -> None:
        """Forget what has expired, a little at a time."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            rotation.announce()
            try:
                swept = SWEEP_RECORDS
                while swept == SWEEP_RECORDS:
                    swept = await self._store.expire(self._world.now(), SWEEP_RECORDS)
            except SkillsHostError as exc:
                log.error("what has expired could not be removed: %s", exc.code)


async def serve(
    app: Quart,
    settings: Settings,
    *,
    shutdown: Callable[[], Awaitable[object]],
    listener: socket.socket | None = None,
) -> None:
    """Serve the application with hypercorn until `shutdown` returns; then stop gracefully.

    It closes the `listener`. Raises what kept the application from starting, and `OSError`.
    """
    with listener or listening(settings.host.bind) as listens:
        config = Listeners([listens])
        config.errorlog = log
        config.graceful_timeout = settings.host.limits.stop_seconds
        # A head that is refused here gets no code; the door itself refuses tokens over 16 KiB.
        config.h11_max_incomplete_size = 64 * 1024
        try:
            await serve_asgi(app, config, shutdown=shutdown)
        except LifespanFailureError:
            raise app.config.get(START_ERROR) or SkillsHostError() from None


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

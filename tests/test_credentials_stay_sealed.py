"""Whole turns with credentials in them: nothing stored, logged or listed shows one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from skills_host import Bot, Root, Turn
from skills_host.bot.handlers import Handler
from skills_host.lab.world import toml_of
from skills_host.transport import Request, Response
from tests.cli.test_commands import ran
from tests.store.conftest import empty_schema
from tests.world import CONSOLE, ROOT, SKILLS, Town, bot_settings, skill_settings

SEED = "eyJzZWVkZWQtdXNlci10b2tlbg"
TOO_MANY = Response(429, {"retry-after": "0"})
COMMANDS = (("conversations", "list"), ("outbox", "list"), ("denials", "list"))


def echoing_tokens() -> Bot:
    """A skill that repeats every credential that it is given."""
    skill = Bot()

    @skill.on_message
    async def hear(turn: Turn) -> None:
        await turn.send("sign in, please")

    @skill.on_invoke("signin/tokenExchange")
    async def exchange(turn: Turn) -> None:
        await turn.send(f"your token is {turn.activity.value['token']}")
        turn.respond(200, turn.activity.value)

    @skill.on_event("tokens/response")
    async def respond(turn: Turn) -> None:
        await turn.send(f"your token is {turn.activity.value['token']}")

    return skill


def saving() -> Root:
    """A root that saves its state again after each turn, and with it what the turn has done."""
    root = Root()

    async def save(turn: Turn, call_next: Handler) -> None:
        await call_next(turn)
        turn.state.set("turns", 1 + int(await turn.state.get("turns", 0)))
        await turn.save()

    root.use(save)
    return root


class Watched:
    """A town on one store, of which everything that is kept is looked through at every request."""

    def __init__(self, town: Town, database: str) -> None:
        self.town = town
        self.looked = 0
        self.busy = False
        self._database = database
        for base in (CONSOLE, SKILLS["echo"]):
            town.send.faults[base] = self._step

    async def _step(self, request: Request) -> Response | None:
        await self.look()
        return TOO_MANY if self.busy and request.url.startswith(CONSOLE) else None

    async def look(self) -> None:
        """Fail if a credential can be read anywhere."""
        self.looked += 1
        for file in self.town.folder.rglob("*"):
            assert not file.is_file() or SEED.encode() not in file.read_bytes(), file.name
        if self._database:
            connection = await asyncpg.connect(self._database)
            rows = await connection.fetch("SELECT * FROM skills_host_records")
            await connection.close()
            assert rows
            assert not [row for row in rows if SEED.encode() in b"".join(_bytes(row))]


def _bytes(row: Any) -> list[bytes]:
    return [value for value in row.values() if isinstance(value, bytes)]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.durability)])
async def watched(
    request: pytest.FixtureRequest, empty_town: Town, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Callable[[], Awaitable[Watched]]]:
    caplog.set_level("DEBUG")
    context = empty_schema() if request.param == "postgres" else None
    database = await context.__aenter__() if context else ""

    async def start() -> Watched:
        await empty_town.start_skill("echo", echoing_tokens())
        settings = {
            "host": {"callbacks": "recorded"},
            "store": {"url": database} if database else {},
            "bots": {"root": bot_settings("root", "root")},
            "skills": {"echo": skill_settings("echo")},
        }
        await empty_town.start(ROOT, "root", settings, {"root": saving()})
        return Watched(empty_town, database)

    yield start
    await empty_town.close()
    if context:
        await context.__aexit__(None, None, None)
    assert SEED not in caplog.text


def signing_in(kind: str, name: str) -> dict[str, Any]:
    value = {"id": "1", "connectionName": "graph", "token": SEED}
    return {"type": kind, "name": name, "value": value, "id": f"{kind}-1"}


@pytest.mark.parametrize(
    ("kind", "name"), [("invoke", "signin/tokenExchange"), ("event", "tokens/response")]
)
async def test_a_turn_with_a_credential_leaves_nothing_to_read(
    kind: str, name: str, watched: Callable[[], Awaitable[Watched]]
) -> None:
    """To the skill and back, refused by the channel for a while, and delivered again."""
    world = await watched()
    town = world.town
    await town.say("echo")
    world.busy = True
    first = await town.post("", **signing_in(kind, name))
    again = await town.post("", **signing_in(kind, name))
    await world.look()
    world.busy = False
    await town.heard(2)
    await world.look()

    assert first.status == again.status == 200
    assert first.body == again.body
    assert town.said()[-1] == f"your token is {SEED}"
    assert world.looked > 5


async def test_what_remains_of_a_turn_with_a_credential_is_its_answer_alone(
    watched: Callable[[], Awaitable[Watched]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed or not, the activity itself is gone when the turn ends."""
    monkeypatch.setattr("skills_host.bot.sealing.is_sealed", lambda name, listed: False)
    world = await watched()
    town = world.town
    town.send.faults.clear()
    await town.say("echo")
    if world._database:
        connection = await asyncpg.connect(world._database)
    await town.post("", **signing_in("event", "tokens/response"))
    if world._database:
        query = "SELECT body FROM skills_host_records WHERE kind = 'inbound'"
        bodies = [row["body"] for row in await connection.fetch(query)]
        await connection.close()
    else:
        bodies = list(town.records("inbound").values())

    assert bodies
    assert not [body for body in bodies if SEED.encode() in body or b"activity" in body]


async def test_no_command_shows_a_credential(
    watched: Callable[[], Awaitable[Watched]],
) -> None:
    world = await watched()
    town = world.town
    await town.say("echo")
    world.busy = True
    await town.post("", **signing_in("event", "tokens/response"))
    url, headers = f"{ROOT}/api/messages", {"Content-Type": "application/json"}
    refused = {**headers, "Authorization": f"Bearer {SEED}.{SEED}.{SEED}"}
    assert (await town.call("POST", url, refused, b"{}"))[0] == 401
    tables = {
        "store": {"url": world._database or f"sqlite:///{town.folder}/root.db"},
        "bots": {"root": bot_settings("root", "root")},
        "skills": {"echo": skill_settings("echo")},
    }
    config = town.folder / "skills-host.toml"
    config.write_text(toml_of(tables), encoding="utf-8")
    for command in COMMANDS:
        for form in ("--json", ""):
            words = [*command, "--config", str(config), *filter(None, [form])]
            result = await asyncio.to_thread(ran, *words)
            assert result.exit_code == 0, result.output
            assert SEED not in result.output
            assert result.output.strip() not in ("", "[]")
    await world.look()

"""From a `.lu` file that a skill serves itself, by an operator's commands, to the skill: all while
the host runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import skills_host.app
from skills.booking import bot as booking
from skills.echo import bot as echo
from skills_host import Bot, create_app
from skills_host.app import World, serve
from skills_host.cli.terminal import Exit
from skills_host.lab.world import toml_of
from skills_host.web.server import listening
from tests.cli.test_commands import ran
from tests.consumer.registry.shelf import endpoint, manifest
from tests.consumer.registry.test_live import seen, start_root
from tests.world import CLOUD, IDS, ROOT, Town, bot_settings, settings

WEATHER = b"""[import](./more.lu)
# Forecast
- will it rain in {city=Rome}
- how warm is it going to be tomorrow
# Internal
- order a large pizza with cheese
"""
MORE = b"# Forecast\n- is a thunderstorm coming\n"
TRIPS = b"# Trip\n- book a flight to {city=Oslo}\n- will it rain in {city=Oslo}\n"
LOST = "I did not understand"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is due all the time."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.01)


@pytest.fixture
async def published(empty_town: Town) -> AsyncIterator[list[str]]:
    """Where echo and booking, which run by themselves, serve their manifests."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running(empty_town, name, code, intents, **files))
            for name, code, intents, files in (
                ("echo", echo, ["Forecast"], {"weather": WEATHER, "more": MORE}),
                ("booking", booking, [], {"trips": TRIPS}),
            )
        ]


@asynccontextmanager
async def running(
    town: Town, name: str, code: Bot, intents: list[str], **files: bytes
) -> AsyncIterator[str]:
    """A skill on a port of its own, with a manifest that names the first of these files."""
    folder = town.folder / name
    folder.mkdir()
    for file, content in files.items():
        (folder / f"{file}.lu").write_bytes(content)
    models = [{"name": name, "contentType": "application/lu", "url": f"{next(iter(files))}.lu"}]
    template = manifest(
        name,
        endpoints=endpoint(endpointUrl="${endpointUrl}", msAppId="${appId}"),
        dispatchModels={"languages": {"en-us": models}, "intents": intents},
    )
    (folder / "manifest.json").write_text(json.dumps(template), encoding="utf-8")
    listener = listening("127.0.0.1:0")
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    table = bot_settings("skill", name, allowed_callers=[IDS["root"]])
    table["manifest"] = str(folder / "manifest.json")
    given = settings(base, name, {"bots": {name: table}}, town.folder)
    world = World(send=town.send, now=lambda: town.now(), machine=town.machine)
    app = town.send.apps[base] = create_app(given, bots={name: code}, world=world)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(app, given, shutdown=stop.wait, listener=listener))
    yield f"{base}/manifests/{name}.json"
    stop.set()
    await task


def configured(folder: Path) -> str:
    """The settings of the town's root as a file, for commands beside it."""
    given = {
        "host": {"bind": ROOT.removeprefix("http://"), "public_url": ROOT, "skills": "registry"},
        "store": {"url": f"sqlite:///{folder / 'root'}.db"},
        "cloud": CLOUD,
        "bots": {"root": bot_settings("root", "root") | {"credential": {"secret": "${SECRET}"}}},
    }
    path = folder / "skills-host.toml"
    path.write_text(toml_of(given), encoding="utf-8")
    return str(path)


async def ordered(town: Town, *arguments: str) -> tuple[Any, str]:
    """What a command says as JSON and as warnings, while the host goes on."""
    command = ("skill", *arguments, "--config", configured(town.folder))
    as_json = await asyncio.to_thread(ran, *command, "--json")
    assert as_json.exit_code == Exit.DONE, as_json.output
    return json.loads(as_json.stdout), as_json.stderr


async def test_words_that_are_like_those_of_its_language_file_reach_a_skill(
    empty_town: Town, published: list[str]
) -> None:
    """Once it is approved, in every region of the language; of its other intents none does."""
    await start_root(empty_town)
    like, other = "will it rain in Paris today", "order a large pizza please"
    added, _ = await ordered(empty_town, "add", published[0])
    before = await empty_town.say(like, locale="en-GB")
    await ordered(empty_town, "approve", "echo")
    await seen(empty_town, like, f"Echo: {like}", locale="en-GB")

    elsewhere = {"user": "bob", "conversation": "c2"}
    imported = "is there a thunderstorm coming"
    assert await empty_town.say(imported, locale="en", **elsewhere) == [f"Echo: {imported}"]
    assert before[0].startswith(LOST)
    (lost,) = await empty_town.say(other, locale="en", conversation="c3")
    (foreign,) = await empty_town.say(like, locale="de", conversation="c4")
    assert lost.startswith(LOST)
    assert foreign.startswith(LOST)
    assert [one["locale"] for one in added["revision"]["languages"]] == ["en-us", "en-us"]


async def test_what_of_a_language_file_goes_to_another_skill_is_told_at_registration(
    empty_town: Town, published: list[str]
) -> None:
    await start_root(empty_town)
    first, second = published
    added, _ = await ordered(empty_town, "add", first)
    await ordered(empty_town, "approve", "echo")
    warned, _ = await ordered(empty_town, "add", second)
    approved, _ = await ordered(empty_town, "approve", "booking")

    assert added["overlaps"] == []
    assert warned["overlaps"] == approved["overlaps"]
    (overlap,) = warned["overlaps"]
    assert (overlap["skill"], overlap["to"]) == ("booking", "echo")
    assert (overlap["texts"], overlap["total"]) == (["will it rain in Oslo"], 2)

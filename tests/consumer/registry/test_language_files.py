"""From a `.lu` file at a skill's own server, by an operator's commands, to the skill: all while
the host runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import skills_host.app
from skills_host.cli.terminal import Exit
from skills_host.lab.world import toml_of
from tests.cli.test_commands import ran
from tests.consumer.manifest.test_fetch import Server, said, serving
from tests.consumer.registry.shelf import endpoint, manifest
from tests.consumer.registry.test_live import seen, start
from tests.world import CLOUD, IDS, ROOT, SKILLS, Town, bot_settings

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
async def published() -> AsyncIterator[list[Server]]:
    """Where the manifests of echo and booking are, each with its language files."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(serving([described(name, *intents), *map(text, files)]))
            for name, intents, files in (
                ("echo", ("Forecast",), (WEATHER, MORE)),
                ("booking", (), (TRIPS,)),
            )
        ]


def described(name: str, *intents: str) -> bytes:
    models = [{"name": name, "contentType": "application/lu", "url": "lu/main.lu"}]
    given = manifest(
        name,
        endpoints=endpoint(endpointUrl=f"{SKILLS[name]}/api/messages", msAppId=IDS[name]),
        dispatchModels={"languages": {"en-us": models}, "intents": list(intents)},
    )
    return said("200 OK", json.dumps(given).encode(), Content_Type="application/json")


def text(body: bytes) -> bytes:
    return said("200 OK", body, Content_Type="text/plain")


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
    empty_town: Town, published: list[Server]
) -> None:
    """Once it is approved, in every region of the language; of its other intents none does."""
    await start(empty_town)
    like, other = "will it rain in Paris today", "order a large pizza please"
    added, _ = await ordered(empty_town, "add", published[0].url())
    before = await empty_town.say(like, locale="en-GB")
    await ordered(empty_town, "approve", "echo", "--waive", "origin")
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
    empty_town: Town, published: list[Server]
) -> None:
    await start(empty_town)
    first, second = (server.url() for server in published)
    added, _ = await ordered(empty_town, "add", first)
    await ordered(empty_town, "approve", "echo", "--waive", "origin")
    warned, _ = await ordered(empty_town, "add", second)
    approved, _ = await ordered(empty_town, "approve", "booking", "--waive", "origin")

    assert added["overlaps"] == []
    assert warned["overlaps"] == approved["overlaps"]
    (overlap,) = warned["overlaps"]
    assert (overlap["skill"], overlap["to"]) == ("booking", "echo")
    assert (overlap["texts"], overlap["total"]) == (["will it rain in Oslo"], 2)

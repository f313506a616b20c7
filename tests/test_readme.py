"""The README's examples run as they stand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from skills_host import Root
from skills_host.bot.handlers import Bot
from tests.world import IDS, ROOT, Town

README = Path(__file__).parent.parent / "README.md"
HELLO = "http://127.0.0.1:3980"
BLOCK = re.compile(r"```(?:python|toml)\n# ([a-z.]+)\n(.*?)```", re.DOTALL)
EXAMPLES = dict(BLOCK.findall(README.read_text(encoding="utf-8")))


def example_bot(name: str) -> Bot:
    """The bot that an example file defines."""
    namespace: dict[str, Any] = {}
    exec(compile(EXAMPLES[name], name, "exec"), namespace)
    return next(value for value in namespace.values() if isinstance(value, Bot))


def example_tables(name: str) -> dict[str, Any]:
    """An example settings file, with the secret that the lab expects in this world."""
    tables = tomllib.loads(EXAMPLES[name])
    for bot, table in tables["bots"].items():
        table["credential"]["secret"] = {"hello": "echo-secret"}.get(bot, f"{bot}-secret")
    tables.pop("host")
    return tables


async def test_examples_talk_to_each_other(empty_town: Town) -> None:
    """The skill of ten lines behind the root of ten lines, with the settings shown."""
    town = empty_town
    assert example_tables("hello.toml")["bots"]["hello"]["app_id"] == IDS["echo"]
    await town.start(
        HELLO, "hello", example_tables("hello.toml"), {"hello": example_bot("hello.py")}
    )
    root = example_bot("root.py")
    assert isinstance(root, Root)
    await town.start(ROOT, "root", example_tables("root.toml"), {"root": root})

    assert await town.say("opening hours") == ["We are open from nine to five."]
    assert await town.say("say hello") == ["Hello say hello!"]
    assert await town.say("Ann") == ["Hello Ann!"]
    assert await town.say("bye") == ["hello is done: {'greeted': 'Ann'}"]


async def test_root_needs_no_code(empty_town: Town) -> None:
    """The settings alone make a complete root."""
    town = empty_town
    await town.start(
        HELLO, "hello", example_tables("hello.toml"), {"hello": example_bot("hello.py")}
    )
    await town.start(ROOT, "root", example_tables("root.toml"))

    assert await town.say("hello") == ["Hello hello!"]

"""The same code as a bot of its own and as a skill behind a root: its users see no difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skills_host import Activity, Bot, Turn
from tests.conftest import new_folder
from tests.world import ROOT, Lab, Town, bot_settings

CARD = {
    "contentType": "application/vnd.microsoft.card.adaptive",
    "content": {"type": "AdaptiveCard", "version": "1.5", "body": [{"text": "", "n": None}]},
}
ACTIONS = {"actions": [{"type": "imBack", "title": "yes", "value": "yes"}]}
WORDS = ("echo", "count", "count", "card", "suggest", "data", "typing", "entities", "members")
CHANGES = ("change", "take back", "two")
EVENT: dict[str, Any] = {"type": "event", "name": "ping", "value": {"n": 1.5}}
INVOKES = ("known", "unknown", "forgets", "breaks")


# A bot that knows everything that a bot can say.
bot = Bot()


@bot.on_message("count")
async def count(turn: Turn) -> None:
    turn.state.set("n", 1 + await turn.state.get("n", 0))
    turn.user.set("seen", 1 + await turn.user.get("seen", 0))
    await turn.send(f"{await turn.state.get('n')} {await turn.user.get('seen')}")


@bot.on_message("card")
async def card(turn: Turn) -> None:
    await turn.send(Activity.make("message", text="", attachments=[CARD]))


@bot.on_message("suggest")
async def suggest(turn: Turn) -> None:
    await turn.send(Activity.make("message", text="well?", suggested_actions=ACTIONS))


@bot.on_message("data")
async def data(turn: Turn) -> None:
    sent = turn.activity.channel_data
    await turn.send(Activity.make("message", text="data", channel_data=[sent, None, ""]))


@bot.on_message("typing")
async def typing(turn: Turn) -> None:
    await turn.send(Activity.make("typing"))
    await turn.send("typed")


@bot.on_message("entities")
async def entities(turn: Turn) -> None:
    mention = {"type": "mention", "text": "<at>ann</at>", "mentioned": {"id": "ann"}}
    await turn.send(Activity.make("message", text="<at>ann</at>", entities=[mention]))


@bot.on_message("members")
async def members(turn: Turn) -> None:
    names = [member.id for member in await turn.members()]
    await turn.send(f"{names} {(await turn.member('ann')).role}")


@bot.on_message("change")
async def change(turn: Turn) -> None:
    sent = await turn.send("first")
    await turn.update(sent, "second")


@bot.on_message("take back")
async def take_back(turn: Turn) -> None:
    await turn.delete(await turn.send("gone"))


@bot.on_message("two")
async def two(turn: Turn) -> None:
    ids = [await turn.send("one"), await turn.send("two")]
    await turn.update(ids[0], Activity.make("message", text="1", attachments=[CARD]))


@bot.on_message("end")
async def end(turn: Turn) -> None:
    await turn.send("bye")
    await turn.end({"n": 1})


@bot.on_message
async def echo(turn: Turn) -> None:
    who = turn.activity.from_
    await turn.send(f"{turn.text} {who.id} {turn.activity.locale} {turn.activity.channel_id}")


@bot.on_event("ping")
async def ping(turn: Turn) -> None:
    await turn.send(f"pong {json.dumps(turn.activity.value)}")


@bot.on_invoke("known")
async def known(turn: Turn) -> None:
    await turn.send("asked")
    turn.respond(201, {"got": turn.activity.value})


@bot.on_invoke("forgets")
async def forgets(turn: Turn) -> None:
    await turn.send("forgot")


@bot.on_invoke("breaks")
async def breaks(turn: Turn) -> None:
    raise ZeroDivisionError


async def spoken(town: Town, words: tuple[str, ...]) -> tuple[list[Any], list[Any]]:
    """The talk: what the channel got, ids replaced by their order, and the answers to invokes."""
    for number, word in enumerate(words):
        await town.post(word, id=f"u{number}", channelData={"clientActivityID": number})
    await town.post("", id="e1", **EVENT)
    answers = [await town.post("", type="invoke", name=name, value=[1]) for name in INVOKES]
    await town.post("end")
    entries = town.console.open("c1").transcript.entries
    order = {entry.activity_id: number for number, entry in reversed([*enumerate(entries)])}
    unique = {"replyToId": None, "id": None}
    said = [
        (entry.operation, order[entry.activity_id], entry.activity | unique) for entry in entries
    ]
    replies = [entry.reply_to for entry in entries[: len(words)]]
    return [*said, replies], [(answer.status, answer.body) for answer in answers]


async def alone(folder: Path, lab: Lab, words: tuple[str, ...]) -> tuple[list[Any], list[Any]]:
    """The talk with the bot on the channel."""
    town = Town(folder, lab)
    toml = {"bots": {"root": bot_settings("skill", "root")}}
    await town.start(ROOT, "root", toml, {"root": bot})
    try:
        return await spoken(town, words)
    finally:
        await town.close()


@pytest.mark.parametrize(
    ("delivery", "words"),
    [
        ("normal", (*WORDS, *CHANGES)),
        # What comes in the answer has no id, so nothing of it can be changed.
        ("expectReplies", WORDS),
        ("stream", WORDS),
    ],
)
async def test_skill_says_what_the_bot_says(
    empty_town: Town, lab: Lab, delivery: str, words: tuple[str, ...]
) -> None:
    """Texts, types, cards, data, order, and ids that can be used."""
    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(echo={"delivery": delivery})
    behind_root = await spoken(empty_town, words)
    with new_folder() as folder:
        by_itself = await alone(folder, lab, words)

    assert behind_root == by_itself
    assert len(by_itself[0]) > len(words)

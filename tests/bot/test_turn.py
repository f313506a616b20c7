"""What a bot's code may do in a turn, as a skill of some consumer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skills_host import Activity, Bot, Root, Turn
from skills_host.bot.dialog import Dialog, Step
from skills_host.bot.turn import Place
from skills_host.errors import ChannelFailed, NotOffered
from skills_host.transport import Response
from tests.conversing import Chat, opened
from tests.world import CONSOLE, IDS, ROOT, SKILLS, Town


async def in_turn(town: Town, code: Any, text: str = "echo", **echo: Any) -> None:
    """Run this code in a turn of the echo skill behind the root."""
    bot = Bot()
    bot.on_message(code)
    await town.start_skill("echo", bot)
    await town.start_root(echo=echo)
    await town.say(text)


def to_root(town: Town) -> list[Activity]:
    """What the skill posted to the root's skill host."""
    url = f"{ROOT}/api/skills/"
    sent = [request for request in town.send.sent if request.url.startswith(url)]
    return [Activity.parse(request.body) for request in sent if request.body]


# Members


@pytest.mark.parametrize("delivery", ["normal", "expectReplies", "stream"])
async def test_members_of_the_users_conversation(empty_town: Town, delivery: str) -> None:
    """A skill asks its caller, however its answers go back."""
    found: list[Any] = []

    async def ask(turn: Turn) -> None:
        found.extend(member.id for member in await turn.members())
        found.append((await turn.member("ann")).name)

    await in_turn(empty_town, ask, delivery=delivery)

    assert found == ["ann", "ann"]


async def test_member_that_is_not_there(empty_town: Town) -> None:
    """The channel's own refusal."""
    failures: list[ChannelFailed] = []

    async def ask(turn: Turn) -> None:
        with pytest.raises(ChannelFailed) as failed:
            await turn.member("nobody")
        failures.append(failed.value)

    await in_turn(empty_town, ask)

    assert [failure.answered for failure in failures] == [404]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'[{"id":7}]', b"words"])
async def test_members_that_cannot_be_read(empty_town: Town, body: bytes) -> None:
    """`ChannelFailed`, like everything that a channel does wrong."""
    failures: list[str] = []
    answer = Response(200, {}, body)
    empty_town.send.faults[CONSOLE] = lambda r: answer if r.method == "GET" else None

    async def ask(turn: Turn) -> None:
        with pytest.raises(ChannelFailed) as failed:
            await turn.members()
        failures.append(failed.value.code)

    await in_turn(empty_town, ask)

    assert failures == ["channel-failed"]


async def test_what_is_buffered_cannot_be_changed(tmp_path: Path) -> None:
    """It has no id: 501 says so to the code that tries."""
    bot = Bot()

    @bot.on_message
    async def change(turn: Turn) -> None:
        sent = await turn.send("one")
        with pytest.raises(NotOffered):
            await turn.update(sent, "two")
        with pytest.raises(NotOffered):
            await turn.delete(sent)

    async with opened(tmp_path) as store:
        assert await Chat(bot, store).say("go") == ["one"]


# Answers to the caller


async def test_replies_go_to_the_caller_with_its_audience(empty_town: Town) -> None:
    """To the `serviceUrl` of the activity, as an answer to it, from the account it was for."""

    async def answer(turn: Turn) -> None:
        await turn.send("hi")

    await in_turn(empty_town, answer)
    (said,) = to_root(empty_town)
    asked = empty_town.to_skill("echo")[0]
    (request,) = [r for r in empty_town.send.sent if f"{ROOT}/api/skills/" in r.url]

    assert request.url.endswith(f"/{asked.conversation.id}/activities/{asked.id}")
    assert (said.reply_to_id, said.conversation.id) == (asked.id, asked.conversation.id)
    assert (said.from_.id, said.recipient.id) == (f"bot-{IDS['root']}", "ann")


async def test_outgoing_json_is_tidy(empty_town: Town) -> None:
    """No nulls or empty strings in typed members, exact names, payloads untouched."""
    made = b'{"type":"message","text":"","speak":null,"summary":"","value":{"a":null},"name":"n"}'

    async def answer(turn: Turn) -> None:
        await turn.send(Activity.parse(made))

    await in_turn(empty_town, answer)
    (said,) = to_root(empty_town)

    assert {"speak", "summary"}.isdisjoint(said.members)
    assert (said.raw("text"), said.raw("value"), said.name) == (b'""', b'{"a":null}', "n")
    assert all(raw != b"null" for raw in said.members.values())


@pytest.mark.parametrize("mode", [None, "expectReplies", "stream"])
async def test_unanswered_invoke_is_not_offered(tmp_path: Path, mode: str | None) -> None:
    """Also where the code for it forgot to respond."""
    bot = Bot()

    @bot.on_invoke("forgets")
    async def forgets(turn: Turn) -> None:
        await turn.send("hm")

    async with opened(tmp_path) as store:
        chat = Chat(bot, store)
        for name in ("forgets", "unknown"):
            if mode is None:
                assert await chat.invoke(name) == (501, None)
                continue
            said = await chat.tell("invoke", name=name)
            assert (said[-1].type, said[-1].value["status"]) == ("invokeResponse", 501)


# Ends


async def test_end_carries_code_value_and_text(empty_town: Town) -> None:
    async def end(turn: Turn) -> None:
        await turn.end({"n": 1}, code="mine", text="because")

    await in_turn(empty_town, end)
    (said,) = to_root(empty_town)

    assert (said.type, said.code, said.value, said.text) == (
        *("endOfConversation", "mine", {"n": 1}, "because"),
    )


async def test_nobodys_skill_sends_no_end(empty_town: Town) -> None:
    """A bot on a channel has no caller: its user's channel is told nothing."""
    root = Root()

    @root.on_message("end")
    async def end(turn: Turn) -> None:
        await turn.end("done")
        await turn.send("bye")

    await empty_town.start_root(root=root)

    assert await empty_town.say("end") == ["bye"]
    assert len(empty_town.console.open("c1").transcript.entries) == 1


# Speaking first


async def proactive(town: Town, **echo: Any) -> tuple[Bot, list[bytes]]:
    """A skill that keeps the place of its first turn."""
    bot, places = Bot(), []

    @bot.on_message
    async def keep(turn: Turn) -> None:
        places.append(turn.place.encode())
        await turn.send("later")

    await town.start_skill("echo", bot)
    await town.start_root(echo=echo)
    await town.say("echo")
    return bot, places


async def speak(turn: Turn) -> None:
    await turn.send("now")


@pytest.mark.parametrize("delivery", ["normal", "expectReplies", "stream"])
async def test_skill_speaks_first_later(empty_town: Town, delivery: str) -> None:
    """Half an hour later, however the conversation was begun."""
    bot, (kept,) = await proactive(empty_town, delivery=delivery)
    start = empty_town.now()
    empty_town.now = lambda: start + 1800
    await bot.continue_conversation(Place.parse(kept), speak)

    assert empty_town.said() == ["later", "now"]


@pytest.mark.parametrize("delivery", ["normal", "expectReplies", "stream"])
async def test_skill_speaks_first_after_a_restart(empty_town: Town, delivery: str) -> None:
    """Of both: what it kept is enough."""
    _, (kept,) = await proactive(empty_town, delivery=delivery)
    for base in (ROOT, SKILLS["echo"]):
        await empty_town.stop(base)
    again = Bot()
    await empty_town.start_skill("echo", again)
    await empty_town.start_root()
    await again.continue_conversation(Place.parse(kept), speak)

    assert empty_town.said() == ["later", "now"]


async def test_state_is_kept_when_a_skill_speaks_first(empty_town: Town) -> None:
    """It is the state of the conversation that it spoke in."""
    bot, (kept,) = await proactive(empty_town)
    found = []

    async def count(turn: Turn) -> None:
        turn.state.set("n", 1 + await turn.state.get("n", 0))
        found.append(await turn.state.get("n"))

    for _ in range(2):
        await bot.continue_conversation(Place.parse(kept), count)

    assert found == [1, 2]


async def test_skill_that_speaks_after_the_end_is_told(empty_town: Town) -> None:
    """An error in its own code: nobody hears it."""
    bot, (kept,) = await proactive(empty_town)
    await empty_town.say("cancel")

    with pytest.raises(ChannelFailed) as failed:
        await bot.continue_conversation(Place.parse(kept), speak)
    assert (failed.value.answered, failed.value.code) == (404, "channel-refused")
    assert empty_town.said()[-1] == "echo was cancelled."


async def test_root_speaks_first(empty_town: Town) -> None:
    """In its own name, whoever has the floor."""
    root, places = Root(), []

    @root.on_message("keep")
    async def keep(turn: Turn) -> None:
        places.append(turn.place.encode())

    await empty_town.start_root(root=root)
    await empty_town.say("keep")
    await root.continue_conversation(Place.parse(places[0]), speak)

    (entry,) = empty_town.console.open("c1").transcript.entries
    assert (entry.text, entry.speaker) == ("now", None)


async def test_bot_that_is_not_served_cannot_speak_first() -> None:
    with pytest.raises(TypeError, match="not served"):
        await Bot().continue_conversation(Place.parse(b"{}"), speak)


# What a caller asks


async def test_end_from_the_caller_closes_the_dialog(empty_town: Town) -> None:
    """The code for ends is called, and the state of the dialog is gone."""
    bot, ends = Bot(), []

    async def finish(turn: Turn, answers: dict[str, Any]) -> None:
        await turn.end(answers)

    form = bot.add(Dialog("form", [Step("name", "Who?")], finish=finish))

    @bot.on_message
    async def begin(turn: Turn) -> None:
        await form.begin(turn)

    @bot.on_end
    async def ended(turn: Turn) -> None:
        ends.append((turn.activity.code, turn.speaker))

    await empty_town.start_skill("echo", bot)
    await empty_town.start_root()
    assert await empty_town.say("echo") == ["Who?"]
    assert len(empty_town.records("state", of="echo")) == 1
    await empty_town.say("cancel")
    await empty_town.quiet()

    assert ends == [("userCancelled", None)]
    assert empty_town.records("state", of="echo") == {}

"""Which handler a turn gets, and what happens where none fits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from skills_host.activity import Activity
from skills_host.bot.dialog import Dialog, Step
from skills_host.bot.handlers import Bot, Handler, folded
from skills_host.bot.turn import SendNext, Turn
from skills_host.store.records import Store
from tests.conversing import Chat, opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with opened(tmp_path) as store:
        yield store


def saying(text: str) -> Handler:
    """A handler that says this."""

    async def handler(turn: Turn) -> None:
        await turn.send(text)

    return handler


# Messages


@pytest.mark.parametrize("text", ["help", "HELP", "  Help! ", "help.", "hELP?!"])
async def test_very_words_come_before_all_others(store: Store, text: str) -> None:
    """However they are written."""
    bot = Bot()
    bot.on_message(saying("anything"))
    bot.on_message("help", "what now")(saying("help"))

    assert await Chat(bot, store).say(text) == ["help"]
    assert await Chat(bot, store).say("what   now") == ["help"]


@pytest.mark.parametrize("text", ["help me", "", "?", "hel p"])
async def test_other_words_are_for_everything_else(store: Store, text: str) -> None:
    bot = Bot()
    bot.on_message("help")(saying("help"))
    bot.on_message()(saying("anything"))

    assert await Chat(bot, store).say(text) == ["anything"]


async def test_words_without_a_handler_are_ignored(store: Store) -> None:
    assert await Chat(Bot(), store).say("hello") == []


def test_words_are_compared_folded() -> None:
    assert folded("  Straße \n TO nowhere?! ") == "strasse to nowhere"


# Other activities


async def test_events_go_by_name(store: Store) -> None:
    bot = Bot()
    bot.on_event("book", "plan")(saying("booked"))
    bot.on_event()(saying("any event"))
    chat = Chat(bot, store)

    names = ["book", "plan", "Book", None]
    replies = [await chat.tell("event", name=name) for name in names]

    assert [reply[0].text for reply in replies] == ["booked", "booked", "any event", "any event"]


async def test_an_invoke_is_answered(store: Store) -> None:
    bot = Bot()

    @bot.on_invoke("sum")
    async def add(turn: Turn) -> None:
        turn.respond(200, {"sum": sum(turn.activity.value)})

    chat = Chat(bot, store)

    assert await chat.invoke("sum", value=[1, 2]) == (200, {"sum": 3})
    assert await chat.invoke("other") == (501, None)


async def test_an_unhandled_invoke_is_answered_among_replies(store: Store) -> None:
    """Whoever waits for it gets a status."""
    replies = await Chat(Bot(), store).tell("invoke", name="other")

    assert [(reply.type, reply.value["status"]) for reply in replies] == [("invokeResponse", 501)]


async def test_an_end_has_a_handler(store: Store) -> None:
    bot = Bot()
    ends: list[str | None] = []

    @bot.on_end
    async def note(turn: Turn) -> None:
        ends.append(turn.activity.code)

    await Chat(bot, store).tell("endOfConversation", code="userCancelled")

    assert ends == ["userCancelled"]


async def test_other_types_have_handlers_too(store: Store) -> None:
    bot = Bot()
    bot.on_activity("typing", "messageReaction")(saying("seen"))
    chat = Chat(bot, store)

    for type in ("typing", "messageReaction"):
        assert [reply.text for reply in await chat.tell(type)] == ["seen"]
    assert await chat.tell("conversationUpdate") == []


# Registering


@pytest.mark.parametrize(
    "again",
    [
        lambda bot: bot.on_message(saying("b")),
        lambda bot: bot.on_message()(saying("b")),
        lambda bot: bot.on_message("HELP.")(saying("b")),
        lambda bot: bot.on_event("book")(saying("b")),
        lambda bot: bot.on_activity("typing")(saying("b")),
    ],
)
def test_two_handlers_for_the_same_are_a_mistake(again: Callable[[Bot], object]) -> None:
    bot = Bot()
    bot.on_message(saying("a"))
    bot.on_message("help")(saying("a"))
    bot.on_event("book")(saying("a"))
    bot.on_activity("typing")(saying("a"))

    with pytest.raises(TypeError, match="has a handler already"):
        again(bot)


def test_a_decorator_leaves_the_handler_as_it_is() -> None:
    handler = saying("a")
    bot = Bot()

    assert bot.on_message(handler) is handler
    assert bot.on_event("x")(handler) is handler
    assert bot.on_activity("typing")(handler) is handler


# Middleware and hooks


async def test_middleware_wraps_every_turn(store: Store) -> None:
    bot = Bot()
    seen: list[str] = []

    async def watch(turn: Turn, call_next: Handler) -> None:
        seen.append(turn.activity.type)
        await call_next(turn)
        seen.append("done")

    bot.use(watch)
    chat = Chat(bot, store)
    await chat.tell("typing")

    assert seen == ["typing", "done"]


async def test_hooks_see_all_that_goes_out(store: Store) -> None:
    """They may change it, or drop it."""
    bot = Bot()
    bot.on_message("hush")(saying("secret"))
    bot.on_message(saying("loud"))

    async def soften(turn: Turn, activity: Activity, call_next: SendNext) -> str:
        if activity.text == "secret":
            return ""
        return await call_next(turn, activity.with_(text="softly"))

    bot.use_on_send(soften)
    chat = Chat(bot, store)

    assert (await chat.say("hi"), await chat.say("hush")) == (["softly"], [])


# Dialogs


def asking() -> Bot:
    """A bot with one dialog of one question, and handlers beside it."""
    bot = Bot()

    async def finish(turn: Turn, answers: dict[str, object]) -> None:
        await turn.send(f"thanks for {answers['name']}")

    dialog = bot.add(Dialog("who", [Step("name", ask="Who?")], finish=finish))
    bot.on_message("begin")(dialog.begin)
    bot.on_message("help")(saying("help"))
    bot.on_event("ping")(saying("pong"))
    return bot


async def test_a_dialog_comes_before_all_words(store: Store) -> None:
    chat = Chat(asking(), store)

    assert await chat.say("begin") == ["Who?"]
    assert await chat.say("help") == ["thanks for help"]
    assert await chat.say("help") == ["help"]


async def test_events_do_not_answer_a_dialog(store: Store) -> None:
    chat = Chat(asking(), store)
    await chat.say("begin")

    assert [reply.text for reply in await chat.tell("event", name="ping")] == ["pong"]
    assert await chat.say("ann") == ["thanks for ann"]


async def test_an_end_closes_the_dialog(store: Store) -> None:
    chat = Chat(asking(), store)
    await chat.say("begin")

    await chat.tell("endOfConversation")

    assert await chat.say("help") == ["help"]


async def test_a_dialog_that_is_gone_is_not_in_the_way(store: Store) -> None:
    """A newer version of the bot may not have it any more."""
    await Chat(asking(), store).say("begin")
    newer = Bot()
    newer.on_message(saying("hello"))

    assert await Chat(newer, store).say("ann") == ["hello"]


def test_only_an_end_overtakes() -> None:
    bot = Bot()

    assert bot.overtakes(Activity.make("endOfConversation"))
    assert not bot.overtakes(Activity.make("message", text="cancel"))

"""The root's turn: who gets the user's words, and what becomes of an end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skills_host import Activity, Bot, Root, Turn
from skills_host.errors import StateConflict
from tests.conftest import open_town
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.world import IDS, ROOT, SKILLS, Town


def mention(name: str) -> list[dict[str, Any]]:
    """Entities with a mention of a member, or of the bot."""
    who = f"bot-{IDS['root']}" if name == "Root" else name
    return [{"type": "mention", "text": f"<at>{name}</at>", "mentioned": {"id": who}}]


# Picking a skill


async def test_skill_is_picked_by_its_name(town: Town) -> None:
    """Case and punctuation do not matter."""
    assert await town.say("Booking, please!") == ["Where do you want to go?"]


async def test_skill_is_picked_by_a_phrase(town: Town) -> None:
    """Anywhere in what is said."""
    assert await town.say("I would like to book a trip now") == ["Where do you want to go?"]


async def test_two_equal_skills_are_asked_about(town: Town) -> None:
    """Nobody is guessed."""
    await town.stop(ROOT)
    await town.start_root(echo={"phrases": ["do it"]}, booking={"phrases": ["do it"]})

    asks = "Which one do you mean: 1. echo, 2. booking, 3. None of these?"
    assert await town.say("do it") == [asks]
    assert not town.to_skill("echo") + town.to_skill("booking")


async def test_unknown_words_are_answered_with_what_there_is(town: Town) -> None:
    """And nobody else hears them."""
    (said,) = await town.say("what is the weather like?")

    assert "did not understand" in said
    assert "echo" in said and "booking" in said
    assert not town.to_skill("echo") + town.to_skill("booking")


async def test_help_lists_the_skills(town: Town) -> None:
    """And says how to get out of one."""
    (said,) = await town.say("Help!")

    assert "echo" in said and "cancel" in said


async def test_newcomer_is_greeted(town: Town) -> None:
    """The bot's own arrival is no reason to."""
    joined = {"type": "conversationUpdate", "membersAdded": [{"id": f"bot-{IDS['root']}"}]}
    assert not await town.say("", **joined)
    (said,) = await town.say("", **joined | {"membersAdded": [{"id": "ann"}]})

    assert said.startswith("Hello!")


async def test_mention_is_not_part_of_the_words(town: Town) -> None:
    """In a group, the bot hears only what mentions it."""
    here: dict[str, Any] = {"conversation": "team", "is_group": True}
    said = await town.say("<at>Root</at> help", entities=mention("Root"), **here)

    assert "cancel" in said[0]
    said = await town.say("<at>Root</at> booking", entities=mention("Root"), **here)
    assert said == ["Where do you want to go?"]


async def test_mention_does_not_hide_cancel(town: Town) -> None:
    """The way out is open in groups too."""
    here: dict[str, Any] = {"conversation": "team", "is_group": True}
    await town.say("echo", **here)

    said = await town.say("<at>Root</at> cancel", entities=mention("Root"), **here)
    assert said == ["echo was cancelled."]


async def test_mention_of_somebody_else_stays(town: Town) -> None:
    """It is part of what is said."""
    said = await town.say("echo <at>bob</at>", entities=mention("bob"))

    assert said == ["Echo: echo <at>bob</at>"]


async def test_nobody_listens_to_the_end_of_a_very_long_text(town: Town) -> None:
    """Megabytes of words are not searched; who names a skill does so sooner."""
    assert await town.say("echo " + "word " * 200_000) != []
    assert await town.say("cancel" + " " * 5000 + "not") == ["Echo: cancel" + " " * 5000 + "not"]
    await town.say("cancel")

    assert "did not understand" in (await town.say("word " * 5000 + "echo"))[0]


# The root's own words


async def test_own_words_come_before_skills(empty_town: Town) -> None:
    """A root can take a word that a skill would answer to."""
    root = Root()

    @root.on_message("echo")
    async def own(turn: Turn) -> None:
        await turn.send("my own echo")

    await open_town(empty_town, root)

    assert await empty_town.say("Echo!") == ["my own echo"]
    assert not empty_town.to_skill("echo")
    assert await empty_town.say("repeat after me") == ["Echo: repeat after me"]


async def test_own_words_are_heard_behind_a_mention(empty_town: Town) -> None:
    """As the skills' phrases are."""
    root = Root()

    @root.on_message("hours")
    async def own(turn: Turn) -> None:
        await turn.send("nine to five")

    await open_town(empty_town, root)

    said = await empty_town.say("<at>Root</at> hours?", entities=mention("Root"))
    assert said == ["nine to five"]


async def test_active_skill_comes_before_own_words(empty_town: Town) -> None:
    """Whoever has the floor hears everything but the words that cancel."""
    root = Root()

    @root.on_message("hours")
    async def own(turn: Turn) -> None:
        await turn.send("nine to five")

    await open_town(empty_town, root)
    await empty_town.say("echo")

    assert await empty_town.say("hours") == ["Echo: hours"]


async def test_plain_handler_comes_after_skills(empty_town: Town) -> None:
    """It gets what nobody else takes."""
    root = Root()

    @root.on_message
    async def rest(turn: Turn) -> None:
        await turn.send(f"mine: {turn.text}")

    await open_town(empty_town, root)

    assert await empty_town.say("hello") == ["mine: hello"]
    assert await empty_town.say("echo") == ["Echo: echo"]


async def test_invoke_that_nobody_handles_is_not_offered(town: Town) -> None:
    """501, as channels expect."""
    answer = await town.post("", type="invoke", name="task/fetch")

    assert (answer.status, answer.body) == (501, b"")


# Keeping the floor


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_skill_keeps_the_floor_until_it_ends(empty_town: Town, echo: dict[str, str]) -> None:
    """In both ways of delivery, with one conversation id."""
    town = await open_town(empty_town, echo=echo)
    said = [await town.say(text) for text in ("echo", "booking", "help", "end")]

    assert said[:3] == [["Echo: echo"], ["Echo: booking"], ["Echo: help"]]
    assert said[3] == ["Goodbye after 3 messages."]
    assert len({activity.conversation.id for activity in town.to_skill("echo")}) == 1
    assert await town.say("booking") == ["Where do you want to go?"]


async def test_new_session_has_a_new_conversation_id(town: Town) -> None:
    """An end is final."""
    await town.say("echo")
    first = town.handle("echo")
    await town.say("end")
    await town.say("echo")

    assert town.handle("echo") != first


async def test_skill_is_addressed_as_a_skill(town: Town) -> None:
    """With the root as its channel, and the user's conversation as what it relates to."""
    await town.say("echo")
    sent = town.to_skill("echo")[0]

    assert sent.service_url == f"{ROOT}/api/skills"
    assert sent.recipient.role == "skill"
    assert sent.get("relatesTo")["conversation"]["id"] == "c1"
    assert sent.raw("callerId") is None
    assert sent.from_.id == "ann"


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_reply_is_the_roots_in_the_users_conversation(
    empty_town: Town, echo: dict[str, str]
) -> None:
    """The user never sees who else is behind the bot."""
    town = await open_town(empty_town, echo=echo)
    await town.say("echo")
    entry = town.console.conversation("c1").transcript.entries[0]
    asked = town.to_skill("echo")[0].id

    assert entry.activity["from"]["id"] == f"bot-{IDS['root']}"
    assert entry.activity["recipient"]["id"] == "ann"
    assert entry.activity["conversation"]["id"] == "c1"
    assert entry.activity["serviceUrl"] == "http://127.0.0.1:9001"
    assert entry.reply_to == asked == entry.activity["replyToId"]
    assert entry.speaker == "echo"


# Ends


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_root_gets_value_and_code_of_an_end(empty_town: Town, echo: dict[str, str]) -> None:
    """Whichever way it comes."""
    root = Witness()
    town = await open_town(empty_town, root, echo=echo)
    await town.say("echo")
    await town.say("end")

    assert root.ends == [("echo", "completedSuccessfully", {"echoed": 1})]


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_root_may_speak_when_a_skill_ends(empty_town: Town, echo: dict[str, str]) -> None:
    """In its own name."""
    root = Root()

    @root.on_end
    async def done(turn: Turn) -> None:
        await turn.send(f"{turn.speaker} counted {turn.activity.value['echoed']}")

    town = await open_town(empty_town, root, echo=echo)
    await town.say("echo")

    assert (await town.say("end"))[1] == "echo counted 1"
    assert town.console.conversation("c1").transcript.entries[-1].speaker is None


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_configured_text_follows_an_end(empty_town: Town, echo: dict[str, Any]) -> None:
    """`texts.ended` is said to the user."""
    town = await open_town(empty_town, echo=echo | {"texts": {"ended": "That was echo."}})
    await town.say("echo")

    assert (await town.say("end"))[1:] == ["That was echo."]


async def test_rest_of_the_list_follows_an_end(empty_town: Town) -> None:
    """An end in the middle of expectReplies is carried out last, and once."""
    bot = Bot()

    @bot.on_message
    async def all_at_once(turn: Turn) -> None:
        await turn.send("before")
        await turn.end({"n": 1})
        await turn.send("after")
        await turn.send(Activity.make("event", name="late", value=2))
        await turn.end({"n": 3})

    root = Witness()
    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(root=root, echo=EXPECT_REPLIES)

    assert await empty_town.say("echo") == ["before", "after"]
    assert root.events == [("echo", "late", 2)]
    assert root.ends == [("echo", "completedSuccessfully", {"n": 1})]
    assert "did not understand" in (await empty_town.say("more"))[0]


async def test_late_end_changes_nothing(town: Town) -> None:
    """Another skill has the floor already, and keeps it."""
    await town.say("echo")
    old = town.handle("echo")
    await town.say("end")
    await town.say("booking")

    assert await town.callback("echo", old, {"type": "endOfConversation"}) == (
        404,
        "conversation-ended",
    )
    assert await town.say("Lisbon") == ["On which day? (YYYY-MM-DD)"]


async def test_late_end_of_the_same_skill_changes_nothing(town: Town) -> None:
    """Its next conversation is another one."""
    await town.say("echo")
    old = town.handle("echo")
    await town.say("cancel")
    await town.say("echo")

    await town.callback("echo", old, {"type": "endOfConversation"})
    assert await town.say("still there?") == ["Echo: still there?"]


async def test_doubled_end_is_told_once(empty_town: Town) -> None:
    """The second finds nothing."""
    root = Witness()
    town = await open_town(empty_town, root)
    await town.say("echo")
    end = {"type": "endOfConversation", "code": "done"}

    answers = [await town.callback("echo", town.handle("echo"), end) for _ in range(2)]
    assert answers == [(200, ""), (404, "conversation-ended")]
    assert root.ends == [("echo", "done", None)]


async def test_failing_handler_does_not_bring_a_skill_back(empty_town: Town) -> None:
    """The end is acknowledged, the user is told, and the floor is free."""
    root = Root()

    @root.on_end
    async def broken(turn: Turn) -> None:
        raise ZeroDivisionError

    town = await open_town(empty_town, root)
    await town.say("echo")
    answer = await town.callback("echo", town.handle("echo"), {"type": "endOfConversation"})

    assert answer == (200, "")
    assert len(town.said()) == 2
    assert "went wrong" in town.said()[-1]
    assert await town.say("booking") == ["Where do you want to go?"]


async def test_handler_that_conflicts_does_not_post_twice(empty_town: Town) -> None:
    """What the root's code raises never makes the turn begin again."""
    root = Root()

    @root.on_end
    async def broken(turn: Turn) -> None:
        raise StateConflict

    bot = Bot()

    @bot.on_message
    async def done(turn: Turn) -> None:
        await turn.end()

    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(root=root, echo=EXPECT_REPLIES)
    await empty_town.say("echo")

    assert len(empty_town.to_skill("echo")) == 1


# Events and commands


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
@pytest.mark.parametrize(
    ("type", "name"), [("event", "ping"), ("command", "ping"), ("commandResult", "ping")]
)
async def test_event_of_a_skill_is_for_the_root_alone(
    empty_town: Town, echo: dict[str, str], type: str, name: str
) -> None:
    """The user sees nothing of it."""
    bot, seen = Bot(), []

    @bot.on_message
    async def tell(turn: Turn) -> None:
        await turn.send(Activity.make(type, name=name, value=[1]))

    root = Root()

    @root.on_activity("event", "command", "commandResult")
    async def note(turn: Turn) -> None:
        seen.append((turn.speaker, turn.activity.type, turn.activity.value))

    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(root=root, echo=echo)

    assert not await empty_town.say("echo")
    assert seen == [("echo", type, [1])]


async def test_application_command_is_for_the_channel(town: Town) -> None:
    """Commands of the protocol go where the user is."""
    await town.say("echo")
    command = {"type": "command", "name": "application/search", "value": {"id": 1}}
    await town.callback("echo", town.handle("echo"), command)

    last = town.console.conversation("c1").transcript.entries[-1].activity
    assert (last["type"], last["name"]) == ("command", "application/search")


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_trace_of_a_skill_is_not_for_users(empty_town: Town, echo: dict[str, str]) -> None:
    """Only the Emulator would show it."""
    bot = Bot()

    @bot.on_message
    async def tell(turn: Turn) -> None:
        turn.activity = turn.activity.with_(channel_id="emulator")
        await turn.send(Activity.make("trace", name="BotState"))
        await turn.send("visible")

    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(echo=echo)

    assert await empty_town.say("echo") == ["visible"]


# Invokes


async def invoked(town: Town, bot: Bot, **settings: Any) -> tuple[int, Any]:
    """What the channel gets when it invokes something while the skill has the floor."""

    @bot.on_message
    async def take_the_floor(turn: Turn) -> None:
        await turn.send("here")

    await town.start_skill("echo", bot)
    await town.start_root(echo=settings)
    await town.say("echo")
    answer = await town.post("", type="invoke", name="ask", value={"a": 1})
    return answer.status, json.loads(answer.body) if answer.body else None


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_invoke_is_answered_by_the_active_skill(
    empty_town: Town, echo: dict[str, str]
) -> None:
    """Status and body of its answer, in both ways of delivery."""
    bot = Bot()

    @bot.on_invoke("ask")
    async def answer(turn: Turn) -> None:
        turn.respond(201, {"got": turn.activity.value})

    assert await invoked(empty_town, bot, **echo) == (201, {"got": {"a": 1}})


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_invoke_that_the_skill_does_not_know(empty_town: Town, echo: dict[str, str]) -> None:
    """501 comes from the skill as well."""
    assert await invoked(empty_town, Bot(), **echo) == (501, None)


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_invoke_that_ends_the_skill_is_still_answered(
    empty_town: Town, echo: dict[str, str]
) -> None:
    """The end does not take the place of the response."""
    bot = Bot()

    @bot.on_invoke("ask")
    async def answer(turn: Turn) -> None:
        await turn.end({"done": True})
        turn.respond(200, {"ok": 1})

    assert await invoked(empty_town, bot, **echo) == (200, {"ok": 1})
    assert "did not understand" in (await empty_town.say("hello"))[0]


async def test_invoke_of_an_unreachable_skill_fails(town: Town) -> None:
    """The channel gets a status that says so."""
    await town.say("echo")
    await town.stop(SKILLS["echo"])
    answer = await town.post("", type="invoke", name="ask")

    assert answer.status == 502


async def test_active_skill_that_is_gone_from_the_settings(empty_town: Town) -> None:
    """Its user is told, and free."""
    root = Witness()
    town = await open_town(empty_town)
    await town.say("echo")
    await town.stop(ROOT)
    toml = {
        "bots": {
            "root": {
                "kind": "root",
                "app_id": IDS["root"],
                "credential": {"secret": "root-secret"},
            }
        }
    }
    await town.start(ROOT, "root", toml, {"root": root})

    assert await town.say("hello") == ["echo is not available right now. Please try again later."]
    assert root.ends == [("echo", "channelFailed", None)]
    assert "did not understand" in (await town.say("hello"))[0]

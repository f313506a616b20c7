"""The way out: cancelling overtakes everything, and reaches the skill."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from skills.echo import bot as echo_bot
from skills_host import Activity, Root, Turn
from skills_host.consumer.calls import OpenCalls
from skills_host.consumer.relays import Relays
from skills_host.consumer.routing.reserved import ReservedKind
from skills_host.errors import SkillFailed
from skills_host.store.memory import MemoryStore
from skills_host.transport import Request
from skills_host.wire import decode
from tests.conftest import open_town
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.world import SKILLS, Hold, Town, until


def hold_messages(town: Town, name: str = "echo") -> Hold:
    """A skill whose answers to messages never come; it still takes ends."""

    def is_message(request: Request) -> bool:
        return bool(decode(request.body or b"{}")["type"] == "message")

    hold = town.send.faults[SKILLS[name]] = Hold(is_message)
    return hold


async def ends_at(town: Town, name: str = "echo") -> list[Activity]:
    """The ends that the root posts to a skill, as soon as there is one."""

    def found() -> list[Activity]:
        return [sent for sent in town.to_skill(name) if sent.type == "endOfConversation"]

    await until(found)
    return found()


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_cancel_overtakes_an_open_call(
    empty_town: Town, echo: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered at once, the open turn ends silently, and the next message works."""
    town = await open_town(empty_town, echo=echo)
    await town.say("echo")
    hold = hold_messages(town)
    open_turn = asyncio.create_task(town.post("hello"))
    await hold.arrived.wait()

    assert await town.say("Cancel!") == ["echo was cancelled."]
    assert (await open_turn).status == 200
    assert await town.say("booking") == ["Where do you want to go?"]
    assert town.said() == ["Echo: echo", "echo was cancelled.", "Where do you want to go?"]
    assert not caplog.messages
    hold.go.set()


async def test_cancel_reaches_the_skill(town: Town) -> None:
    """As an end in its conversation, from whom its consumer speaks for."""
    await town.say("echo")
    first = town.to_skill("echo")[0]
    await town.say("cancel")
    (end,) = await ends_at(town)

    assert end.code == "userCancelled"
    assert end.conversation.id == first.conversation.id
    assert (end.from_.id, end.channel_id, end.service_url) == ("ann", "console", first.service_url)
    assert end.recipient.role == "skill"
    await until(lambda: not town.records("state", of="echo"))


async def test_cancelled_skill_is_not_heard(town: Town) -> None:
    """Its late replies and ends lead nowhere."""
    await town.say("echo")
    hold = hold_messages(town)
    open_turn = asyncio.create_task(town.post("hello"))
    await hold.arrived.wait()
    handle = town.handle("echo")
    await town.say("cancel")

    for late in ({"type": "message", "text": "late"}, {"type": "endOfConversation"}):
        assert await town.callback("echo", handle, late) == (404, "conversation-ended")
    assert town.said()[-1] == "echo was cancelled."
    hold.go.set()
    await open_turn


async def test_root_hears_of_a_cancelled_skill(empty_town: Town) -> None:
    """With the code that says whose wish it was."""
    root = Witness()
    town = await open_town(empty_town, root)
    await town.say("echo")
    await town.say("cancel")

    assert root.ends == [("echo", "userCancelled", None)]


async def test_nothing_to_cancel_is_said(town: Town) -> None:
    """The words are not passed on to anybody."""
    assert await town.say("cancel") == ["There is nothing to cancel."]
    assert not town.to_skill("echo")


async def test_skill_that_cannot_be_told_does_not_matter(town: Town) -> None:
    """The user is free without its consent."""
    await town.say("echo")
    await town.stop(SKILLS["echo"])

    assert await town.say("cancel") == ["echo was cancelled."]
    assert await town.say("booking") == ["Where do you want to go?"]


async def test_two_cancels_at_once_cancel_once(empty_town: Town) -> None:
    """The second finds nothing."""
    root = Witness()
    town = await open_town(empty_town, root)
    await town.say("echo")
    await asyncio.gather(town.post("cancel"), town.post("cancel"))

    said = sorted(town.said()[1:])
    assert said == ["There is nothing to cancel.", "echo was cancelled."]
    assert len(await ends_at(town)) == len(root.ends) == 1


async def test_cancel_and_end_at_once_end_once(empty_town: Town) -> None:
    """Whoever comes first closes; the other does nothing."""
    root = Witness()
    town = await open_town(empty_town, root)
    for _ in range(8):
        root.ends.clear()
        await town.say("echo")
        end = town.callback("echo", town.handle("echo"), {"type": "endOfConversation"})
        await asyncio.gather(town.post("cancel"), end)

        assert len(root.ends) == 1
        assert "did not understand" in (await town.say("hello"))[0]


async def test_other_words_can_be_reserved(empty_town: Town) -> None:
    """The root says which."""
    town = await open_town(empty_town, Root(cancel=["Abbrechen"]))
    await town.say("echo")

    assert await town.say("cancel") == ["Echo: cancel"]
    assert await town.say("abbrechen!") == ["echo was cancelled."]


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        *[
            ("Abbrechen!", "de-CH"),
            ("recommencer", "fr-FR"),
            ("キャンセル", "ja"),
            ("start over", ""),
        ],
        *[("cancelar", None), ("cancel", "nl")],
    ],
)
async def test_cancel_in_the_users_language(town: Town, text: str, locale: str | None) -> None:
    """As the channel says; any that is known where it says nothing."""
    await town.say("echo")

    assert await town.say(text, locale=locale) == ["echo was cancelled."]


async def test_words_of_settings_come_before_those_of_code(empty_town: Town) -> None:
    root = Root(words={"de": {ReservedKind.CANCEL: ["raus"]}})
    await empty_town.start_skill("echo", echo_bot)
    routing = {"words": {"de": {"cancel": ["weg hier"]}}}
    await empty_town.start_root(root=root, routing=routing)
    await empty_town.say("echo", locale="de")

    assert await empty_town.say("raus", locale="de") == ["Echo: raus"]
    assert await empty_town.say("Weg hier!", locale="de") == ["echo was cancelled."]


async def test_configured_text_is_said(empty_town: Town) -> None:
    """`texts.cancelled` takes the place of the root's words."""
    town = await open_town(empty_town, echo={"texts": {"cancelled": "Bye, {title}."}})
    await town.say("echo")

    assert await town.say("cancel") == ["Bye, echo."]


async def test_end_from_the_channel_cancels_silently(empty_town: Town) -> None:
    """Nobody is there to be told; the skill and the root are."""
    root = Witness()
    town = await open_town(empty_town, root)
    await town.say("echo")

    assert not await town.say("", type="endOfConversation")
    assert len(await ends_at(town)) == 1
    assert root.ends == [("echo", "userCancelled", None)]


async def test_open_invoke_is_answered_when_it_is_cancelled(town: Town) -> None:
    """A channel that waits for a response gets one."""
    await town.say("echo")
    hold = town.send.faults[SKILLS["echo"]] = Hold()
    open_turn = asyncio.create_task(town.post("", type="invoke", name="ask"))
    await hold.arrived.wait()
    await town.say("cancel")

    assert (await open_turn).status == 502
    hold.go.set()


async def test_only_ones_own_skill_is_cancelled(town: Town) -> None:
    """In a group, others keep theirs."""
    here: dict[str, Any] = {"conversation": "team", "is_group": True}
    await town.say("echo", user="ann", **here)
    await town.say("echo", user="bob", **here)
    await town.say("cancel", user="ann", **here)

    assert await town.say("hello", user="bob", **here) == ["Echo: hello"]


async def test_message_behind_the_open_call_is_handled(town: Town) -> None:
    """What waited for the cancelled turn gets its turn."""
    await town.say("echo")
    hold = hold_messages(town)
    open_turn = asyncio.create_task(town.post("hello"))
    await hold.arrived.wait()
    known = len(town.records("inbound"))
    waiting = asyncio.create_task(town.post("booking"))
    await until(lambda: len(town.records("inbound")) > known)
    await town.post("cancel")
    await asyncio.gather(open_turn, waiting)

    assert sorted(town.said()[1:]) == ["Where do you want to go?", "echo was cancelled."]
    hold.go.set()


# Open calls


def open_calls() -> OpenCalls:
    """None yet; they need no store."""
    return OpenCalls(Relays(MemoryStore(), by="here", now=time.time, seconds=60.0))


async def unheard(_: Activity) -> None:
    raise AssertionError("nothing was said")


async def test_cancelled_call_fails_with_its_code() -> None:
    """All calls of the handle, and no other."""
    calls, go = open_calls(), asyncio.Event()

    async def wait(_: object) -> str:
        await go.wait()
        return "answer"

    waiting = [
        asyncio.create_task(calls.run(handle, wait, heard=unheard)) for handle in ("a", "a", "b")
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calls.cancel("a")
    calls.cancel("nobody's")
    go.set()
    first, second, other = await asyncio.gather(*waiting, return_exceptions=True)

    for failed in (first, second):
        assert isinstance(failed, SkillFailed) and failed.code == "skill-cancelled"
    assert other == "answer"


async def test_call_of_a_cancelled_turn_is_cancelled() -> None:
    """Nothing goes on for nobody."""
    calls, ended = open_calls(), asyncio.Event()

    async def wait(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    turn = asyncio.create_task(calls.run("a", wait, heard=unheard))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)

    async with asyncio.timeout(5):
        await ended.wait()
    assert turn.cancelled()


async def test_cancel_while_the_root_itself_is_busy(empty_town: Town) -> None:
    """The root's own slow handler does not keep anybody waiting either."""
    root, begun, go = Root(), asyncio.Event(), asyncio.Event()

    @root.on_message("slow")
    async def slow(turn: Turn) -> None:
        begun.set()
        await go.wait()

    town = await open_town(empty_town, root)
    busy = asyncio.create_task(town.post("slow"))
    await begun.wait()

    assert await town.say("cancel") == ["There is nothing to cancel."]
    go.set()
    await busy

"""Skills of skills: a root that is itself a skill passes everything on, in both directions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skills_host import Activity, Bot, Root, Turn
from skills_host.bot.dialog import Dialog, Step
from skills_host.transport import Response
from skills_host.wire import decode
from tests.consumer.chains import ADDRESSES, start_chain, start_link
from tests.consumer.roots import Witness
from tests.world import IDS, Town, until

DELIVERIES = [{"delivery": mode} for mode in ("normal", "expectReplies", "stream")]
LENGTHS = [("root", "booking", "echo"), ("root", "booking", "stranger", "echo")]


class Last(Bot):
    """The skill at the end of a chain; it notes what it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped: list[str | None] = []
        self.on_message("done")(self._done)
        self.on_message("event")(self._event)
        self.on_message(self._echo)
        self.on_event("ping")(self._echo)
        self.on_invoke("ask")(self._ask)
        self.on_end(self._stop)

    async def _done(self, turn: Turn) -> None:
        await turn.send("bye")
        await turn.end({"n": 1.5}, code="mine")

    async def _event(self, turn: Turn) -> None:
        await turn.send(Activity.make("event", name="up", value=7))

    async def _echo(self, turn: Turn) -> None:
        await turn.send(f"heard {turn.activity.type} {turn.text}".strip())

    async def _ask(self, turn: Turn) -> None:
        await turn.send("asked")
        turn.respond(202, {"got": turn.activity.value})

    async def _stop(self, turn: Turn) -> None:
        self.stopped.append(turn.activity.code)


async def chained(
    town: Town, names: tuple[str, ...] = LENGTHS[0], **settings: Any
) -> tuple[Witness, Last]:
    """A chain with a root that notes, middles without code, and a last skill that talks."""
    root, last = Witness(), Last()
    bots = [root, *(Root() for _ in names[2:]), last]
    await start_chain(town, *zip(names, bots, strict=True), settings=settings)
    return root, last


def types_to(town: Town, name: str) -> list[str]:
    """The types of all that was posted to a bot's messages."""
    sent = [r for r in town.send.sent if r.url == f"{ADDRESSES[name]}/api/messages"]
    return [Activity.parse(request.body or b"").type for request in sent]


def user_types(town: Town) -> set[str]:
    """The types of all that the user's channel got."""
    entries = town.console.open("c1").transcript.entries
    return {entry.activity["type"] for entry in entries}


@pytest.mark.parametrize("settings", DELIVERIES)
@pytest.mark.parametrize("names", LENGTHS)
async def test_words_go_down_and_answers_up(
    empty_town: Town, names: tuple[str, ...], settings: dict[str, str]
) -> None:
    """Each hop has its own conversation, and the user sees one bot."""
    await chained(empty_town, names, **settings)

    assert await empty_town.say("go") == ["heard message go"]
    assert await empty_town.say("on") == ["heard message on"]
    senders = {
        entry.activity["from"]["id"] for entry in empty_town.console.open("c1").transcript.entries
    }
    assert senders == {f"bot-{IDS['root']}"}


@pytest.mark.parametrize("settings", DELIVERIES)
@pytest.mark.parametrize("names", LENGTHS)
async def test_result_climbs(
    empty_town: Town, names: tuple[str, ...], settings: dict[str, str]
) -> None:
    """Value and code, hop by hop, through roots that have no code for ends; the user sees none."""
    root, _ = await chained(empty_town, names, **settings)
    await empty_town.say("go")

    assert await empty_town.say("done") == ["bye"]
    assert root.ends == [("booking", "mine", {"n": 1.5})]
    assert user_types(empty_town) == {"message"}
    assert "did not understand" in (await empty_town.say("hello"))[0]


@pytest.mark.parametrize("settings", DELIVERIES)
@pytest.mark.parametrize("names", LENGTHS)
async def test_cancel_descends(
    empty_town: Town, names: tuple[str, ...], settings: dict[str, str]
) -> None:
    """Every skill of the chain is told once, and nobody answers an end with an end."""
    root, last = await chained(empty_town, names, **settings)
    await empty_town.say("go")

    assert await empty_town.say("cancel") == ["booking was cancelled."]
    await until(lambda: last.stopped)
    await empty_town.quiet()
    assert last.stopped == ["userCancelled"]
    assert root.ends == [("booking", "userCancelled", None)]
    assert all(types_to(empty_town, name).count("endOfConversation") == 1 for name in names[1:])
    assert user_types(empty_town) == {"message"}


@pytest.mark.parametrize("settings", DELIVERIES)
@pytest.mark.parametrize("names", LENGTHS)
async def test_invoke_and_its_answer_pass_every_hop(
    empty_town: Town, names: tuple[str, ...], settings: dict[str, str]
) -> None:
    """Known or not."""
    await chained(empty_town, names, **settings)
    await empty_town.say("go")
    known = await empty_town.post("", type="invoke", name="ask", value=[1])
    unknown = await empty_town.post("", type="invoke", name="other")

    assert (known.status, decode(known.body)) == (202, {"got": [1]})
    assert (unknown.status, unknown.body) == (501, b"")
    assert empty_town.said()[1:] == ["asked"]


@pytest.mark.parametrize("settings", DELIVERIES)
async def test_event_goes_all_the_way_down(empty_town: Town, settings: dict[str, str]) -> None:
    """It is the user's channel that sent it."""
    await chained(empty_town, LENGTHS[1], **settings)
    await empty_town.say("go")
    await empty_town.post("", type="event", name="ping")

    assert empty_town.said()[1:] == ["heard event"]


@pytest.mark.parametrize("settings", DELIVERIES)
async def test_event_of_a_skill_is_for_the_bot_that_called_it(
    empty_town: Town, settings: dict[str, str]
) -> None:
    """Its own caller decides whether anybody else should know."""
    root, middle = Witness(), Witness()
    bots = [("root", root), ("booking", middle), ("echo", Last())]
    await start_chain(empty_town, *bots, settings=settings)
    await empty_town.say("go")
    await empty_town.say("event")

    assert middle.events == [("echo", "up", 7)]
    assert root.events == []


async def test_middle_root_with_code_for_ends_has_the_word(empty_town: Town) -> None:
    """It goes on by itself, and ends when it wants to."""
    root, middle = Witness(), Root()

    @middle.on_end
    async def taken(turn: Turn) -> None:
        await turn.send(f"{turn.speaker} said {turn.activity.code}")

    @middle.on_message("enough")
    async def enough(turn: Turn) -> None:
        await turn.end("all")

    await start_chain(empty_town, ("root", root), ("booking", middle), ("echo", Last()))
    await empty_town.say("go")

    assert await empty_town.say("done") == ["bye", "echo said mine"]
    assert root.ends == []
    await empty_town.say("enough")
    assert root.ends == [("booking", "completedSuccessfully", "all")]


@pytest.mark.parametrize("settings", DELIVERIES)
async def test_failure_climbs(empty_town: Town, settings: dict[str, str]) -> None:
    """Whoever called a root whose skill is gone does not go on talking to it."""
    root, _ = await chained(empty_town, LENGTHS[0], **settings)
    await empty_town.say("go")
    empty_town.send.faults[ADDRESSES["echo"]] = lambda _: Response(500)

    assert await empty_town.say("on") == [
        "echo is not available right now. Please try again later."
    ]
    assert root.ends == [("booking", "channelFailed", None)]


async def test_word_that_only_the_middle_knows_cancels_its_skill(empty_town: Town) -> None:
    """The user wanted out of the skill; the middle without code has nothing else to do."""
    root, last = Witness(), Last()
    bots = [("root", root), ("booking", Root(cancel=["leave"])), ("echo", last)]
    await start_chain(empty_town, *bots)
    await empty_town.say("go")

    assert await empty_town.say("leave") == ["echo was cancelled."]
    assert root.ends == [("booking", "userCancelled", None)]
    await until(lambda: last.stopped)


async def test_end_reaches_a_middle_root_that_has_nobody(empty_town: Town) -> None:
    """Its own code for ends is called: it is the skill that is stopped."""
    ends: list[tuple[str | None, str | None]] = []
    middle = Root()

    @middle.on_end
    async def stopped(turn: Turn) -> None:
        ends.append((turn.speaker, turn.activity.code))

    await start_chain(empty_town, ("root", Root()), ("booking", middle), ("echo", Last()))
    await empty_town.say("booking")
    await empty_town.say("cancel")
    await until(lambda: ends)

    assert ends == [(None, "userCancelled")]


async def test_bots_that_call_each_other_do_not_wait_for_themselves(empty_town: Town) -> None:
    """A calls B, and B calls A in the same breath: other conversations, other lanes."""
    root, other = Root(), Root()

    @root.on_message("from b")
    async def own(turn: Turn) -> None:
        await turn.send("a heard b")
        await turn.end("a")

    @other.on_message
    async def ask_back(turn: Turn) -> None:
        await other.skills.begin(turn, "root", Activity.make("message", text="from b"))
        await turn.send("b is done")

    @other.on_end
    async def go_on(turn: Turn) -> None:
        await turn.send(f"{turn.speaker} gave {turn.activity.value}")

    await start_link(empty_town, "root", root, callers=("booking",), skills=("booking",))
    await start_link(empty_town, "booking", other, callers=("root",), skills=("root",))
    async with asyncio.timeout(10):
        said = await empty_town.say("booking")

    assert said == ["a heard b", "root gave a", "b is done"]


async def test_callers_of_one_skill_do_not_meet(empty_town: Town) -> None:
    """Conversations with the same id, from two callers, are two conversations."""
    bot, counts = Bot(), []

    @bot.on_message
    async def count(turn: Turn) -> None:
        turn.state.set("n", 1 + await turn.state.get("n", 0))
        counts.append(await turn.state.get("n"))

    await start_link(empty_town, "echo", bot, callers=("root", "stranger"))
    for caller in ("root", "stranger", "root"):
        activity = empty_town.console.activity("hi", user="ann", conversation="same")
        headers = empty_town.bearer(caller, audience="echo")
        body = Activity.of(activity).encode()
        await empty_town.call("POST", f"{ADDRESSES['echo']}/api/messages", headers, body)

    assert counts == [1, 1, 2]


async def test_end_closes_the_dialog_of_a_middle_root_too(empty_town: Town) -> None:
    """Also while a skill of its own has the floor."""
    middle = Root()

    async def finish(turn: Turn, answers: dict[str, Any]) -> None:
        raise AssertionError("nobody answers")

    form = middle.add(Dialog("form", [Step("name", "Who?")], finish=finish))

    @middle.on_message("form")
    async def ask(turn: Turn) -> None:
        await form.begin(turn)
        await middle.skills.begin(turn, "echo")

    await start_chain(empty_town, ("root", Root()), ("booking", middle), ("echo", Last()))
    await empty_town.say("booking")
    assert await empty_town.say("form") == ["Who?", "heard message form"]
    assert len(empty_town.records("state", of="booking")) == 1
    await empty_town.say("cancel")
    await empty_town.quiet()

    assert empty_town.records("state", of="booking") == {}

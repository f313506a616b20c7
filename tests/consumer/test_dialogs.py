"""Skills as dialogs of the root's own code: begin, continue, reprompt, cancel, replace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from skills_host import Activity, Bot, Root, Turn
from skills_host.bot.channel import InvokeResponse
from skills_host.bot.turn import Place
from skills_host.consumer.sso import OAUTH_CARD, oauth_card_of
from skills_host.transport import Request, Response
from tests.conftest import open_town
from tests.consumer.roots import Witness
from tests.world import SKILLS, Town, until

DELIVERIES = [{"delivery": mode} for mode in ("normal", "expectReplies", "stream")]
Code = Callable[[Root, Turn], Awaitable[Any]]


def root_that(*words: str, does: Code, root: Root | None = None) -> Root:
    """A root whose own code runs at these words."""
    root = root or Root()

    @root.on_message(*words)
    async def run(turn: Turn) -> None:
        await does(root, turn)

    return root


def sent_to(town: Town, name: str, type: str) -> list[Activity]:
    """What of this type the root posted to a skill."""
    return [sent for sent in town.to_skill(name) if sent.type == type]


# Begin


async def test_made_activity_gets_what_it_lacks_from_the_turn(empty_town: Town) -> None:
    """So that the skill sees an activity like any other of this user."""

    async def begin(root: Root, turn: Turn) -> None:
        await root.skills.begin(turn, "echo", Activity.make("event", name="start", value={"a": 1}))

    town = await open_town(empty_town, root_that("go", does=begin))
    await town.post("go", id="u1", channelData={"t": 1}, locale="de-CH")
    (sent,) = town.to_skill("echo")

    assert (sent.type, sent.name, sent.value) == ("event", "start", {"a": 1})
    assert (sent.id, sent.locale, sent.channel_data) == ("u1", "de-CH", {"t": 1})
    assert (sent.from_.id, sent.recipient.role, sent.channel_id) == ("ann", "skill", "console")
    assert sent.get("relatesTo")["activityId"] == "u1"
    assert sent.get("relatesTo")["conversation"] == {"id": "c1"}


async def test_made_activity_keeps_what_it_has(empty_town: Town) -> None:
    """But for addresses: whom it is from is not the code's to say."""
    made = Activity.make("event", name="x", id="mine", locale="fr", channel_data=2, from_={"id": 1})

    async def begin(root: Root, turn: Turn) -> None:
        await root.skills.begin(turn, "echo", made)

    town = await open_town(empty_town, root_that("go", does=begin))
    await town.post("go", channelData={"t": 1})
    (sent,) = town.to_skill("echo")

    assert (sent.id, sent.locale, sent.channel_data, sent.from_.id) == ("mine", "fr", 2, "ann")


async def test_turns_own_activity_begins_a_skill(empty_town: Town) -> None:
    """Where nothing else is given; what the user says next is the skill's too."""

    async def begin(root: Root, turn: Turn) -> None:
        await root.skills.begin(turn, "echo")

    town = await open_town(empty_town, root_that("go", does=begin))

    assert await town.say("go") == ["Echo: go"]
    assert await town.say("go") == ["Echo: go"]
    assert len({sent.conversation.id for sent in town.to_skill("echo")}) == 1


@pytest.mark.parametrize("echo", DELIVERIES)
async def test_two_activities_of_one_turn_are_two(empty_town: Town, echo: dict[str, str]) -> None:
    """A skill that knows deliveries by their ids does not take the second for the first again."""

    async def twice(root: Root, turn: Turn) -> None:
        await root.skills.begin(turn, "echo")
        for text in ("one", "two"):
            await root.skills.send(turn, Activity.make("message", text=text))

    town = await open_town(empty_town, root_that("go", does=twice), echo=echo)
    await town.post("go", id="u1")

    assert town.said() == ["Echo: go", "Echo: one", "Echo: two"]
    assert [sent.id for sent in town.to_skill("echo")] == ["u1", "u1|2", "u1|3"]


async def test_begin_cancels_who_has_the_floor(empty_town: Town) -> None:
    """Even the same skill: its dialog begins anew."""
    root = Witness()

    async def again(root: Root, turn: Turn) -> None:
        await root.skills.begin(turn, "echo", Activity.make("message", text="again"))

    @root.on_activity("handoff")
    async def handoff(turn: Turn) -> None:
        await again(root, turn)

    town = await open_town(empty_town, root)
    await town.say("echo")
    first = town.handle("echo")
    place = place_of(town)
    await root.continue_conversation(place, lambda turn: again(root, turn))
    await until(lambda: sent_to(town, "echo", "endOfConversation"))

    assert root.ends == [("echo", "userCancelled", None)]
    assert sent_to(town, "echo", "endOfConversation")[0].conversation.id == first
    assert town.said()[-1] == "Echo: again"


def place_of(town: Town, conversation: str = "c1") -> Place:
    """Where the root's last conversation of this id with a skill takes place."""
    stored = town.records("handle").values()
    bodies = [json.loads(body) for body in stored]
    (found, *_) = [b for b in bodies if b["reference"]["conversation"]["id"] == conversation]
    kept = {name: found[name] for name in ("audience", "session", "reference")}
    return Place.parse(json.dumps(kept).encode())


async def test_skill_that_is_not_there_cannot_begin(empty_town: Town) -> None:
    """`KeyError`, before anybody loses the floor."""
    failures: list[type[Exception]] = []

    async def begin(root: Root, turn: Turn) -> None:
        try:
            await root.skills.begin(turn, "nobody")
        except KeyError as exc:
            failures.append(type(exc))

    await open_town(empty_town, root_that("go", does=begin))
    await empty_town.say("go")

    assert failures == [KeyError]


async def test_end_begins_nothing(empty_town: Town) -> None:
    """In a handler of ends, a skill needs an activity of its own."""
    root, failures = Root(), []

    @root.on_end
    async def ended(turn: Turn) -> None:
        try:
            await root.skills.begin(turn, "booking")
        except ValueError as exc:
            failures.append(str(exc))

    town = await open_town(empty_town, root)
    await town.say("echo")
    await town.say("end")

    assert failures and "an end begins nothing" in failures[0]
    assert not town.to_skill("booking")


def test_root_that_is_not_served_has_no_skills() -> None:
    with pytest.raises(TypeError, match="not served"):
        _ = Root().skills


# Several skills, several sessions


@pytest.mark.parametrize("echo", DELIVERIES)
async def test_one_skill_after_the_other(empty_town: Town, echo: dict[str, str]) -> None:
    """The end of one begins the next, whichever way it came."""
    root = Root()

    @root.on_end
    async def next_one(turn: Turn) -> None:
        if turn.speaker == "echo":
            await root.skills.begin(turn, "booking", Activity.make("message", text="booking"))

    town = await open_town(empty_town, root, echo=echo, booking=echo)
    await town.say("echo")

    assert await town.say("end") == ["Goodbye after 1 messages.", "Where do you want to go?"]
    assert await town.say("Lisbon") == ["On which day? (YYYY-MM-DD)"]


@pytest.mark.parametrize("echo", DELIVERIES)
async def test_event_of_a_skill_begins_another(empty_town: Town, echo: dict[str, str]) -> None:
    """The root decides in the middle of the first one's turn, which ends it."""
    root, bot = Root(), Bot()

    @bot.on_message
    async def hand_over(turn: Turn) -> None:
        await turn.send(Activity.make("event", name="hand over"))

    @root.on_event("hand over")
    async def begin(turn: Turn) -> None:
        made = Activity.make("message", text="booking")
        await root.skills.begin(turn, "booking", made)

    town = await open_town(empty_town, root, echo=echo)
    await town.stop(SKILLS["echo"])
    await town.start_skill("echo", bot)
    await town.post("echo")

    assert await town.heard(1) == ["Where do you want to go?"]
    assert await town.say("Lisbon") == ["On which day? (YYYY-MM-DD)"]


async def test_same_skill_in_two_conversations(town: Town) -> None:
    """Each has its own, and ends its own."""
    await town.say("echo", conversation="c1")
    await town.say("echo", conversation="c2")
    handles = {sent.conversation.id for sent in town.to_skill("echo")}
    await town.say("end", conversation="c1")

    assert len(handles) == 2
    assert await town.say("on", conversation="c2") == ["Echo: on"]
    assert "did not understand" in (await town.say("on", conversation="c1"))[0]


async def test_two_begin_at_once(empty_town: Town) -> None:
    """One has the floor in the end; the other was told that it has lost it."""
    root = Root()
    town = await open_town(empty_town, root)
    await town.say("echo")
    place = place_of(town)

    def begin(name: str) -> Callable[[Turn], Awaitable[None]]:
        async def run(turn: Turn) -> None:
            await root.skills.begin(turn, name, Activity.make("message", text="hi"))

        return run

    runs = (root.continue_conversation(place, begin(name)) for name in ("echo", "booking") * 2)
    await asyncio.gather(*runs, return_exceptions=True)
    await town.quiet()
    handles = [json.loads(body) for body in town.records("handle").values()]
    (session,) = [json.loads(body) for body in town.records("session").values()]
    ends = [*sent_to(town, "echo", "endOfConversation")]
    ends += sent_to(town, "booking", "endOfConversation")

    assert session["handle"] in town.records("handle")
    assert [handle["closed"] for handle in handles].count(False) == 1
    assert len(ends) == len(handles) - 1


# Reprompt, cancel, replace


@pytest.mark.parametrize("booking", DELIVERIES)
@pytest.mark.parametrize("verb", ["reprompt", "resume"])
async def test_skill_asks_its_question_again(
    empty_town: Town, booking: dict[str, str], verb: str
) -> None:
    """After something else was talked about."""
    root = Root()
    town = await open_town(empty_town, root, booking=booking)
    await town.say("booking")
    place = place_of(town)
    await root.continue_conversation(place, lambda turn: getattr(root.skills, verb)(turn))

    assert town.said() == ["Where do you want to go?"] * 2
    assert await town.say("Lisbon") == ["On which day? (YYYY-MM-DD)"]


async def test_nobody_is_reprompted_or_cancelled(empty_town: Town) -> None:
    """Where no skill has the floor, there is nothing to do."""
    found: list[Any] = []

    async def ask(root: Root, turn: Turn) -> None:
        await root.skills.reprompt(turn)
        found.append(await root.skills.cancel(turn))
        found.append(await root.skills.send(turn, Activity.make("invoke", name="x")))

    await open_town(empty_town, root_that("go", does=ask))
    await empty_town.say("go")

    assert found == [None, None]
    assert not empty_town.to_skill("echo")


async def test_cancel_tells_the_skill_and_the_root_but_not_the_user(empty_town: Town) -> None:
    """The code is the root's to choose."""
    root = Witness()
    town = await open_town(empty_town, root)
    await town.say("echo", channelData={"tenant": 1})
    before = town.said()
    place = place_of(town)

    async def cancel(turn: Turn) -> None:
        active = await root.skills.cancel(turn, code="botTimedOut")
        assert active is not None and active.skill == "echo"

    await root.continue_conversation(place, cancel)
    await until(lambda: sent_to(town, "echo", "endOfConversation"))
    (end,) = sent_to(town, "echo", "endOfConversation")

    assert (end.code, end.from_.id, end.channel_id) == ("botTimedOut", "ann", "console")
    assert root.ends == [("echo", "botTimedOut", None)]
    assert town.said() == before


async def test_replace_leaves_one_skill(empty_town: Town) -> None:
    """The old one is told, the new one has the floor."""
    root = Witness()
    town = await open_town(empty_town, root)
    await town.say("echo")

    async def replace(turn: Turn) -> None:
        await root.skills.replace(turn, "booking", Activity.make("message", text="booking"))

    await root.continue_conversation(place_of(town), replace)
    await until(lambda: sent_to(town, "echo", "endOfConversation"))

    assert root.ends == [("echo", "userCancelled", None)]
    assert await town.say("Lisbon") == ["On which day? (YYYY-MM-DD)"]


# Invokes of the root's own


@pytest.mark.parametrize("echo", DELIVERIES)
async def test_response_to_an_invoke_is_the_codes(empty_town: Town, echo: dict[str, str]) -> None:
    """It is not the answer to anything that the channel asked."""
    bot, found = Bot(), []

    @bot.on_invoke("ask")
    async def answer(turn: Turn) -> None:
        await turn.send("asked")
        turn.respond(203, {"b": 2})

    async def ask(root: Root, turn: Turn) -> None:
        found.append(await root.skills.begin(turn, "echo", Activity.make("invoke", name="ask")))
        found.append(await root.skills.send(turn, Activity.make("invoke", name="other")))

    root = Root()

    @root.on_invoke("from channel")
    async def run(turn: Turn) -> None:
        await ask(root, turn)
        turn.respond(299)

    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(root=root, echo=echo)
    answered = await empty_town.post("", type="invoke", name="from channel")

    assert found == [InvokeResponse(203, {"b": 2}), InvokeResponse(501)]
    assert (answered.status, empty_town.said()) == (299, ["asked"])


# OAuth cards

CARD = {"contentType": OAUTH_CARD, "content": {"connectionName": "skill's", "text": "sign in"}}


def signing_in() -> Bot:
    """A skill that wants its user to sign in, and takes a token in exchange for the card."""
    bot = Bot()

    @bot.on_message
    async def ask(turn: Turn) -> None:
        sent = await turn.send(Activity.make("message", text="card", attachments=[CARD]))
        turn.state.set("sent", sent)

    @bot.on_invoke("signin/tokenExchange")
    async def exchange(turn: Turn) -> None:
        await turn.send("signed in")
        turn.respond(200 if turn.activity.value == {"token": "t"} else 412)

    return bot


async def with_hook(town: Town, hook: Code, **echo: str) -> Root:
    """The skill above, and a root whose hook sees its cards."""
    root = Root()

    @root.on_oauth_card
    async def see(turn: Turn, activity: Activity) -> bool:
        assert (turn.speaker, oauth_card_of(activity) is None) == ("echo", False)
        return bool(await hook(root, turn))

    await town.start_skill("echo", signing_in())
    await town.start_root(root=root, echo=echo)
    return root


@pytest.mark.parametrize("echo", DELIVERIES)
async def test_card_that_the_root_deals_with_is_not_shown(
    empty_town: Town, echo: dict[str, str]
) -> None:
    """The skill gets an id all the same, where it expects one."""

    async def deal(root: Root, turn: Turn) -> bool:
        return True

    await with_hook(empty_town, deal, **echo)

    assert await empty_town.say("echo") == []
    (sent,) = empty_town.records("state", of="echo").values()
    assert (sent != b'""') == (echo["delivery"] == "normal")


@pytest.mark.parametrize("echo", DELIVERIES)
async def test_card_that_the_root_leaves_is_shown(empty_town: Town, echo: dict[str, str]) -> None:
    async def leave(root: Root, turn: Turn) -> bool:
        return False

    await with_hook(empty_town, leave, **echo)

    assert await empty_town.say("echo") == ["card"]


@pytest.mark.parametrize("echo", DELIVERIES)
async def test_hook_that_fails_shows_the_card(empty_town: Town, echo: dict[str, str]) -> None:
    """The user can still sign in."""

    async def fail(root: Root, turn: Turn) -> bool:
        raise ZeroDivisionError

    await with_hook(empty_town, fail, **echo)

    assert await empty_town.say("echo") == ["card"]


@pytest.mark.parametrize("echo", DELIVERIES)
@pytest.mark.parametrize(("token", "said"), [("t", []), ("other", ["card"])])
async def test_hook_exchanges_a_token(
    empty_town: Town, echo: dict[str, str], token: str, said: list[str]
) -> None:
    """While the skill's own turn is open: its answer to the invoke decides about the card."""

    async def exchange(root: Root, turn: Turn) -> bool:
        invoke = Activity.make("invoke", name="signin/tokenExchange", value={"token": token})
        response = await root.skills.send(turn, invoke)
        return response is not None and response.status == 200

    await with_hook(empty_town, exchange, **echo)

    assert sorted(await empty_town.say("echo")) == sorted(["signed in", *said])


# Failures


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415])
async def test_wrong_settings_are_logged_as_such(
    empty_town: Town, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """These come from an address or a list that is not right, and will come again."""
    town = await open_town(empty_town)
    town.send.faults[SKILLS["echo"]] = lambda _: Response(status, {}, b"secret words")
    await town.say("echo")

    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "check its endpoint" in record.message
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("status", "posts", "answered"), [(401, 2, 502), (403, 1, 403)])
async def test_invoke_that_is_refused(town: Town, status: int, posts: int, answered: int) -> None:
    """401 is about the token; 403 may be the skill's answer, and is not asked for twice."""
    await town.say("echo")
    got: list[Request] = []

    def refuse(request: Request) -> Response:
        got.append(request)
        return Response(status)

    town.send.faults[SKILLS["echo"]] = refuse
    answer = await town.post("", type="invoke", name="ask")
    invokes = [request for request in got if b'"invoke"' in (request.body or b"")]

    assert (answer.status, len(invokes)) == (answered, posts)


@pytest.mark.parametrize("echo", DELIVERIES)
async def test_root_answers_an_event_while_the_skill_waits(
    empty_town: Town, echo: dict[str, str]
) -> None:
    """A skill asks its root for something with an event, and gets it with one."""
    bot, root = Bot(), Root()

    @bot.on_message
    async def ask(turn: Turn) -> None:
        await turn.send(Activity.make("event", name="who"))
        await turn.send("asked")

    @bot.on_event("this one")
    async def told(turn: Turn) -> None:
        await turn.send(f"told {turn.activity.value}")

    @root.on_event("who")
    async def answer(turn: Turn) -> None:
        await root.skills.send(turn, Activity.make("event", name="this one", value="ann"))

    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(root=root, echo=echo | {"seconds": 5})

    assert sorted(await empty_town.say("echo")) == ["asked", "told ann"]

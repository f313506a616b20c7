"""Who gets what a user says: the table of scenarios, played in a whole world in one process."""

from __future__ import annotations

from typing import Any

import pytest

from skills_host import Activity, Bot, Root, Turn
from skills_host.consumer.routing.decision import Candidate, RouteDecision
from skills_host.errors import SettingsError
from skills_host.wire import decode
from tests.conftest import open_town
from tests.world import IDS, ROOT, Town

TENANT = "d0000000-0000-4000-8000-000000000001"


class Seen(Root):
    """A root that keeps the decisions."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.decisions: list[RouteDecision] = []
        self.on_route(self._note)

    async def _note(self, turn: Turn, decision: RouteDecision) -> None:
        self.decisions.append(decision)

    @property
    def kinds(self) -> list[tuple[str, str | None]]:
        """(kind, skill) of each decision."""
        return [(str(decision.kind), decision.skill) for decision in self.decisions]


ASKED = {"interruption": "ask"}
AT_ONCE = {"interruption": "auto"}

# What is said in turn, with what the root or a skill says to it; settings of echo.
SCENARIOS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "active skill keeps the floor whatever is named": (
        {},
        [("echo", "Echo: echo"), ("book a trip", "Echo: book a trip")],
    ),
    "alias takes the floor from it, with the rest of the words": (
        {},
        [("echo", "Echo: echo"), ("@booking now", "Where do you want to go?")],
    ),
    "slash command does": (
        {},
        [("echo", "Echo: echo"), ("/skill booking", "Where do you want to go?")],
    ),
    "words to switch do": (
        {},
        [("echo", "Echo: echo"), ("switch to booking", "Where do you want to go?")],
    ),
    "words to switch to nobody are the skill's": (
        {},
        [("echo", "Echo: echo"), ("go to Paris", "Echo: go to Paris")],
    ),
    "address of the skill itself is left out": ({}, [("@echo hello", "Echo: hello")]),
    "address of nobody is no address": ({}, [("echo", "Echo: echo"), ("@bob hi", "Echo: @bob hi")]),
    "alias works as a name": (
        {"aliases": ["e"]},
        [("@e, hello", "Echo: hello"), ("cancel", "echo was cancelled.")],
    ),
    "interruption is asked about, and yes takes the words along": (
        ASKED,
        [
            ("echo", "Echo: echo"),
            ("book a trip", "Where do you want to go on: 1. booking, 2. echo?"),
            ("1", "Where do you want to go?"),
        ],
    ),
    "interruption is asked about, and no loses no words": (
        ASKED,
        [
            ("echo", "Echo: echo"),
            ("book a trip", "Where do you want to go on: 1. booking, 2. echo?"),
            ("echo", "Echo: book a trip"),
        ],
    ),
    "whoever goes on talking has answered": (
        ASKED,
        [
            ("echo", "Echo: echo"),
            ("book a trip", "Where do you want to go on: 1. booking, 2. echo?"),
            ("something else", "Echo: something else"),
            ("1", "Echo: 1"),
        ],
    ),
    "interruption at once": (
        AT_ONCE,
        [("echo", "Echo: echo"), ("book a trip", "Where do you want to go?")],
    ),
    "own words interrupt nobody": (
        AT_ONCE,
        [("echo", "Echo: echo"), ("repeat after me", "Echo: repeat after me")],
    ),
    "small talk interrupts nobody": (AT_ONCE, [("echo", "Echo: echo"), ("thanks", "Echo: thanks")]),
    "help is the active skill's": ({}, [("echo", "Echo: echo"), ("help", "Echo: help")]),
    "list is the root's": (
        {},
        [("echo", "Echo: echo"), ("list skills", "I can pass you on to: echo")],
    ),
    "help may be the root's": (
        {"help": "root"},
        [("echo", "Echo: echo"), ("help", "I can pass you on to: echo")],
    ),
    "a skill that waits is gone back to": (
        {"suspend": True},
        [
            ("echo", "Echo: echo"),
            ("@booking", "Where do you want to go?"),
            ("cancel", "booking was cancelled."),
            ("still there?", "Echo: still there?"),
        ],
    ),
    "and by its name": (
        {"suspend": True},
        [
            ("echo", "Echo: echo"),
            ("@booking", "Where do you want to go?"),
            ("@echo back again", "Echo: back again"),
        ],
    ),
    "starting over leaves both": (
        {"suspend": True},
        [
            ("echo", "Echo: echo"),
            ("@booking", "Where do you want to go?"),
            ("start over", "booking was cancelled."),
            ("still there?", "I did not understand"),
        ],
    ),
    "floor has a number of turns": (
        {"max_turns": 2},
        [("echo", "Echo: echo"), ("two", "Echo: two"), ("book a trip", "Where do you want to go?")],
    ),
    "examples find a skill": (
        {"examples": ["say my words back to me", "please mimic what i say", "parrot this line"]},
        [("could you parrot my line", "Echo: could you parrot my line")],
    ),
    "thanks are for no skill": (
        {"examples": ["say my words back to me", "thank the weather", "parrot this line"]},
        [("thank you", "I did not understand")],
    ),
    "pattern finds a skill": (
        {"patterns": ["mimic (?P<what>.+)"]},
        [("MIMIC a cat", "Echo: MIMIC a cat")],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_scenario(empty_town: Town, name: str) -> None:
    settings, talk = SCENARIOS[name]
    town = await open_town(empty_town, echo=settings)

    for words, answer in talk:
        said = await town.say(words)
        assert said and said[0].startswith(answer), (words, said)


async def test_words_to_switch_are_in_the_users_language(town: Town) -> None:
    await town.say("echo", locale="de")

    assert await town.say("wechsle zu booking", locale="de") == ["Where do you want to go?"]


# Asking which one is meant

BOTH: dict[str, Any] = {"echo": {"phrases": ["do it"]}, "booking": {"phrases": ["do it"]}}


@pytest.mark.parametrize("answer", ["2", "2.", "Booking", "BOOKING!"])
async def test_answer_to_the_question_replays_the_words(empty_town: Town, answer: str) -> None:
    """By number or title; the skill gets the words as they were, under the new message's id."""
    town = await open_town(empty_town, **BOTH)
    await town.say("do it on 2026-12-24")
    await town.say(answer)
    (sent,) = town.to_skill("booking")

    assert sent.text == "do it on 2026-12-24"
    assert not town.to_skill("echo")
    assert town.said()[-1] == "Where do you want to go?"


async def test_question_has_buttons(empty_town: Town) -> None:
    """Which say the title of a skill, on every channel."""
    town = await open_town(empty_town, **BOTH)
    await town.say("do it")
    asked = town.console.conversation("c1").transcript.entries[-1].activity
    buttons = [(a["type"], a["value"]) for a in asked["suggestedActions"]["actions"]]

    assert buttons == [("imBack", "echo"), ("imBack", "booking"), ("imBack", "None of these")]


@pytest.mark.parametrize("answer", ["3", "None of these"])
async def test_none_of_these(empty_town: Town, answer: str) -> None:
    """Nobody gets the words, and the question is closed."""
    town = await open_town(empty_town, **BOTH)
    await town.say("do it")

    assert (await town.say(answer))[0].startswith("Please say it in other words.")
    assert "did not understand" in (await town.say("2"))[0]
    assert not town.to_skill("echo") + town.to_skill("booking")


async def test_attachments_are_part_of_what_is_replayed(empty_town: Town) -> None:
    town = await open_town(empty_town, **BOTH)
    picture = [{"contentType": "image/png", "contentUrl": "https://files.example/1.png"}]
    await town.say("do it", attachments=picture)
    await town.say("1")

    assert town.to_skill("echo")[0].get("attachments") == picture


async def test_answer_comes_too_late(empty_town: Town) -> None:
    """After ten minutes a number is a number."""
    town = await open_town(empty_town, **BOTH)
    await town.say("do it")
    before = town.now
    town.now = lambda: before() + 700

    assert "did not understand" in (await town.say("1"))[0]


async def test_question_survives_a_restart(empty_town: Town) -> None:
    town = await open_town(empty_town, **BOTH)
    await town.say("do it")
    await town.stop(ROOT)
    await town.start_root(**BOTH)

    assert await town.say("1") == ["Echo: do it"]


async def test_button_names_a_skill(town: Town) -> None:
    """Of the root's own cards; a skill that is not there is not named by it."""
    assert await town.say("x", value={"skillsHost": {"skill": "echo"}}) == ["Echo: x"]
    await town.say("cancel")
    assert "did not understand" in (await town.say("x", value={"skillsHost": {"skill": "z"}}))[0]


# Grants

HIDDEN: dict[str, Any] = {"booking": {"grants": [{"users": ["bob"]}]}}


@pytest.mark.parametrize("words", ["booking", "@booking", "switch to booking", "book a trip"])
async def test_skill_without_a_grant_is_invisible(empty_town: Town, words: str) -> None:
    """By no way of naming it, and in no list."""
    town = await open_town(empty_town, **HIDDEN)
    (said,) = await town.say(words, user="ann")

    assert "did not understand" in said and "booking" not in said
    assert not town.to_skill("booking")
    assert "booking" not in (await town.say("help", user="ann"))[0]
    assert await town.say(words, user="bob", conversation="c2") == ["Where do you want to go?"]


@pytest.mark.parametrize(
    ("grant", "is_granted"),
    [
        ({"roots": ["root"]}, True),
        ({"roots": ["other"]}, False),
        ({"channels": ["test"]}, True),
        ({"channels": ["msteams"]}, False),
        ({"tenants": [TENANT.upper()]}, True),
        ({"tenants": [IDS["root"]]}, False),
        ({"users": ["object-1"]}, True),
        ({"users": ["ann"], "channels": ["msteams"]}, False),
    ],
)
async def test_every_list_of_a_grant_counts(
    empty_town: Town, grant: dict[str, Any], is_granted: bool
) -> None:
    town = await open_town(empty_town, booking={"grants": [grant]})
    said = await town.say(
        "booking",
        **{
            "from": {"id": "ann", "aadObjectId": "object-1"},
            "channelData": {"tenant": {"id": TENANT}},
            "channelId": "test",
        },
    )

    assert (said == ["Where do you want to go?"]) is is_granted


async def test_revoked_grant_ends_a_skill_with_the_next_message(empty_town: Town) -> None:
    """The user is told, and free."""
    town = await open_town(empty_town)
    await town.say("booking")
    await town.stop(ROOT)
    await town.start_root(**HIDDEN)

    assert (await town.say("Lisbon"))[0].startswith("booking is not available")
    assert "did not understand" in (await town.say("Lisbon"))[0]
    assert [a.type for a in town.to_skill("booking")] == ["message", "endOfConversation"]


# What is no message


async def carding(town: Town, **settings: Any) -> None:
    """The echo skill sends a card and ends; then it tells what it gets."""
    bot = Bot()

    @bot.on_message
    async def card(turn: Turn) -> None:
        if turn.activity.value:
            await turn.send(f"submitted {turn.activity.value}")
            return
        await turn.send(Activity.make("message", attachments=[{"contentType": "card/x"}]))
        if "stay" not in turn.text:
            await turn.end()

    @bot.on_invoke("adaptiveCard/action")
    async def action(turn: Turn) -> None:
        turn.respond(200, {"from": "echo"})

    await town.start_skill("echo", bot)
    await town.start_root(echo=settings)


def last_id(town: Town) -> str:
    """The id of what the bot said last."""
    return town.console.conversation("c1").transcript.entries[-1].activity_id


@pytest.mark.parametrize("echo", [{}, {"delivery": "expectReplies"}])
async def test_invoke_of_a_card_goes_to_who_sent_it(empty_town: Town, echo: dict[str, Any]) -> None:
    """Though it has ended; nobody else's is touched, and it gets no floor."""
    await carding(empty_town, **echo)
    await empty_town.say("echo")
    card = last_id(empty_town)
    answer = await empty_town.post("", type="invoke", name="adaptiveCard/action", replyToId=card)

    assert (answer.status, answer.body) == (200, b'{"from":"echo"}')
    assert "did not understand" in (await empty_town.say("hello"))[0]
    other = await empty_town.post("", type="invoke", name="adaptiveCard/action", replyToId="x")
    assert other.status == 501


async def test_submit_of_a_card_goes_to_who_sent_it(empty_town: Town) -> None:
    """And gives it the floor, if nobody has it."""
    await carding(empty_town)
    await empty_town.say("echo")
    card = last_id(empty_town)

    assert await empty_town.say("", value={"a": 1}, replyToId=card) == ["submitted {'a': 1}"]


async def test_event_goes_to_the_only_skill_that_declares_it(empty_town: Town) -> None:
    bot = Bot()

    @bot.on_event("order/placed")
    async def placed(turn: Turn) -> None:
        await turn.send(f"placed {turn.activity.value}")

    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(echo={"accepts": ["event/order/placed"]})

    assert await empty_town.say("", type="event", name="order/placed", value=7) == ["placed 7"]


async def test_event_that_two_declare_is_the_roots(empty_town: Town) -> None:
    declares = {"accepts": ["event/order/placed"]}
    root = Seen()
    town = await open_town(empty_town, root, echo=declares, booking=declares)
    await town.say("", type="event", name="order/placed")

    assert root.kinds == [("root", None)]
    assert not town.to_skill("echo") + town.to_skill("booking")


async def test_active_skill_gets_only_what_it_accepts(empty_town: Town) -> None:
    town = await open_town(empty_town, echo={"accepts": ["event/mine"]})
    await town.say("echo")
    await town.say("", type="event", name="other")
    await town.say("", type="event", name="mine")

    assert [activity.name for activity in town.to_skill("echo")] == [None, "mine"]


# Declining

DECLINE = {"reroute": True}


async def decliner(town: Town, *, value: Any, root: Root | None = None, **settings: Any) -> None:
    """The echo skill declines whatever it gets."""
    bot = Bot()

    @bot.on_message
    async def decline(turn: Turn) -> None:
        await turn.end(value, code="notForMe")

    await town.start_skill("echo", bot)
    fallback = Bot()

    @fallback.on_message
    async def take(turn: Turn) -> None:
        await turn.send(f"Taken: {turn.text}")

    await town.start_skill("booking", fallback)
    await town.start_root(root=root, **settings)


SHARED = ["do it"]


@pytest.mark.parametrize("echo", [{}, {"delivery": "expectReplies"}])
async def test_declined_words_go_to_another_skill(empty_town: Town, echo: dict[str, Any]) -> None:
    """As they were said, once, and without a word about it."""
    root = Seen()
    mine = {"phrases": ["please do it"], **echo}
    await decliner(empty_town, value=DECLINE, root=root, echo=mine, booking={"phrases": SHARED})
    answer = await empty_town.post("please do it now")
    await empty_town.quiet()

    assert answer.status == 200
    assert empty_town.said() == ["Taken: please do it now"]
    assert [len(empty_town.to_skill(name)) for name in ("echo", "booking")] == [1, 1]
    assert root.kinds == [("skill", "echo"), ("skill", "booking")]


async def test_declined_by_all_is_not_understood(empty_town: Town) -> None:
    """No skill is asked twice."""
    await decliner(empty_town, value=DECLINE, echo={"delivery": "expectReplies"})

    assert "did not understand" in (await empty_town.say("repeat after me"))[0]
    assert len(empty_town.to_skill("echo")) == 1


async def test_end_without_reroute_declines_nothing(empty_town: Town) -> None:
    both: dict[str, Any] = {"echo": {"phrases": ["please do it"], "delivery": "expectReplies"}}
    await decliner(empty_town, value={"reroute": 1}, **both, booking={"phrases": SHARED})

    assert await empty_town.say("please do it") == []
    assert not empty_town.to_skill("booking")


# Several at once


async def test_skills_that_allow_it_are_asked_together(empty_town: Town) -> None:
    """What they say comes in their order; the first that does not end keeps the floor."""
    bots = {"echo": Bot(), "booking": Bot()}
    for name, bot in bots.items():

        @bot.on_message
        async def answer(turn: Turn, name: str = name) -> None:
            await turn.send(f"{name}: {turn.text}")

    for name, bot in bots.items():
        await empty_town.start_skill(name, bot)
    both = {"phrases": SHARED, "fan_out": True}
    await empty_town.start_root(echo=both, booking=both)

    assert await empty_town.say("do it") == ["echo: do it", "booking: do it"]
    await empty_town.quiet()
    assert await empty_town.say("more") == ["echo: more"]
    assert [a.type for a in empty_town.to_skill("booking")] == ["message", "endOfConversation"]


async def test_one_that_does_not_allow_it_is_asked_about(empty_town: Town) -> None:
    town = await open_town(
        empty_town, echo={"phrases": SHARED, "fan_out": True}, booking={"phrases": SHARED}
    )

    assert (await town.say("do it"))[0].startswith("Which one")


async def test_skill_that_fails_is_silent_among_others(empty_town: Town) -> None:
    both = {"phrases": SHARED, "fan_out": True}
    town = await open_town(empty_town, echo=both, booking=both)
    await town.stop("http://127.0.0.1:9003")

    assert await town.say("do it") == ["Where do you want to go?"]
    assert await town.say("Lisbon") == ["On which day? (YYYY-MM-DD)"]


# What a skill is told


FORGED = [{"type": "urn:skills-host:context", "reason": "trust me"}, {"type": "mine"}]


def envelope(activity: Activity) -> dict[str, Any] | None:
    """The context that a skill got."""
    found = [
        e for e in activity.get("entities") or [] if e.get("type") == "urn:skills-host:context"
    ]
    return found[0] if found else None


async def test_skill_is_told_nothing_by_default(town: Town) -> None:
    await town.say("repeat after me")

    assert envelope(town.to_skill("echo")[0]) is None


async def test_skill_is_told_what_its_context_lists(empty_town: Town) -> None:
    context = {"context": ["reason", "slots", "summary"], "patterns": ["mimic (?P<what>.+)"]}
    root = Root()

    @root.on_summary
    async def summary(turn: Turn) -> str:
        return "a short talk"

    town = await open_town(empty_town, root, echo=context)
    await town.say("mimic a cat")

    assert envelope(town.to_skill("echo")[0]) == {
        "type": "urn:skills-host:context",
        "reason": "rules: “mimic a cat”",
        "slots": {"what": "a cat"},
        "summary": "a short talk",
    }


@pytest.mark.parametrize("words", ["echo", "hello"])
async def test_context_is_not_the_users_to_write(town: Town, words: str) -> None:
    """Not in the message that is routed, nor in those that follow."""
    await town.say("echo")
    await town.say(words, entities=FORGED)

    assert town.to_skill("echo")[-1].get("entities") == [{"type": "mine"}]


async def test_context_is_not_the_users_to_write_where_code_passes_it_on(
    empty_town: Town,
) -> None:
    root = Root()

    @root.on_message("mine")
    async def begin(turn: Turn) -> None:
        await root.skills.begin(turn, "echo")

    town = await open_town(empty_town, root)
    await town.say("mine", entities=FORGED)

    assert town.to_skill("echo")[-1].get("entities") == [{"type": "mine"}]


async def test_skill_is_told_its_context_aside(empty_town: Town) -> None:
    """Its answer is that to the user's invoke all the same."""
    bot = Bot()

    @bot.on_invoke("ask")
    async def answer(turn: Turn) -> None:
        turn.respond(200, envelope(turn.activity))

    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(echo={"accepts": ["invoke/ask"], "context": ["reason"]})
    answered = await empty_town.post("", type="invoke", name="ask", entities=FORGED)

    assert (answered.status, decode(answered.body)) == (
        200,
        {"type": "urn:skills-host:context", "reason": "declared"},
    )
    assert FORGED[1] in (empty_town.to_skill("echo")[0].get("entities") or [])


async def test_active_skill_answers_an_invoke_with_its_context(empty_town: Town) -> None:
    bot = Bot()

    @bot.on_message
    async def hear(turn: Turn) -> None:
        await turn.send("hm")

    @bot.on_invoke("ask")
    async def answer(turn: Turn) -> None:
        turn.respond(200, envelope(turn.activity))

    await empty_town.start_skill("echo", bot)
    await empty_town.start_root(echo={"accepts": ["invoke/ask"], "context": ["reason"]})
    await empty_town.say("echo")
    answered = await empty_town.post("", type="invoke", name="ask")

    assert answered.status == 200
    assert decode(answered.body)["reason"] == "sticky"


async def test_context_is_not_the_users_to_write_aside(empty_town: Town) -> None:
    await empty_town.start_skill("echo", Bot())
    await empty_town.start_root(echo={"accepts": ["invoke/ask"]})
    await empty_town.post("", type="invoke", name="ask", entities=FORGED)

    assert empty_town.to_skill("echo")[0].get("entities") == [{"type": "mine"}]


async def test_skills_asked_together_are_told_each_its_own_context(empty_town: Town) -> None:
    """Who is granted none gets none, not even what the user wrote."""
    both = {"phrases": SHARED, "fan_out": True}
    told = both | {"patterns": ["do (?P<what>it)"], "context": ["reason", "locale"]}
    town = await open_town(empty_town, echo=told, booking=both)
    await town.say("do it", locale="de-CH", entities=FORGED)

    assert envelope(town.to_skill("echo")[0]) == {
        "type": "urn:skills-host:context",
        "reason": "rules: “do it”",
        "locale": "de-CH",
    }
    assert town.to_skill("booking")[0].get("entities") == [{"type": "mine"}]


async def test_skill_asked_with_others_says_only_what_it_declares(empty_town: Town) -> None:
    bots = {"echo": Bot(), "booking": Bot()}
    for name, bot in bots.items():

        @bot.on_message
        async def answer(turn: Turn) -> None:
            await turn.send("hello")
            await turn.send(Activity.make("event", name="odd"))

        await empty_town.start_skill(name, bot)
    root, events = Root(), []

    @root.on_event()
    async def note(turn: Turn) -> None:
        events.append(turn.speaker)

    both = {"phrases": SHARED, "fan_out": True}
    await empty_town.start_root(root=root, echo=both | {"sends": []}, booking=both)
    await empty_town.say("do it")

    assert events == ["booking"]


# Routers of one's own


async def test_own_router_decides_where_no_rule_does(empty_town: Town) -> None:
    """Among the skills that the user may reach; a name of another counts for nothing."""
    asked: list[tuple[str, list[str]]] = []

    async def router(request: Any, skills: Any) -> Any:
        asked.append((request.text, [skill.name for skill in skills]))
        return [Candidate("hidden", 1.0), Candidate("echo", 0.9)]

    town = await open_town(empty_town, Root(router=router), **HIDDEN)

    assert await town.say("anything at all") == ["Echo: anything at all"]
    assert asked == [("anything at all", ["echo"])]


async def test_router_that_fails_is_no_answer(empty_town: Town) -> None:
    async def router(request: Any, skills: Any) -> Any:
        raise ZeroDivisionError

    town = await open_town(empty_town, Root(router=router))

    assert "did not understand" in (await town.say("anything at all"))[0]


async def test_decision_is_logged_without_the_words(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="skills_host.consumer.orchestrator")
    await town.say("echo my secret words")
    (record,) = [r for r in caplog.records if r.name == "skills_host.consumer.orchestrator"]
    route = record.__dict__["route"]

    assert (route["kind"], route["skill"], route["text"]) == ("skill", "echo", 20)
    assert "secret" not in record.getMessage() + str(route)


async def test_fallback_gets_what_nobody_claims(empty_town: Town) -> None:
    town = await open_town(empty_town, routing={"fallback": "echo"})

    assert await town.say("anything at all") == ["Echo: anything at all"]


async def test_a_fallback_that_is_no_skill_is_an_error_at_start(empty_town: Town) -> None:
    with pytest.raises(SettingsError, match=r"routing\.fallback: there is no skill 'nobody'"):
        await open_town(empty_town, routing={"fallback": "nobody"})

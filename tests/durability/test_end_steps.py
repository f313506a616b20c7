"""A root that dies at each step of what follows from an end: all of it is done, and once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import skills_host.app
from skills_host import Activity, Root, Turn
from skills_host.errors import TransportFailed
from skills_host.transport import Response
from tests.consumer.roots import EXPECT_REPLIES
from tests.durability.test_declined_steps import MINE, NOT_MINE, Declining
from tests.durability.test_steps import LIMITS, SAFE, Counting, Mortal, delivered
from tests.world import REPLICA, ROOT, Town, until

pytestmark = pytest.mark.durability

UNKNOWN = "I did not understand that."


class Farewell(Root):
    """A root that says which skill is done, and with what code."""

    def __init__(self) -> None:
        super().__init__()
        self.on_end(self._bid)

    async def _bid(self, turn: Turn) -> None:
        await turn.send(f"{turn.speaker}: {turn.activity.code}")


class Handing(Root):
    """A root that hands on to another skill when one is done."""

    def __init__(self) -> None:
        super().__init__()
        self.on_end(self._hand_on)

    async def _hand_on(self, turn: Turn) -> None:
        if turn.speaker == "echo":
            await self.skills.begin(turn, "booking", turn.activity.with_(type="message", text="go"))


class Asking(Counting):
    """A skill that waits, asks once more when it has the floor again, and ends with that."""

    def __init__(self) -> None:
        super().__init__()
        self.on_event("repromptDialog")(self._ask)

    async def _ask(self, turn: Turn) -> None:
        await turn.send("As I said")
        await turn.end()


class Sending(Farewell):
    """A root that begins a skill and sends it something more, in one turn."""

    def __init__(self) -> None:
        super().__init__()
        self.on_message("go")(self._go)

    async def _go(self, turn: Turn) -> None:
        await self.skills.begin(turn, "echo", Activity.make("message", text="one"))
        await self.skills.send(turn, Activity.make("message", text="end"))


class Stateful(Farewell):
    """A root that goes by what it has saved."""

    def __init__(self) -> None:
        super().__init__()
        self.on_message("go")(self._go)

    async def _go(self, turn: Turn) -> None:
        if await turn.state.get("begun"):
            return
        turn.state.set("begun", True)
        await self.skills.begin(turn, "echo", Activity.make("message", text="end"))


class Late(Declining):
    """A skill that declines some words when it is let, and everybody has his answer."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def _decline(self, turn: Turn) -> None:
        self.heard.append(turn.text)
        self.tasks.append(asyncio.create_task(self._when_let(turn)))

    async def _when_let(self, turn: Turn) -> None:
        await self.go.wait()
        await turn.end({"reroute": True})


Start = Callable[..., Awaitable[Mortal]]


@pytest.fixture
async def start(empty_town: Town, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts two skills, a mortal root and its replica."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.02)
    mortal = Mortal(empty_town, monkeypatch)

    async def start(
        make: Callable[[], Root], first: Counting, second: Counting, **skills: Any
    ) -> Mortal:
        await empty_town.start_skill("echo", first)
        await empty_town.start_skill("booking", second)
        await empty_town.start_root(root=make(), send=mortal.send, limits=LIMITS, **skills)
        await empty_town.start_root(root=make(), base=REPLICA, limits=LIMITS, **skills)
        empty_town.send.faults[ROOT] = mortal.to_root
        return mortal

    yield start
    mortal.store = None
    mortal.died.clear()


def deaths(steps: dict[str, list[str]]) -> list[Any]:
    """Every step of every delivery, before and after it, and no death at all."""
    found = [
        (mode, f"{when} {n} {step}")
        for mode, steps_of in steps.items()
        for n, step in enumerate(steps_of, 1)
        for when in ("before", "after")
    ]
    return [*((mode, "") for mode in steps), *found]


MODES: dict[str, dict[str, str]] = {"normal": {}, "expectReplies": EXPECT_REPLIES}
ASKED = ["write", "write", "send"]  # taken in, noted whom it is for, posted
TOLD = {
    "normal": [*ASKED, "send", "write", "write", "send", "write", "write"],
    "expectReplies": [*ASKED, "send", "write", "send", "write"],
}
HANDED = {
    "normal": [*ASKED, "send", *["write"] * 3, "send", "send", *["write"] * 3],
    "expectReplies": [*ASKED, "send", "write", "write", "send", "send", "write"],
}
LATE = {"normal": ["write", "write", "send", "send", "write", "write"]}
TWICE = {
    "normal": [*ASKED, "write", "write", "send", "write", "send", *["write"] * 3],
    "expectReplies": [*ASKED, "write", "write", "send", "write", "send", "write"],
}
INVOKED = {"expectReplies": [*ASKED, "write", "send", "write"]}
ASKED_AGAIN = {
    "normal": [
        *[*ASKED, "send", "write", "write", "send"],
        *["write", "send", "send", "write", "write", "send", "write", "write", "write"],
    ],
    "expectReplies": [
        *[*ASKED, "send", "write", "send"],
        *["write", "send", "send", "write", "send", "write"],
    ],
}
SENT = {
    "normal": [
        *[*ASKED, "send", "write"],
        *["write", "send", "send", "write", "write", "send", "write", "write"],
    ],
    "expectReplies": [*ASKED, "send", "write", "send", "send", "write", "send", "write"],
}
HANDED_IN_ANSWER = {"expectReplies": [*ASKED, "write", "write", "send", "write"]}
IN_ANSWER = {"expectReplies": [*ASKED, "write", "write"]}


def done(mortal: Mortal, dies_at: str, steps: list[str]) -> bool:
    """True if it died where it was to die, or if it had these steps to do."""
    return mortal.died.is_set() if dies_at else mortal.steps == steps


@pytest.mark.parametrize("retry", [SAFE, {}], ids=["safe", "unsafe"])
@pytest.mark.parametrize(("mode", "dies_at"), deaths(TOLD))
async def test_the_roots_code_for_ends_runs_once(
    empty_town: Town, start: Start, mode: str, dies_at: str, retry: dict[str, str]
) -> None:
    """With the skill's end, or with the host's own where nobody knows what the skill got."""
    mortal = await start(Farewell, Counting(), Counting(), echo=retry | MODES[mode])
    await delivered(empty_town, "echo")
    mortal.dies_at, mortal.is_counting = dies_at, True
    await delivered(empty_town, "end")
    mortal.is_counting = False
    await until(lambda: any(text.startswith("echo:") for text in empty_town.said()))
    await delivered(empty_town, "hello")
    await until(lambda: empty_town.said()[-1].startswith(UNKNOWN))
    first, answer, end, _ = empty_town.said()

    assert done(mortal, dies_at, TOLD[mode])
    assert first == "heard echo"
    if retry or end == "echo: completedSuccessfully":
        assert (answer, end) == ("heard end", "echo: completedSuccessfully")
    else:
        assert end == "echo: interrupted"
        assert answer == "heard end" or "lost my thread" in answer


@pytest.mark.parametrize(("mode", "dies_at"), deaths(HANDED))
async def test_the_skill_that_the_roots_code_hands_on_to_answers_once(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    more, booking = SAFE | MODES[mode], Counting()
    mortal = await start(Handing, Counting(), booking, echo=more, booking=more)
    await delivered(empty_town, "echo")
    mortal.dies_at, mortal.is_counting = dies_at, True
    await delivered(empty_town, "end")
    mortal.is_counting = False
    await empty_town.heard(3)
    await delivered(empty_town, "on")
    await until(lambda: "heard on" in empty_town.said())

    assert done(mortal, dies_at, HANDED[mode])
    assert empty_town.said() == ["heard echo", "heard end", "heard go", "heard on"]
    assert booking.heard == ["go", "on"]


@pytest.mark.parametrize(("mode", "dies_at"), deaths(LATE))
async def test_words_that_are_declined_late_are_answered_once(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    """When the turn of the user is over, and nobody would take that up."""
    late, booking = Late(), Counting()
    mortal = await start(Farewell, late, booking, echo=SAFE | NOT_MINE, booking=SAFE | MINE)
    await delivered(empty_town, "not mine")
    mortal.dies_at, mortal.is_counting = dies_at, True
    late.go.set()
    await until(empty_town.said)
    await until(lambda: mortal.died.is_set() or not empty_town.send.served)
    mortal.is_counting = False
    await delivered(empty_town, "on")
    await until(lambda: "heard on" in empty_town.said())

    assert done(mortal, dies_at, LATE[mode])
    assert empty_town.said() == ["heard not mine", "heard on"]
    assert (late.heard, booking.heard) == (["not mine"], ["not mine", "on"])


@pytest.mark.parametrize("then", ["next", "@echo hi"])
async def test_late_words_reach_the_other_skill_whatever_is_said_meanwhile(
    empty_town: Town, start: Start, then: str
) -> None:
    """Whether the user goes on with that skill, or lets it wait."""
    late, booking = Late(), Counting()
    more: dict[str, Any] = SAFE | MINE | {"suspend": True}
    mortal = await start(Farewell, late, booking, echo=SAFE | NOT_MINE, booking=more)
    await delivered(empty_town, "not mine")
    mortal.dies_at, mortal.is_counting = "after 2 write", True
    late.go.set()
    await mortal.died.wait()
    mortal.is_counting = False
    await delivered(empty_town, then)
    said = await empty_town.heard(2)

    assert sorted(said) == sorted(["heard not mine", f"heard {then.removeprefix('@echo ')}"])
    assert "not mine" in booking.heard
    assert {sent.type for sent in empty_town.to_skill("booking")} == {"message"}


@pytest.mark.parametrize(("mode", "dies_at"), deaths(ASKED_AGAIN))
async def test_a_skill_that_ends_when_it_is_to_ask_again_is_told_of_once(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    more: dict[str, Any] = SAFE | MODES[mode]
    waits = more | {"suspend": True}
    mortal = await start(Farewell, Counting(), Asking(), echo=more, booking=waits)
    for text in ("@booking first", "@echo second"):
        await delivered(empty_town, text)
    mortal.dies_at, mortal.is_counting = dies_at, True
    await delivered(empty_town, "end")
    mortal.is_counting = False
    said = await empty_town.heard(6)
    await delivered(empty_town, "hello")
    await until(lambda: empty_town.said()[-1].startswith(UNKNOWN))

    assert done(mortal, dies_at, ASKED_AGAIN[mode])
    ends = [f"{skill}: completedSuccessfully" for skill in ("echo", "booking")]
    assert said == ["heard first", "heard second", "heard end", ends[0], "As I said", ends[1]]
    assert len(empty_town.said()) == 7


@pytest.mark.parametrize(("mode", "dies_at"), deaths(SENT))
async def test_what_the_roots_code_sends_to_a_skill_is_done_once(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    """All of it, and the end that comes of it is told."""
    skill = Counting()
    mortal = await start(Sending, skill, Counting(), echo=SAFE | MODES[mode])
    mortal.dies_at, mortal.is_counting = dies_at, True
    await delivered(empty_town, "go")
    mortal.is_counting = False
    said = await empty_town.heard(3)
    await delivered(empty_town, "hello")
    await until(lambda: empty_town.said()[-1].startswith(UNKNOWN))

    assert done(mortal, dies_at, SENT[mode])
    assert said == ["heard one", "heard end", "echo: completedSuccessfully"]
    assert skill.heard == ["one", "end"]
    assert len(empty_town.said()) == 4


@pytest.mark.parametrize("n", [5, 6])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_end_is_told_where_the_code_that_began_goes_another_way(
    empty_town: Town, start: Start, when: str, n: int
) -> None:
    """The state that it goes by was saved with the call."""
    mortal = await start(Stateful, Counting(), Counting(), echo=SAFE | EXPECT_REPLIES)
    steps = [*ASKED, "send", "write", "send", "write"]
    mortal.dies_at, mortal.is_counting = f"{when} {n} {steps[n - 1]}", True
    await delivered(empty_town, "go")
    mortal.is_counting = False
    first, second = await empty_town.heard(2)
    code = "interrupted" if (when, n) == ("before", 5) else "completedSuccessfully"

    assert mortal.died.is_set()
    assert (first, second) == ("heard end", f"echo: {code}")


async def test_words_that_are_taken_up_too_late_are_answered_beside(
    empty_town: Town, start: Start
) -> None:
    """Whoever has the floor by then keeps it, and hears nothing of them."""
    late, booking = Late(), Counting()
    mortal = await start(Farewell, late, booking, echo=SAFE | NOT_MINE, booking=SAFE | MINE)
    await delivered(empty_town, "not mine")
    mortal.dies_at, mortal.is_counting = "after 1 write", True
    late.go.set()
    await mortal.died.wait()
    mortal.is_counting = False
    await delivered(empty_town, "@booking bye")
    await until(lambda: len(empty_town.said()) > 1)
    await delivered(empty_town, "on")
    await until(lambda: "heard on" in empty_town.said())

    said = [text.split(" I can")[0] for text in empty_town.said()]
    assert said == ["heard bye", UNKNOWN, "heard on"]
    assert booking.heard == ["bye", "on"]


@pytest.mark.parametrize(("mode", "dies_at"), deaths(TWICE))
async def test_words_that_two_skills_decline_are_not_understood_once(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    first, second, more = Declining(), Declining(), SAFE | MODES[mode]
    mortal = await start(Farewell, first, second, echo=more | NOT_MINE, booking=more | MINE)
    mortal.dies_at, mortal.is_counting = dies_at, True
    await delivered(empty_town, "not mine")
    mortal.is_counting = False
    await until(empty_town.said)
    await delivered(empty_town, "@booking bye")
    await until(lambda: "heard bye" in empty_town.said())

    assert done(mortal, dies_at, TWICE[mode])
    assert [text.split(" I can")[0] for text in empty_town.said()] == [UNKNOWN, "heard bye"]
    assert (first.heard, second.heard) == (["not mine"], ["not mine", "bye"])


async def posted(town: Town, activity: dict[str, Any]) -> Response:
    """The answer to an activity, whoever answers in the end."""
    for _ in range(20):
        try:
            answer = await town.console.post(activity, timeout=5)
            if answer.status == 200:
                return answer
        except TransportFailed:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("nobody answered")


async def answered(town: Town, text: str) -> list[str]:
    """What a caller who wants it in the answer is answered."""
    activity = town.console.activity(text, user="ann", conversation="c1")
    answer = await posted(town, activity | {"deliveryMode": "expectReplies"})
    return [said["text"] for said in json.loads(answer.body)["activities"]]


class Asked(Counting):
    """A skill that ends with its response to an invoke."""

    def __init__(self) -> None:
        super().__init__()
        self.on_invoke("ask")(self._answer)

    async def _answer(self, turn: Turn) -> None:
        self.heard.append("ask")
        turn.respond(200, {"n": len(self.heard)})
        await turn.end()


@pytest.mark.parametrize(("mode", "dies_at"), deaths(INVOKED))
async def test_the_response_to_an_invoke_stays_where_the_skill_ended_with_it(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    skill = Asked()
    mortal = await start(Farewell, skill, Counting(), echo=SAFE | MODES[mode])
    await delivered(empty_town, "echo")
    mortal.dies_at, mortal.is_counting = dies_at, True
    activity = empty_town.console.activity("", user="ann", conversation="c1")
    answer = await posted(empty_town, activity | {"type": "invoke", "name": "ask"})
    mortal.is_counting = False
    await empty_town.heard(2)

    assert done(mortal, dies_at, INVOKED[mode])
    assert json.loads(answer.body) == {"n": 2}
    assert skill.heard == ["echo", "ask"]
    assert empty_town.said() == ["heard echo", "echo: completedSuccessfully"]


@pytest.mark.parametrize(("mode", "dies_at"), deaths(HANDED_IN_ANSWER))
async def test_what_was_said_before_another_skill_stays_in_the_answer(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    """Where the root's code hands on to it, and what it says is there as well."""
    more = SAFE | MODES[mode]
    mortal = await start(Handing, Counting(), Counting(), echo=more, booking=more)
    await answered(empty_town, "echo")
    mortal.dies_at, mortal.is_counting = dies_at, True
    said = await answered(empty_town, "end")
    mortal.is_counting = False

    assert done(mortal, dies_at, HANDED_IN_ANSWER[mode])
    assert said == ["heard end", "heard go"]


@pytest.mark.parametrize(("mode", "dies_at"), deaths(IN_ANSWER))
async def test_what_was_said_before_an_end_stays_in_the_answer(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    """Whoever answers, also where the root that had the skill's words has died."""
    mortal = await start(Farewell, Counting(), Counting(), echo=SAFE | MODES[mode])
    await answered(empty_town, "echo")
    mortal.dies_at, mortal.is_counting = dies_at, True
    said = await answered(empty_town, "end")
    mortal.is_counting = False

    assert done(mortal, dies_at, IN_ANSWER[mode])
    assert said == ["heard end", "echo: completedSuccessfully"]

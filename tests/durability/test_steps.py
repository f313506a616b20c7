"""A root that dies at each step of a turn: whatever the step, the user gets the answer once.

A process dies in this one by standing still for good: what it had begun in its store or on the
network is done (`after`) or not (`before`), and nothing that it does later happens. A replica on
the same store is alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest

import skills_host.app
import skills_host.consumer.relays
from skills_host import Bot, Turn
from skills_host.errors import TransportFailed
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Request, Response
from tests.consumer.roots import EXPECT_REPLIES
from tests.world import CONSOLE, REPLICA, ROOT, SKILLS, Town

pytestmark = pytest.mark.durability

SAFE = {"retry": "safe"}
LIMITS = {"lease_seconds": 0.5, "stop_seconds": 0.05}
WRITES = ("write", "claim", "renew", "read", "scan", "expire")


class Mortal:
    """A root of a town: counts the steps of its turns, and dies at one of them.

    It is the first that is started, or the next one `after` another that is mortal.
    """

    after: Mortal | None = None

    def __init__(self, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
        self.town = town
        self.steps: list[str] = []
        self.dies_at = ""
        self.died = asyncio.Event()
        self.store: SqliteStore | None = None
        # What is slow to be passed on is marked so: another step, on a slow machine only.
        monkeypatch.setattr(skills_host.consumer.relays, "LATE", 60.0)
        for name in WRITES:
            monkeypatch.setattr(SqliteStore, name, self._mortal(getattr(SqliteStore, name), name))
        self._send = town.send

    def _mortal(self, method: Callable[..., Awaitable[Any]], name: str) -> Any:
        mortal = self

        async def called(store: SqliteStore, *given: Any, **more: Any) -> Any:
            is_next = mortal.after is None or mortal.after.store not in (None, store)
            if mortal.store is None and store._path.stem == "root" and is_next:
                mortal.store = store
            if store is not mortal.store:
                return await method(store, *given, **more)
            is_step = name == "write" and mortal.is_counting
            return await mortal.step(name if is_step else "", lambda: method(store, *given, **more))

        return called

    is_counting = False

    async def step(self, name: str, do: Callable[[], Awaitable[Any]]) -> Any:
        """Do it, unless the process is dead, or dies just before or after."""
        if self.died.is_set():
            await asyncio.Event().wait()
        if name:
            self.steps.append(name)
            name = f"{len(self.steps)} {name}"
        if self.dies_at == f"before {name}":
            self.die()
            await asyncio.Event().wait()
        result = await do()
        if self.dies_at == f"after {name}":
            self.die()
        if self.died.is_set():
            await asyncio.Event().wait()
        return result

    def die(self) -> None:
        self.died.set()
        # Whoever calls it from now on reaches the replica.
        self.town.send.apps[ROOT] = self.town.send.apps[REPLICA]

    async def send(self, request: Request) -> Response:
        """What the first root sends."""
        is_turns = request.url.startswith((CONSOLE, *SKILLS.values())) and self.is_counting
        name = "send" if is_turns and request.method == "POST" else ""
        answer: Response = await self.step(name, lambda: self._send(request))
        return answer

    async def to_root(self, request: Request) -> Response | None:
        """What reaches the first root breaks off when it dies."""
        if self.died.is_set():
            return None
        app = self.town.send.apps[ROOT]
        serving = asyncio.ensure_future(self._send._served(app, request))
        dying = asyncio.ensure_future(self.died.wait())
        await asyncio.wait({serving, dying}, return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        if serving.done():
            return serving.result()
        serving.cancel()
        raise TransportFailed("a peer broke off")


class Counting(Bot):
    """A skill that says what it hears, and how often it heard it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.on_message(self._say)

    async def _say(self, turn: Turn) -> None:
        self.heard.append(turn.text)
        await turn.send(f"heard {turn.text}")
        if turn.text == "end":
            await turn.end()


class Asking(Bot):
    """A skill that asks, and asks again when it has the floor once more."""

    def __init__(self) -> None:
        super().__init__()
        self.on_message(self._ask)
        self.on_event("repromptDialog")(self._ask_again)

    async def _ask(self, turn: Turn) -> None:
        await turn.send("What?")

    async def _ask_again(self, turn: Turn) -> None:
        await turn.send("As I said: what?")


@pytest.fixture
async def fleet(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[tuple[Mortal, Counting]]]]:
    """Starts a skill, a mortal root and its replica."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.02)
    started: list[Mortal] = []

    async def start(
        booking: Mapping[str, Any] = MappingProxyType({}), **echo: Any
    ) -> tuple[Mortal, Counting]:
        mortal, skill = Mortal(empty_town, monkeypatch), Counting()
        started.append(mortal)
        await empty_town.start_skill("echo", skill)
        await empty_town.start_skill("booking", Asking())
        await empty_town.start_root(limits=LIMITS, echo=echo, booking=booking, send=mortal.send)
        await empty_town.start_root(limits=LIMITS, echo=echo, booking=booking, base=REPLICA)
        empty_town.send.faults[ROOT] = mortal.to_root
        return mortal, skill

    yield start
    for mortal in started:
        mortal.store = None
        mortal.died.clear()


async def delivered(town: Town, text: str) -> None:
    """Deliver as channels do: the same activity until somebody takes it."""
    activity = town.console.activity(text, user="ann", conversation="c1")
    for _ in range(20):
        try:
            if (await town.console.post(activity, timeout=5)).status in (200, 202):
                return
        except TransportFailed:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("nobody took it")


STEPS = {
    "normal": ["write", "write", "send", "send", "write", "write"],
    "expectReplies": ["write", "write", "send", "send", "write"],
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("delivery", "n"), [(name, n) for name, steps in STEPS.items() for n in range(len(steps))]
)
@pytest.mark.parametrize("text", ["hello", "end"])
async def test_whenever_the_root_dies_the_answer_comes_once(
    empty_town: Town, fleet: Any, delivery: str, n: int, when: str, text: str
) -> None:
    mortal, skill = await fleet(**SAFE, **({} if delivery == "normal" else EXPECT_REPLIES))
    await delivered(empty_town, "echo")
    mortal.is_counting = True
    mortal.dies_at = f"{when} {n + 1} {STEPS[delivery][n]}"
    await delivered(empty_town, text)
    mortal.is_counting = False
    await empty_town.heard(2)
    await delivered(empty_town, "echo again")

    assert mortal.died.is_set(), mortal.steps
    assert empty_town.said() == ["heard echo", f"heard {text}", "heard echo again"]
    assert skill.heard == ["echo", text, "echo again"]
    if text == "hello":
        # Who goes on with a call takes its record over, and away.
        assert empty_town.records("answer") == {}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("delivery", "n"), [(name, n) for name, steps in STEPS.items() for n in range(len(steps))]
)
async def test_a_skill_that_must_not_get_it_twice_gets_it_once_at_most(
    empty_town: Town, fleet: Any, delivery: str, n: int, when: str
) -> None:
    """The user gets the answer, or is told that there is none; the next message works."""
    mortal, skill = await fleet(**({} if delivery == "normal" else EXPECT_REPLIES))
    await delivered(empty_town, "echo")
    mortal.is_counting = True
    mortal.dies_at = f"{when} {n + 1} {STEPS[delivery][n]}"
    await delivered(empty_town, "hello")
    mortal.is_counting = False
    await delivered(empty_town, "echo again")
    said = empty_town.said()
    is_told = any("lost my thread" in text for text in said)

    assert mortal.died.is_set(), mortal.steps
    assert said.count("heard hello") + is_told == 1
    assert skill.heard.count("hello") <= 1
    assert said[-1] == "heard echo again"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("delivery", "n"), [(name, n) for name, steps in STEPS.items() for n in range(len(steps))]
)
async def test_whenever_the_root_dies_at_a_switch_the_other_skill_answers_once(
    empty_town: Town, fleet: Any, delivery: str, n: int, when: str
) -> None:
    """The skill that was left waits, and asks again when the other ends."""
    modes = {} if delivery == "normal" else EXPECT_REPLIES
    mortal, skill = await fleet(booking={"suspend": True, **modes, **SAFE}, **SAFE, **modes)
    await delivered(empty_town, "booking")
    mortal.is_counting = True
    mortal.dies_at = f"{when} {n + 1} {STEPS[delivery][n]}"
    await delivered(empty_town, "@echo hello")
    mortal.is_counting = False
    await empty_town.heard(2)
    await delivered(empty_town, "end")

    assert mortal.died.is_set(), mortal.steps
    assert await empty_town.heard(4) == ["What?", "heard hello", "heard end", "As I said: what?"]
    assert skill.heard == ["hello", "end"]


BACK = {
    "normal": [*STEPS["normal"], "write", "send", "send", "write", "write", "write"],
    "expectReplies": [*STEPS["expectReplies"], "write", "send", "send", "write"],
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("delivery", "n"), [(name, n) for name, steps in BACK.items() for n in range(len(steps))]
)
async def test_whenever_the_root_dies_a_skill_that_waited_asks_again(
    empty_town: Town, fleet: Any, delivery: str, n: int, when: str
) -> None:
    """Once, or twice where nobody knows whether it did."""
    modes = {} if delivery == "normal" else EXPECT_REPLIES
    mortal, _ = await fleet(booking={"suspend": True, **modes}, **SAFE, **modes)
    await delivered(empty_town, "booking")
    await delivered(empty_town, "@echo hello")
    mortal.is_counting = True
    mortal.dies_at = f"{when} {n + 1} {BACK[delivery][n]}"
    await delivered(empty_town, "end")
    mortal.is_counting = False
    said = await empty_town.heard(4)

    assert mortal.died.is_set(), mortal.steps
    assert said[:3] == ["What?", "heard hello", "heard end"]
    assert set(said[3:]) == {"As I said: what?"}
    await delivered(empty_town, "go on")
    said = empty_town.said()
    assert said[-1] == "What?"
    assert 1 <= said.count("As I said: what?") <= 2

"""What a skill calls back comes after what its answer held, whichever process it reaches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

import skills_host.consumer.relays
from skills_host import Activity, Root, Turn
from skills_host.consumer.frames import frame_of
from skills_host.consumer.relays import Mark, awaited
from skills_host.transport import Request, Response
from skills_host.wire import encode
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.consumer.streams import STREAM
from tests.store.conftest import empty_schema
from tests.world import CONSOLE, REPLICA, ROOT, SKILLS, Hold, Town, until

Answer = Callable[[Request], Awaitable[Response] | Response]


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "text": text}


def replies(*activities: Mapping[str, Any]) -> Response:
    """An answer that holds these."""
    return Response(200, body=encode({"activities": activities}))


def of_skill(town: Town, *answers: Answer) -> None:
    """The skill answers so, one post after the other; whatever comes then it takes."""
    left = list(answers)

    def answer(request: Request) -> Any:
        is_end = b"endOfConversation" in (request.body or b"")
        return left.pop(0)(request) if left and not is_end else Response(200)

    town.send.faults[SKILLS["echo"]] = answer


def held(town: Town, text: str) -> Hold:
    """The channel takes its time for one message."""
    hold = town.send.faults[CONSOLE] = Hold(lambda sent: text.encode() in (sent.body or b""))
    return hold


async def start(town: Town, root: Root | None = None, **more: Any) -> None:
    """Two processes on one store."""
    await town.start_root(root=root, echo=EXPECT_REPLIES, **more)
    await town.start_root(root=root, echo=EXPECT_REPLIES, base=REPLICA, **more)


async def callback(town: Town, base: str, activity: Mapping[str, Any]) -> int:
    """What the skill calls back at one of the processes: the status."""
    url = f"{base}/api/skills/v3/conversations/{town.handle('echo')}/activities"
    body = json.dumps(activity).encode()
    return (await town.call("POST", url, town.bearer("echo"), body))[0]


async def waiting(*tasks: asyncio.Task[int], seconds: float = 0.3) -> bool:
    """True if none of them gets anywhere for so long: more than the grace, by default."""
    done, _ = await asyncio.wait(tasks, timeout=seconds)
    return not done


def patient(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Whoever waits does so for so long at most."""
    monkeypatch.setattr(skills_host.consumer.relays, "PATIENCE", seconds)


@contextlib.asynccontextmanager
async def passing_on(town: Town) -> AsyncIterator[tuple[Hold, asyncio.Task[Response]]]:
    """The answer is there, and its first reply on its way to the user."""
    of_skill(town, lambda _: replies(message("one"), message("two")))
    hold = held(town, "one")
    turn = asyncio.create_task(town.post("echo"))
    await hold.arrived.wait()
    yield hold, turn
    hold.go.set()
    assert (await turn).status == 200


# Callbacks after the answer


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.durability)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, str]]:
    """The store that both processes use."""
    if request.param == "sqlite":
        yield {}
        return
    async with empty_schema() as url:
        yield {"url": url}


@pytest.mark.parametrize("base", [ROOT, REPLICA])
@pytest.mark.parametrize("seconds", [0.03, 0.3])
async def test_callback_waits_for_replies_that_are_passed_on(
    empty_town: Town, store: dict[str, str], base: str, seconds: float
) -> None:
    """In whichever process, and for longer than an answer is given to be told of."""
    root = Witness()
    await start(empty_town, root, store=store)
    async with passing_on(empty_town) as (hold, turn):
        calls = [
            asyncio.create_task(callback(empty_town, base, activity))
            for activity in (message("three"), {"type": "endOfConversation"})
        ]
        assert await waiting(*calls, seconds=seconds)
        hold.go.set()
        await turn

        assert await asyncio.gather(*calls) == [200, 200]
    assert empty_town.said()[:3] == ["one", "two", "three"]
    assert len(root.ends) == 1
    await empty_town.close()


async def test_nothing_is_left_when_an_answer_has_been_passed_on(empty_town: Town) -> None:
    """Not even where it took so long that others were told."""
    await start(empty_town)
    async with passing_on(empty_town) as (_, turn):
        (mark,) = empty_town.records("answer").values()
        assert not Mark.parse(mark).passing
        assert await waiting(asyncio.create_task(callback(empty_town, REPLICA, message("three"))))
        (mark,) = empty_town.records("answer").values()
        assert Mark.parse(mark).passing

    assert turn.done()
    assert empty_town.records("answer") == {}


@pytest.mark.parametrize(
    "answer", [lambda _: Response(500), lambda _: Response(200, body=b"{"), lambda _: replies()]
)
async def test_nothing_is_left_when_there_is_nothing_to_pass_on(
    empty_town: Town, answer: Answer
) -> None:
    await start(empty_town)
    of_skill(empty_town, answer)
    await empty_town.post("echo")

    assert empty_town.records("answer") == {}


async def test_nothing_is_left_of_a_call_that_was_cancelled(empty_town: Town) -> None:
    await start(empty_town)
    hold = Hold()
    of_skill(empty_town, hold)  # type: ignore[arg-type]
    turn = asyncio.create_task(empty_town.post("echo"))
    await hold.arrived.wait()
    assert len(empty_town.records("answer")) == 1
    await empty_town.post("cancel")
    await turn

    assert empty_town.records("answer") == {}
    hold.go.set()


async def test_process_that_stands_still_keeps_nobody_for_ever(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that has died with the answer in its hands: what it has left is soon forgotten."""
    patient(monkeypatch, 0.3)
    await start(empty_town)
    async with passing_on(empty_town):
        assert await callback(empty_town, REPLICA, message("three")) == 200
        patient(monkeypatch, 1000)
        empty_town.now = lambda: time.time() + 1
        async with asyncio.timeout(5):
            assert await callback(empty_town, REPLICA, message("four")) == 200

        assert empty_town.said() == ["three", "four"]


async def test_what_takes_very_long_is_not_forgotten_meanwhile(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are told again and again, as long as the process lives."""
    patient(monkeypatch, 0.1)
    await start(empty_town)
    async with passing_on(empty_town) as (hold, _):
        await asyncio.sleep(0.5)
        patient(monkeypatch, 1000)
        call = asyncio.create_task(callback(empty_town, REPLICA, message("three")))
        assert await waiting(call)
        hold.go.set()
        assert await call == 200

    assert empty_town.said() == ["one", "two", "three"]


# Callbacks during the call


async def said_during_a_call(town: Town, base: str) -> list[str]:
    """What a user hears of a skill that answers only when a callback of it has been heard."""

    async def answer(_: Request) -> Response:
        assert await callback(town, base, message("during")) == 200
        return replies(message("answered"))

    of_skill(town, answer)
    async with asyncio.timeout(5):
        return await town.say("echo")


async def test_callback_during_a_call_does_not_wait_for_its_answer(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The skill answers only when it has been heard."""
    patient(monkeypatch, 1000)
    await start(empty_town)

    assert await said_during_a_call(empty_town, REPLICA) == ["during", "answered"]


async def test_callback_during_a_call_of_its_own_process_waits_for_nothing(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That knows that the answer is not there, and need not be given time to tell."""
    patient(monkeypatch, 1000)
    monkeypatch.setattr(skills_host.consumer.relays, "GRACE", 1000)
    await start(empty_town)

    assert await said_during_a_call(empty_town, ROOT) == ["during", "answered"]


@pytest.mark.parametrize("base", [ROOT, REPLICA])
async def test_callback_during_a_stream_comes_after_what_was_streamed_before(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    """And before what the skill streams after it."""
    patient(monkeypatch, 1000)
    go = asyncio.Event()

    async def stream() -> AsyncGenerator[bytes]:
        yield frame_of("activity", encode(message("one")))
        await go.wait()
        yield frame_of("activity", encode(message("three")))

    await empty_town.start_root(echo=STREAM)
    await empty_town.start_root(echo=STREAM, base=REPLICA)
    headers = {"content-type": "text/event-stream"}
    of_skill(empty_town, lambda _: Response(200, headers, b"", chunks=stream()))
    hold = held(empty_town, "one")
    turn = asyncio.create_task(empty_town.post("echo"))
    await hold.arrived.wait()
    call = asyncio.create_task(callback(empty_town, base, message("two")))
    assert await waiting(call)
    hold.go.set()
    async with asyncio.timeout(5):
        assert await call == 200
    assert empty_town.said() == ["one", "two"]
    go.set()
    await turn

    assert empty_town.said() == ["one", "two", "three"]
    assert empty_town.records("answer") == {}


async def test_what_the_bot_asks_of_the_skill_does_not_wait_for_itself(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where others were told before that replies are being passed on."""
    patient(monkeypatch, 1000)
    root = Root()

    @root.on_event("ask")
    async def ask(turn: Turn) -> None:
        await root.skills.send(turn, Activity.make("event", name="asked"))

    async def asked(_: Request) -> Response:
        assert await callback(empty_town, REPLICA, message("two")) == 200
        return replies(message("three"))

    await start(empty_town, root)
    event = {"type": "event", "name": "ask"}
    of_skill(empty_town, lambda _: replies(message("one"), event, message("four")), asked)
    hold = held(empty_town, "one")
    turn = asyncio.create_task(empty_town.post("echo"))
    await hold.arrived.wait()
    assert await waiting(asyncio.create_task(callback(empty_town, REPLICA, message("x"))))
    hold.go.set()
    async with asyncio.timeout(5):
        await turn

    said = [text for text in empty_town.said() if text != "x"]
    assert said == ["one", "two", "three", "four"]
    assert empty_town.records("answer") == {}


# Several calls


async def test_two_calls_at_once_have_a_record_each(empty_town: Town) -> None:
    """The end of one does not let go those who wait for the other."""
    root, first = Root(), asyncio.Event()

    @root.on_event("ask")
    async def ask(turn: Turn) -> None:
        await root.skills.send(turn, Activity.make("event", name="asked"))

    async def answer(_: Request) -> Response:
        await first.wait()
        return replies(message("one"), message("two"))

    await start(empty_town, root)
    of_skill(empty_town, answer, lambda _: replies(message("zero")))
    hold = held(empty_town, "one")
    turn = asyncio.create_task(empty_town.post("echo"))
    await until(lambda: empty_town.to_skill("echo"))
    (own,) = empty_town.records("answer").items()
    assert await callback(empty_town, REPLICA, {"type": "event", "name": "ask"}) == 200
    assert list(empty_town.records("answer").items()) == [own]
    first.set()
    await hold.arrived.wait()
    call = asyncio.create_task(callback(empty_town, REPLICA, message("three")))
    assert await waiting(call)
    hold.go.set()
    await asyncio.gather(turn, call)

    assert empty_town.said() == ["zero", "one", "two", "three"]
    assert empty_town.records("answer") == {}


async def test_calls_of_one_turn_follow_each_other_in_one_record(empty_town: Town) -> None:
    """However many they are, it is looked for where they are."""
    root, known = Root(), []

    @root.on_message("begin")
    async def begin(turn: Turn) -> None:
        await root.skills.begin(turn, "echo")
        for n in range(4):
            await root.skills.send(turn, Activity.make("event", name=f"e{n}"))

    def answer(_: Request) -> Response:
        known.append(empty_town.records("answer"))
        return replies(message("said"))

    await start(empty_town, root)
    of_skill(empty_town, *[answer] * 5)

    assert await empty_town.say("begin") == ["said"] * 5
    assert {key[-2:] for records in known for key in records} == {"01"}
    assert len({mark for records in known for mark in records.values()}) == 5
    assert empty_town.records("answer") == {}


@pytest.mark.parametrize(
    ("before", "now", "in_grace", "waits"),
    [
        (Mark("a", "p"), None, True, False),
        (Mark("a", "p"), Mark("a", "p"), True, True),
        (Mark("a", "p"), Mark("a", "p"), False, False),
        (Mark("a", "p"), Mark("a", "p", passing=True), False, True),
        (Mark("a", "p", passing=True), Mark("a", "p", passing=True), False, True),
        (Mark("a", "p", passing=True), Mark("a", "p"), True, False),
        (Mark("a", "p", passing=True), Mark("b", "p", passing=True), True, False),
        (None, Mark("a", "p", passing=True), True, False),
    ],
)
def test_what_is_waited_for(
    before: Mark | None, now: Mark | None, in_grace: bool, waits: bool
) -> None:
    """An answer that was there before, while it is passed on, or may be told to be."""
    known = {} if before is None else {"key": before}
    found = {} if now is None else {"key": now}

    assert awaited(known, found, in_grace=in_grace) == (found if waits else {})

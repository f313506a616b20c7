"""There is one way out: whatever reaches a user has passed the root's hooks, whoever said it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from skills.echo import bot as echo
from skills_host import Activity, Root, Turn
from skills_host.bot.turn import Place, SendNext
from skills_host.settings import Delivery, Operation
from skills_host.transport import Request, Response
from tests.conftest import new_folder, open_town
from tests.consumer.asking import HELLO, asked
from tests.consumer.chains import start_chain
from tests.world import CONSOLE, ROOT, SKILLS, Lab, Town, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING = {"operations": dict.fromkeys(Operation, "allowed")}
STAMP = "x-passed"
Act = Callable[[], Awaitable[Any]]


@dataclass
class Gate:
    """A hook that stamps everything; it can change, drop or hold it."""

    stamp: str = STAMP
    text: str | None = None
    drops: bool = False
    go: asyncio.Event | None = None
    waiting: int = 0

    async def __call__(self, turn: Turn, activity: Activity, send: SendNext) -> str:
        self.waiting += 1
        if self.go is not None:
            await self.go.wait()
        if self.drops:
            return ""
        changes = {self.stamp: b"true"}
        if self.text is not None:
            changes["text"] = json.dumps(self.text).encode()
        return await send(turn, activity.with_raw(changes))


class Gated(Root):
    """A root with a gate, and words of its own for every occasion."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.place: Place | None = None
        self.use_on_send(gate)
        self.on_message("own")(self._own)
        self.on_message("fail")(self._fail)
        self.on_message("stream")(self._stream)
        self.on_event()(self._own)
        self.on_end(self._own)

    async def _own(self, turn: Turn) -> None:
        self.place = turn.place
        await turn.send("own words")

    async def _fail(self, turn: Turn) -> None:
        raise ZeroDivisionError

    async def _stream(self, turn: Turn) -> None:
        await self.skills.begin(turn, "echo", delivery=Delivery.STREAM)


@dataclass
class Street:
    """A town whose root has a gate; `said` is every activity that the channel got."""

    town: Town
    root: Gated
    gate: Gate
    said: list[dict[str, Any]] = field(default_factory=list)
    conversation: str = "c0"

    def hear(self, request: Request) -> Response | None:
        """Note the activities of a request to the channel; it offers transcripts, too."""
        if not request.body:
            return None
        body = json.loads(request.body)
        if request.url.endswith("/activities/history"):
            self.said += body["activities"]
            return Response(200, {}, b'{"id":"9"}')
        if request.url.endswith("/v3/conversations"):
            self.said += [body["activity"]] if "activity" in body else []
        else:
            self.said.append(body)
        return None

    async def say(self, text: str) -> Response:
        """What the user of this test says."""
        return await self.town.post(text, user="ann", conversation=self.conversation)

    async def call(self, method: str, path: str, body: Any, skill: str = "echo") -> Response:
        """What a skill asks for; it is accepted."""
        answer = await asked(self.town, method, f"/v3/conversations{path}", body, skill=skill)
        assert 200 <= answer.status < 300, answer.body
        return answer

    def handle(self, skill: str = "echo") -> str:
        """Where the skill is called to."""
        return self.town.handle(skill)

    async def restart(self) -> None:
        """Stop the root and start it again over its store."""
        await self.town.stop(ROOT)
        await start_root(self.town, self.root)


async def start_root(town: Town, root: Root) -> None:
    """The root of this street."""
    booking = {"delivery": "expectReplies", "texts": {"ended": "The booking is over."}}
    await town.start_root(root=root, echo=EVERYTHING, booking=booking)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def paved(lab: Lab) -> AsyncIterator[Street]:
    """The street of all tests of this file."""
    gate = Gate()
    root = Gated(gate)
    with new_folder() as folder:
        town = await open_town(Town(folder, lab), root)
        await town.stop(ROOT)
        await start_root(town, root)
        yield Street(town, root, gate)
        await town.close()


@pytest.fixture
def street(paved: Street, request: pytest.FixtureRequest) -> Iterator[Street]:
    """With an open gate and a conversation of its own."""
    paved.said.clear()
    paved.conversation = request.node.name
    paved.town.send.faults[CONSOLE] = paved.hear
    yield paved
    paved.gate.text, paved.gate.drops, paved.gate.go = None, False, None
    paved.town.send.faults.clear()


# Every way in which words reach the channel: what has to happen first, then what is looked at.


async def callback(street: Street) -> Act:
    await street.say("echo")
    return lambda: street.call("POST", f"/{street.handle()}/activities", HELLO)


async def reply(street: Street) -> Act:
    await street.say("echo")
    return lambda: street.call("POST", f"/{street.handle()}/activities/a1", HELLO)


async def update(street: Street) -> Act:
    await street.say("echo")
    path = f"/{street.handle()}/activities"
    said = json.loads((await street.call("POST", path, HELLO)).body)["id"]
    return lambda: street.call("PUT", f"{path}/{said}", HELLO | {"text": "new"})


async def typing(street: Street) -> Act:
    await street.say("echo")
    return lambda: street.call("POST", f"/{street.handle()}/activities", {"type": "typing"})


async def command(street: Street) -> Act:
    await street.say("echo")
    body = {"type": "command", "name": "application/x.y"}
    return lambda: street.call("POST", f"/{street.handle()}/activities", body)


async def in_the_answer(street: Street) -> Act:
    return lambda: street.say("booking")


async def stream(street: Street) -> Act:
    return lambda: street.say("stream")


async def history(street: Street) -> Act:
    await street.say("echo")
    body = {"activities": [HELLO | {"from": {"id": "ann"}}, HELLO]}
    return lambda: street.call("POST", f"/{street.handle()}/activities/history", body)


async def first_words(street: Street) -> Act:
    await street.say("echo")
    return lambda: street.call("POST", "", {"members": [{"id": "zoe"}], "activity": HELLO})


async def created_conversation(street: Street) -> Act:
    await street.say("echo")
    made = json.loads((await street.call("POST", "", {"members": [{"id": "zoe"}]})).body)
    return lambda: street.call("POST", f"/{made['id']}/activities", HELLO)


async def minutes_later(street: Street) -> Act:
    await street.say("echo")
    moment = street.town.now()

    async def later() -> None:
        now, street.town.now = street.town.now, lambda: moment + 600
        try:
            await street.call("POST", f"/{street.handle()}/activities", HELLO)
        finally:
            street.town.now = now

    return later


async def after_a_restart(street: Street) -> Act:
    await street.say("echo")
    await street.restart()
    return lambda: street.call("POST", f"/{street.handle()}/activities", HELLO)


async def own_words(street: Street) -> Act:
    return lambda: street.say("own")


async def help(street: Street) -> Act:
    return lambda: street.say("help")


async def unknown(street: Street) -> Act:
    return lambda: street.say("what?")


async def greeting(street: Street) -> Act:
    activity = street.town.console.activity("", user="ann", conversation=street.conversation)
    added = {"type": "conversationUpdate", "membersAdded": [{"id": "ann"}]}
    return lambda: street.town.console.post(activity | added)


async def apology(street: Street) -> Act:
    return lambda: street.say("fail")


async def unavailable(street: Street) -> Act:
    street.town.send.faults[SKILLS["echo"]] = lambda _: Response(500)
    return lambda: street.say("echo")


async def cancelled(street: Street) -> Act:
    await street.say("echo")
    return lambda: street.say("cancel")


async def event(street: Street) -> Act:
    await street.say("echo")
    body = {"type": "event", "name": "x"}
    return lambda: street.call("POST", f"/{street.handle()}/activities", body)


async def end(street: Street) -> Act:
    await street.say("echo")
    body = {"type": "endOfConversation"}
    return lambda: street.call("POST", f"/{street.handle()}/activities", body)


async def end_in_the_answer(street: Street) -> Act:
    for text in ("booking", "Lisbon", "2030-05-17", "2"):
        await street.say(text)
    return lambda: street.say("yes")


async def proactive(street: Street) -> Act:
    await street.say("own")
    place = street.root.place
    assert place is not None

    async def speak(turn: Turn) -> None:
        await turn.send("first")
        await turn.update("unknown", "changed")

    async def first() -> None:
        try:
            await street.root.continue_conversation(place, speak)
        except Exception as exc:  # the console has no such activity
            assert "404" in str(exc)

    return first


async def proactive_after_a_restart(street: Street) -> Act:
    act = await proactive(street)
    await street.restart()
    return act


WAYS = [
    callback,
    reply,
    update,
    typing,
    command,
    in_the_answer,
    stream,
    history,
    first_words,
    created_conversation,
    minutes_later,
    after_a_restart,
    own_words,
    help,
    unknown,
    greeting,
    apology,
    unavailable,
    cancelled,
    event,
    end,
    end_in_the_answer,
    proactive,
    proactive_after_a_restart,
]
every_way = pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
Way = Callable[[Street], Awaitable[Act]]


@every_way
async def test_hook_sees_all_that_arrives(street: Street, way: Way) -> None:
    """From the first word of the conversation on."""
    act = await way(street)
    before = len(street.said)
    await act()

    assert len(street.said) > before
    assert all(STAMP in activity for activity in street.said)


@every_way
async def test_hook_changes_all_that_arrives(street: Street, way: Way) -> None:
    act = await way(street)
    street.said.clear()
    street.gate.text = "changed"
    await act()

    assert {activity["text"] for activity in street.said} == {"changed"}


@every_way
async def test_hook_drops_all_that_would_arrive(street: Street, way: Way) -> None:
    """The one who said it need not know."""
    act = await way(street)
    street.said.clear()
    street.gate.drops = True
    await act()

    assert not street.said


@every_way
async def test_hook_holds_all_that_would_arrive(street: Street, way: Way) -> None:
    """Until it lets go."""
    act = await way(street)
    street.said.clear()
    street.gate.go, street.gate.waiting = asyncio.Event(), 0
    acting = asyncio.ensure_future(act())
    await until(lambda: street.gate.waiting)
    early = list(street.said)
    street.gate.go.set()
    await acting

    assert not early
    assert street.said


@pytest.mark.parametrize("delivery", Delivery)
async def test_hooks_of_a_middle_root_are_passed_too(lab: Lab, delivery: Delivery) -> None:
    """What a skill two steps down says has passed both gates."""
    outer, inner = Gate(), Gate(stamp="x-middle")
    root, middle = Gated(outer), Gated(inner)
    with new_folder() as folder:
        town = Town(folder, lab)
        settings = {"delivery": delivery}
        await start_chain(
            town, ("root", root), ("booking", middle), ("echo", echo), settings=settings
        )
        street = Street(town, root, outer)
        town.send.faults[CONSOLE] = street.hear
        await town.post("go")
        await town.post("hello")
        await town.quiet()
        await town.close()

    assert [activity["text"] for activity in street.said] == ["Echo: go", "Echo: hello"]
    assert all({STAMP, "x-middle"} <= set(activity) for activity in street.said)

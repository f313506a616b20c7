"""Overlaps: a root whose users write, cancel and deliver twice while skills answer, end and fail.

A machine of rules makes them in any order, against a real root and skills whose every answer it
decides. What must hold whatever happens is checked after each rule, and at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from skills_host.activity import Activity
from skills_host.cli.conversations import ended, open_conversations
from skills_host.consumer.conversations import KIND as HANDLE
from skills_host.consumer.conversations import SkillConversation
from skills_host.consumer.session import KIND as SESSION
from skills_host.consumer.session import Session
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Request, Response
from skills_host.wire import encode
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.world import SKILLS, Lab, Town, until

__all__ = ["Overlaps"]

USERS = {"ann": "c1", "bob": "c2"}
ENDED = ("was cancelled.", "has ended, because", "is not available right now")
"""What a root tells its user of an end that no skill made."""

users = st.sampled_from(sorted(USERS))
skills = st.sampled_from(sorted(SKILLS))
numbers = st.integers(0, 99)


@dataclass
class Said:
    """What a user said, and how its delivery goes."""

    id: str
    user: str
    activity: dict[str, Any]
    delivery: asyncio.Task[Response]
    again: list[asyncio.Task[Response]] = field(default_factory=list)


@dataclass
class Post:
    """An activity at a skill; open until it is answered, or given up by the root."""

    skill: str
    activity: Activity
    answer: asyncio.Future[Response]

    @property
    def handle(self) -> str:
        return self.activity.conversation.id or ""

    @property
    def is_open(self) -> bool:
        return not self.answer.done()


class Overlaps(RuleBasedStateMachine):
    """Two users, two skills: `echo` calls back, `booking` answers with its replies."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._runner = self._stack.enter_context(asyncio.Runner())
        self._lab = lab
        self._said: list[Said] = []
        self._posts: list[Post] = []
        self._shown: list[str] = []  # replies that the root took, and that the user must see once
        self._refused: list[str] = []  # replies that it refused, and that nobody must see
        self._own_ends: set[str] = set()  # handles that a skill ended
        self._count = 0

    def do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Do it, and let everything go on that can; whatever waits for ever fails."""

        async def run() -> None:
            async with asyncio.timeout(20):
                await coroutine
                await self._settle()
                await self._check()

        self._runner.run(run())

    # Rules

    @initialize()
    def start(self) -> None:
        from tests.conftest import new_folder  # it imports what imports this

        folder = self._stack.enter_context(new_folder())

        async def start() -> None:
            self.town = Town(folder, self._lab)
            for name in SKILLS:
                self.town.send.faults[SKILLS[name]] = self._at_skill(name)
            self.root = Witness()
            await self.town.start_root(root=self.root, booking=EXPECT_REPLIES)

        self.do(start())

    @rule(user=users, skill=skills)
    def user_writes(self, user: str, skill: str) -> None:
        """Whoever has the floor gets it, else the skill that it names."""
        self.do(self._write(user, skill))

    @rule(number=numbers, replies=st.integers(0, 2), end=st.booleans())
    @precondition(lambda self: self._open())
    def skill_answers(self, number: int, replies: int, end: bool) -> None:
        """With replies, and perhaps an end: called back while it is asked, or in the answer."""
        self.do(self._answer(self._open_post(number), replies, end))

    @rule(number=numbers)
    @precondition(lambda self: self._open())
    def skill_fails(self, number: int) -> None:
        self._open_post(number).answer.set_result(Response(500))
        self.do(self._nothing())

    @rule(number=numbers)
    @precondition(lambda self: self._posts)
    def skill_calls_back(self, number: int) -> None:
        """By itself, in any conversation it ever had."""
        self.do(self._call_back(self._posts[number % len(self._posts)]))

    @rule(number=numbers)
    @precondition(lambda self: self._posts)
    def skill_ends(self, number: int) -> None:
        """By itself, in any conversation it ever had: amid a post, or late, or twice."""
        self.do(self._end(self._posts[number % len(self._posts)]))

    @rule(user=users)
    def user_cancels(self, user: str) -> None:
        """It is answered whatever waits."""
        self.do(self._cancel(user))

    @rule(number=numbers)
    @precondition(lambda self: self._said)
    def same_delivery_again(self, number: int) -> None:
        said = self._said[number % len(self._said)]

        async def deliver() -> None:
            said.again.append(self._delivered(said.activity))

        self.do(deliver())

    @rule(number=numbers)
    def operator_ends(self, number: int) -> None:
        self.do(self._order_end(number))

    @rule(user=users, number=numbers, skill=skills)
    @precondition(lambda self: self._posts)
    def all_at_once(self, user: str, number: int, skill: str) -> None:
        """A cancel, an end, a word of the skill's and one of the user's, in one moment."""
        post = self._posts[number % len(self._posts)]
        steps = (
            self._cancel(user),
            self._end(post),
            self._call_back(post),
            self._write(user, skill),
        )

        async def run() -> None:
            await asyncio.gather(*steps)

        self.do(run())

    def teardown(self) -> None:
        """Everything that is open is answered and cancelled; then nobody is left in a skill."""
        try:
            if hasattr(self, "town"):
                self._runner.run(self._finish())
        finally:
            self._stack.close()

    # What the rules do

    async def _nothing(self) -> None: ...

    async def _write(self, user: str, skill: str) -> None:
        self._count += 1
        text = f"{skill} {self._count}"
        activity = self.town.console.activity(text, user=user, conversation=USERS[user])
        delivery = self._delivered(activity)
        self._said.append(Said(str(activity["id"]), user, activity, delivery))

    def _delivered(self, activity: dict[str, Any]) -> asyncio.Task[Response]:
        return asyncio.create_task(self.town.console.post(activity, timeout=30))

    async def _answer(self, post: Post, replies: int, end: bool) -> None:
        if post.skill == "booking":
            texts = [self._text() for _ in range(replies)]
            activities = [{"type": "message", "text": text} for text in texts]
            activities += [{"type": "endOfConversation"}] if end else []
            self._shown += texts
            if end:
                self._own_ends.add(post.handle)
            post.answer.set_result(Response(200, body=encode({"activities": activities})))
            return
        for _ in range(replies):
            await self._call_back(post)
        if end:
            await self._end(post)
        post.answer.set_result(Response(200))

    async def _call_back(self, post: Post) -> None:
        text = self._text()
        activity = {"type": "message", "text": text}
        status, code = await self.town.callback(post.skill, post.handle, activity)
        assert (status, code) in ((200, ""), (404, "conversation-ended"))
        (self._shown if status == 200 else self._refused).append(text)

    async def _end(self, post: Post) -> None:
        end = {"type": "endOfConversation"}
        status, code = await self.town.callback(post.skill, post.handle, end)
        assert (status, code) in ((200, ""), (404, "conversation-ended"))
        if status == 200:
            assert post.handle not in self._own_ends
            self._own_ends.add(post.handle)

    async def _cancel(self, user: str) -> None:
        answer = await self.town.post("cancel", user=user, conversation=USERS[user])
        assert answer.status == 200

    async def _order_end(self, number: int) -> None:
        store = SqliteStore(self.town.folder / "root.db")
        await store.open()
        found = await open_conversations(store)
        if found:
            chosen = found[number % len(found)]
            await ended(store, [chosen.handle], wait=0)
            await until(lambda: self._told(chosen.handle))
        await store.close()

    def _told(self, handle: str) -> bool:
        """True once everybody knows of an end that was ordered."""
        conversation = self._conversations()[handle]
        return conversation.closed and not conversation.ending

    # What is seen

    def _at_skill(self, name: str) -> Any:
        async def arrived(request: Request) -> Response:
            activity = Activity.parse(request.body or b"")
            if activity.type == "endOfConversation":
                return Response(200)
            post = Post(name, activity, asyncio.get_running_loop().create_future())
            self._posts.append(post)
            return await post.answer

        return arrived

    def _text(self) -> str:
        self._count += 1
        return f"reply {self._count}"

    def _open(self) -> list[Post]:
        return [post for post in self._posts if post.is_open]

    def _open_post(self, number: int) -> Post:
        posts = self._open()
        return posts[number % len(posts)]

    def _conversations(self) -> dict[str, SkillConversation]:
        records = self.town.records(HANDLE)
        return {handle: SkillConversation.parse(handle, body) for handle, body in records.items()}

    def _texts(self) -> list[str]:
        return [text for conversation in USERS.values() for text in self._texts_in(conversation)]

    def _texts_in(self, conversation: str) -> list[str]:
        opened = self.town.console.open(conversation)
        return [entry.text for entry in opened.transcript.entries]

    # What must hold

    async def _settle(self) -> None:
        """Let each user's first word that is not done get to its skill, or be done.

        A call is given up whose conversation somebody else than the skill has ended.
        """
        await until(lambda: not any(map(self._is_over, self._open())))
        for user in USERS:
            await until(lambda user=user: self._is_settled(user))  # type: ignore[misc]
        await until(lambda: all(task.done() for said in self._done() for task in said.again))

    def _is_settled(self, user: str) -> bool:
        left = [said for said in self._said if said.user == user and not said.delivery.done()]
        return not left or any(post.activity.id == left[0].id for post in self._open())

    def _is_over(self, post: Post) -> bool:
        is_closed = self._conversations()[post.handle].closed
        return is_closed and post.handle not in self._own_ends

    def _done(self) -> list[Said]:
        return [said for said in self._said if said.delivery.done()]

    async def _check(self) -> None:
        texts = self._texts()
        for text in self._shown:
            assert texts.count(text) == 1 or self._is_on_its_way(text), text
        assert not set(self._refused) & set(texts)
        self._check_floor()
        for said in self._done():
            assert said.delivery.result().status == 200
            assert all(task.result() == said.delivery.result() for task in said.again)

    def _is_on_its_way(self, text: str) -> bool:
        """True for what came in an answer that the root has not passed on yet."""
        return text not in self._texts() and any(not s.delivery.done() for s in self._said)

    def _check_floor(self) -> None:
        """A session's active skill is the one open conversation that there is in it."""
        open_in: dict[str, list[str]] = {}
        for handle, conversation in self._conversations().items():
            if not conversation.closed:
                open_in.setdefault(conversation.place.session, []).append(handle)
        active = {
            key: session.active.handle
            for key, body in self.town.records(SESSION).items()
            if (session := Session.parse(body)).active is not None
        }
        assert open_in == {key: [handle] for key, handle in active.items()}

    async def _finish(self) -> None:
        async with asyncio.timeout(20):
            while self._open():
                await self._answer(self._open()[0], 1, False)
                await self._settle()
            for user, conversation in USERS.items():
                before = len(self._texts_in(conversation))
                await self._cancel(user)
                (told,) = self._texts_in(conversation)[before:]
                assert told.endswith((ENDED[0], "nothing to cancel."))
                (lost,) = await self.town.say("hello", user=user, conversation=conversation)
                assert lost.startswith("I did not understand")
            await self._check()
            self._check_all()
            await self.town.close()

    def _check_all(self) -> None:
        """Each word reached one skill, once and in order; each conversation ended once."""
        asked = [post.activity.id for post in self._posts]
        for user in USERS:
            mine = [said.id for said in self._said if said.user == user]
            assert [one for one in asked if one in mine] == mine
        handles = self._conversations()
        told = [text for text in self._texts() if any(end in text for end in ENDED)]

        assert len(self.root.ends) == len(handles)
        assert len(told) == len(handles) - len(self._own_ends)
        assert self._own_ends <= handles.keys()

"""A turn: one activity being handled, and the only way out for what is said in answer to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from skills_host.activity import Activity, ChannelAccount, viewed
from skills_host.addressing import (
    end_of_conversation,
    id_of,
    received_in,
    reply_to,
    restored_for_user,
    tidied,
)
from skills_host.auth.claims import Identity
from skills_host.bot.channel import (
    Channel,
    ChannelAnswer,
    InvokeResponse,
    ReplyBuffer,
    invoke_response_of,
)
from skills_host.bot.effects import Effects, mark_of
from skills_host.bot.middleware import compose
from skills_host.bot.state import CallProperties, Properties
from skills_host.errors import BadInput, ChannelFailed, StateConflict, VersionConflict
from skills_host.reference import ConversationReference
from skills_host.store.records import Change, Check, Key, Store
from skills_host.wire import decode, decode_elements, decode_members, encode, encode_members

__all__ = [
    "ChannelAnswer",
    "Place",
    "SendNext",
    "Sending",
    "Turn",
    "spoken",
]

# Nobody mentions a bot more often than this in what is meant to be read.
MENTIONS = 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a turn takes place; kept (`encode`), it is where the bot can speak first later.

    `audience` is whom the conversation's tokens are for, `session` whose state is used. `hops` is
    the trail of the bots that passed the user on to this one.
    """

    reference: ConversationReference
    audience: str
    session: str
    hops: tuple[str, ...] = ()

    @property
    def caller(self) -> str:
        """The app id of the bot that this one is a skill of there; empty where it is a channel."""
        return "" if "://" in self.audience else self.audience

    def encode(self) -> bytes:
        """The place as JSON."""
        texts = {"audience": encode(self.audience), "session": encode(self.session)}
        trail = {"hops": encode(self.hops)} if self.hops else {}
        return encode_members(texts | trail | {"reference": self.reference.encode()})

    @classmethod
    def parse(cls, data: bytes) -> Place:
        """The place from its own `encode()`; `BadInput` for anything else."""
        members = decode_members(data)
        reference = ConversationReference.parse(members.get("reference", b"{}"))
        audience, session = (decode(members.get(name, b'""')) for name in ("audience", "session"))
        return cls(reference, audience, session, tuple(decode(members.get("hops", b"[]"))))


SendNext = Callable[["Turn", Activity], Awaitable[str]]
"""Delivers an activity, or hands it to the next hook; returns the channel's id of it."""

Sending = Callable[["Turn", Activity, SendNext], Awaitable[str]]
"""A hook on everything that goes out: may change it, drop it, or hand it on."""


class Turn:
    """One received activity, who sent it, the state it may use, and how to answer.

    `identity` is None in a turn that the host started by itself; `audience` is whom answers need
    a token for; `speaker` is the skill whose words the turn carries, if any.

    What the bot remembers has a scope: `call` is forgotten when the bot, as a skill, is done;
    `state` is that of the conversation, and `user` goes with the user from one to the next. Where
    the bot is a skill, none of it is shared between those who call it.
    """

    def __init__(
        self,
        activity: Activity,
        *,
        bot: str,
        key: str,
        identity: Identity | None,
        reference: ConversationReference,
        channel: Channel,
        audience: str,
        store: Store,
        state: Properties,
        call: CallProperties,
        user: Properties,
        session: str,
        hops: tuple[str, ...] = (),
        hooks: Sequence[Sending] = (),
        speaker: str | None = None,
        fence: Check | None = None,
        effects: Effects,
    ) -> None:
        self.activity = activity
        self.bot = bot
        self.key = key
        self.identity = identity
        self.reference = reference
        self.channel = channel
        self.audience = audience
        self.state = state
        self.call = call
        self.user = user
        self.session = session
        self.hops = hops
        self.speaker = speaker
        self.invoke_response: InvokeResponse | None = None
        self.has_ended = False
        self.has_failed = False
        self._posted: set[tuple[str, ...]] = set()
        self._kept: dict[Key, Change] = {}
        self._store = store
        self._hooks = hooks
        self._fence = fence
        self.effects = effects

    @property
    def text(self) -> str:
        """What the user said, without mentions of the bot; empty for other activities."""
        return spoken(self.activity)

    @property
    def place(self) -> Place:
        """Where this turn takes place, to keep for `Bot.continue_conversation`."""
        return Place(self.reference, self.audience, self.session, self.hops)

    @property
    def is_from_skill_consumer(self) -> bool:
        """True if another bot called this one as its skill.

        The audience tells: the identity of a callback's turn is that of the bot's own skill.
        """
        return bool(self.place.caller)

    @property
    def is_leased(self) -> bool:
        """True if another process takes the turn up where this one dies."""
        return self._fence is not None

    @property
    def fence(self) -> list[Change]:
        """What is written with anything that only the process may write which has the turn."""
        return [] if self._fence is None else [self._fence]

    def check_lease(self, exc: VersionConflict) -> None:
        """Raise `CancelledError` if the conflict is about the `fence`: another process does this
        turn now, and here it ends, whatever the bot's code catches."""
        if self._fence and (exc.kind, exc.key) == (self._fence.kind, self._fence.key):
            raise asyncio.CancelledError from exc

    @property
    def answered(self) -> tuple[str, ...]:
        """What is in the answer to the caller so far, as JSON; nothing where there is none."""
        channel = self.channel
        said = channel.activities if isinstance(channel, ReplyBuffer) else ()
        return tuple(activity.encode().decode() for activity in said)

    async def answer_again(self, answered: Sequence[str]) -> None:
        """Put into the answer what an earlier run had put there, behind what is there already."""
        if isinstance(self.channel, ReplyBuffer):
            for said in answered[len(self.channel.activities) :]:
                await self.channel.send(Activity.parse(said.encode()), key="")

    @contextmanager
    def about(self, activity: Activity, speaker: str) -> Iterator[None]:
        """For as long as it lasts, the turn is about what a skill said."""
        own = self.activity, self.speaker
        self.activity, self.speaker = received_in(activity, self.reference), speaker
        try:
            yield
        finally:
            self.activity, self.speaker = own

    def as_said(self, activity: Activity) -> Activity:
        """An activity of the bot's own as if the turn's user had sent it, for a skill.

        What it lacks of id, locale and channel data is the turn's; what has no id then gets one
        that is the same in every run of the turn, for a skill knows by it what it got before. A
        second activity would be taken for the first one: then the id gets a number.
        """
        made = received_in(activity, self.reference)
        lacking = ("id", "locale", "channelData")
        made = made.with_raw({name: made.raw(name) or self.activity.raw(name) for name in lacking})
        id, number = made.id or id_of(self.key), 1
        made = made.with_(id=id)
        while activity.id is None and mark_of(made) in self._posted:
            number += 1
            made = made.with_(id=f"{id}|{number}")
        return made

    def note_posted(self, activity: Activity) -> None:
        """Remember that a skill was sent this activity in this turn."""
        self._posted.add(mark_of(activity))

    async def send(self, activity: Activity | str) -> str:
        """Say something to the user; the channel's id of it, or an empty string.

        Addresses are set here from the conversation's reference, whatever the activity holds.
        """
        if isinstance(activity, str):
            activity = Activity.make("message", text=activity)
        addressed = tidied(reply_to(self.reference, activity))
        return await self._out(addressed, partial(self._send_now, None))

    async def relay(self, activity: Activity, *, reply_to_id: str | None) -> str:
        """Pass on what the turn's `speaker` said, as an answer to `reply_to_id`."""
        restored = restored_for_user(activity, self.reference, reply_to_id=reply_to_id)
        return await self._out(restored, partial(self._send_now, self.speaker))

    async def update(self, activity_id: str, activity: Activity | str) -> str:
        """Replace something that was said; its id."""
        if isinstance(activity, str):
            activity = Activity.make("message", text=activity)
        addressed = tidied(reply_to(self.reference, activity)).with_(id=activity_id)
        return await self._out(addressed, partial(self._update_now, activity_id))

    async def delete(self, activity_id: str) -> None:
        """Take back something that was said."""
        await self.channel.delete(self.reference, activity_id=activity_id)

    async def ask(
        self, method: str, *path: str, query: str = "", body: bytes | None = None
    ) -> ChannelAnswer:
        """Ask the channel about the turn's conversation; `path` is what follows its id."""
        conversation = ("v3", "conversations", self.reference.conversation_id)
        return await self.channel.ask(
            method, self.reference.service_url, *conversation, *path, query=query, body=body
        )

    async def members(self) -> tuple[ChannelAccount, ...]:
        """Who is in the conversation, as the channel says."""
        answer = await self.ask("GET", "members")
        with _understood():
            return tuple(map(_member, decode_elements(answer.body)))

    async def member(self, member_id: str) -> ChannelAccount:
        """One member of the conversation; `ChannelFailed` (404) where there is none."""
        answer = await self.ask("GET", "members", member_id)
        with _understood():
            return _member(answer.body)

    async def end(
        self, value: Any = None, *, code: str = "completedSuccessfully", text: str | None = None
    ) -> None:
        """Tell the calling bot that this skill is done, with its result.

        A bot that nobody called is nobody's skill: its user's channel is told nothing.
        """
        self.has_ended = True
        if self.is_from_skill_consumer:
            await self.send(end_of_conversation(code=code, value=value, text=text))
        # What a root passes on for its skill is not its own end, unless it is a skill itself.
        if self.is_from_skill_consumer or self.speaker is None:
            await self.call.end()

    def respond(self, status: int, body: Any = None) -> None:
        """Answer the invoke of this turn; `status` is an HTTP status from 200 to 599."""
        self.invoke_response = InvokeResponse(status, body)

    def keep(self, changes: Sequence[Change]) -> None:
        """Write these records with what the turn writes next, unless that changes them itself."""
        self._kept.update({(change.kind, change.key): change for change in changes})

    @property
    def kept(self) -> tuple[Change, ...]:
        """What is still to be written so."""
        return tuple(self._kept.values())

    async def unsaved(self) -> list[Change]:
        """The changes that are not in the store yet, to be written with the turn's answer."""
        await self.call.located()
        scopes = (self.state, self.call, self.user)
        changed = [change for scope in scopes for change in scope.changes()]
        return [*changed, *self._kept.values(), *self.effects.forgotten()]

    async def save(self, also: Sequence[Change] = ()) -> tuple[int, ...]:
        """Write changed state and `also`, all or nothing; the numbers that `also` gets.

        Raises `StateConflict` if another turn changed the same property, and `VersionConflict`
        if a record of `also` is not what it was expected to be.
        """
        await self.call.located()
        scopes = (self.state, self.call, self.user)
        state = [change for scope in scopes for change in scope.changes()]
        changes = [*also, *state]
        if not changes and not self._kept:
            return ()
        named = {(change.kind, change.key) for change in also}
        # What is kept or noted while this is written is for the next time.
        kept, noted, self._kept = self._kept, self.effects.changes(), {}
        beside = [change for key, change in kept.items() if key not in named]
        try:
            versions = await self._store.write([*changes, *beside, *noted, *self.fence])
        except VersionConflict as exc:
            self._kept = kept | self._kept
            self.check_lease(exc)
            if any((change.kind, change.key) == (exc.kind, exc.key) for change in state):
                raise StateConflict() from exc
            raise
        except BaseException:
            self._kept = kept | self._kept
            raise
        for scope in scopes:
            scope.saved(changes, versions[: len(changes)])
        self.effects.saved(noted)
        return versions[: len(also)]

    async def reviewed(self, activity: Activity) -> Activity | None:
        """An activity that goes out as part of something else, as the hooks leave it; None if they
        drop it. Addressed like what is sent."""
        passed: list[Activity] = []

        async def keep(_: Turn, activity: Activity) -> str:
            passed.append(activity)
            return ""

        await self._out(
            restored_for_user(activity, self.reference, reply_to_id=activity.reply_to_id), keep
        )
        return passed[0] if passed else None

    async def _out(self, activity: Activity, deliver: SendNext) -> str:
        """The one way out: every hook sees what goes to the user, whoever said it."""
        return await compose(self._hooks, deliver)(self, activity)

    async def _send_now(self, speaker: str | None, _: Turn, activity: Activity) -> str:
        if activity.type == "invokeResponse":
            self._take_invoke_response(activity)
            return ""
        if activity.type == "trace" and activity.channel_id != "emulator":
            return ""
        send = partial(self._delivered, activity, speaker)
        # What goes into the answer is lost with the process, and so is said again.
        is_lost = isinstance(self.channel, ReplyBuffer)
        return await (send(self.effects.next()) if is_lost else self.effects.once(send))

    async def _delivered(self, activity: Activity, speaker: str | None, key: str) -> str:
        return await self.channel.send(activity, key=key, speaker=speaker)

    async def _update_now(self, activity_id: str, _: Turn, activity: Activity) -> str:
        return await self.channel.update(activity, activity_id=activity_id)

    def _take_invoke_response(self, activity: Activity) -> None:
        """Only the first answer to an invoke counts."""
        if self.invoke_response is None:
            self.invoke_response = invoke_response_of(activity.value)


def _member(raw: bytes) -> ChannelAccount:
    return viewed(raw, ChannelAccount, name="member")


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except BadInput as exc:
        raise ChannelFailed(f"the channel's answer: {exc}") from exc


def spoken(activity: Activity) -> str:
    """What was said, without white space around it and without the mentions of the bot itself
    that groups require. Pure."""
    text = activity.text or ""
    bot = activity.recipient.id
    for entity in activity.entities[:MENTIONS]:
        members = entity.model_extra or {}
        who, words = members.get("mentioned"), members.get("text")
        is_other = isinstance(who, dict) and who.get("id") != bot
        if entity.type == "mention" and isinstance(words, str) and words and not is_other:
            text = text.replace(words, " ")
    return text.strip()

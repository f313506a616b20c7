"""The adapter: from a received activity to a handled turn, and from the turn to an HTTP answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from skills_host.activity import Activity
from skills_host.addressing import continuation_of, id_of, joined_key, reference_of, session_key
from skills_host.auth.claims import Identity
from skills_host.bot.channel import (
    Channel,
    InvokeResponse,
    ReplyBuffer,
    invoke_response_activity,
)
from skills_host.bot.effects import Effects
from skills_host.bot.handlers import Bot, Handler
from skills_host.bot.middleware import compose
from skills_host.bot.sealing import Sealing
from skills_host.bot.state import CallProperties, Properties
from skills_host.bot.turn import Place, Turn
from skills_host.errors import ChannelFailed, SkillsHostError, error_body
from skills_host.store.records import Change, Check, Store
from skills_host.wire import encode

__all__ = ["APOLOGY", "Adapter", "Answer", "Connect", "Outcome", "Said"]

log = logging.getLogger(__name__)

APOLOGY = "Sorry, something went wrong here. Please try again."

REMEMBERED = 24 * 3600.0  # seconds that the effects of a turn that does not end are kept
CONTINUED = "ContinueConversation"
IN_ANSWER = ("expectReplies", "stream")

Said = Callable[[Activity], None]
"""Hears each reply of a turn as it is given."""


class Connect(Protocol):
    """A channel whose tokens are for this audience: a channel's scope, or a calling bot's app id.

    What fails when it is sent `at_once` is the sender's to know; else it may be sent later.
    `later`, all that is sent is: it must not come before an answer that is under way.
    """

    def __call__(self, audience: str, *, at_once: bool = False, later: bool = False) -> Channel: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What the HTTP request that brought an activity is answered with; `body` is JSON or empty."""

    status: int = 200
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A handled turn: its answer, and the changes of state that are still to be written.

    It `has_failed` if it ended in an exception, whatever the user was told then.
    """

    answer: Answer
    changes: tuple[Change, ...] = ()
    has_failed: bool = False


class Adapter:
    """Runs the turns of one bot; `handle` is what the bot does, inside all middleware."""

    def __init__(
        self,
        bot: Bot,
        *,
        name: str,
        handle: Handler,
        store: Store,
        connect: Connect,
        channel_scope: str,
        caller_id: str,
        sealing: Sealing,
        new_id: Callable[[], str],
        now: Callable[[], float],
        call_seconds: float = REMEMBERED,
    ) -> None:
        self.name = name
        self._call_seconds = call_seconds
        self._now = now
        self.bot = bot
        self._handle = handle
        self._store = store
        self._connect = connect
        self._channel_scope = channel_scope
        self._caller_id = caller_id
        self._sealing = sealing
        self._new_id = new_id

    async def process(
        self,
        activity: Activity,
        identity: Identity,
        *,
        key: str,
        said: Said = lambda _: None,
        fence: Check | None = None,
        hops: tuple[str, ...] = (),
        again: bool = False,
        given_up: bool = False,
    ) -> Outcome:
        """Handle a received activity; never raises for what the bot's code does wrong.

        `hops` is the trail of the bots it came by. What the turn saves is written only while
        `fence` holds; `again` if it has run before. If it is `given_up`, the user is told so and
        nothing else is done.

        The answer is what peers expect: `{"activities": […]}` for `expectReplies` and `stream`
        (where `said` hears each reply at once), an invoke's own status and body, or an empty 200.
        """
        activity = activity.with_(caller_id=self._caller(identity))
        buffer = None
        if activity.delivery_mode in IN_ANSWER:
            buffer = ReplyBuffer(self._connect(self.audience(identity), later=True), said=said)
        turn = self._turn(
            activity,
            identity=identity,
            key=key,
            place=Place(
                reference_of(activity, bot_id=identity.bot_app_id),
                self.audience(identity),
                self.session(activity, identity),
                hops,
            ),
            channel=buffer,
            fence=fence,
            again=again,
        )
        failure = await self._guarded(turn, _give_up if given_up else self._handle)
        if activity.type == "endOfConversation" and not turn.has_ended:
            await turn.call.end()
        answer = _answer(turn, buffer, failure)
        if buffer is not None:
            # What the bot says from now on, in a task of its own, comes after the answer.
            buffer.close()
        return Outcome(answer, tuple(await turn.unsaved()), has_failed=turn.has_failed)

    async def continue_conversation(
        self,
        place: Place,
        run: Handler,
        *,
        identity: Identity | None = None,
        activity: Activity | None = None,
        speaker: str | None = None,
        name: str = CONTINUED,
        key: str = "",
        guarded: bool = False,
        at_once: bool = False,
    ) -> None:
        """Run `run` in a conversation that was begun earlier, inside all middleware.

        `key` is the same whenever the same thing is done again; by default it is new. Errors are
        the caller's, those of sending only if `at_once`; if `guarded`, they end here and the user
        is told instead. State that the turn changed is saved when it returns.
        """
        new_id = self._new_id()
        turn = self._turn(
            activity or continuation_of(place.reference, name=name, new_id=new_id),
            identity=identity,
            key=key or joined_key("continue", new_id),
            place=place,
            channel=self._connect(place.audience, at_once=at_once),
            speaker=speaker,
        )
        if guarded:
            await self._guarded(turn, run)
        else:
            await compose(self.bot.middleware, run)(turn)
        await turn.save()

    async def follow_up(
        self,
        place: Place,
        run: Handler,
        *,
        key: str,
        fence: Check,
        speaker: str,
        activity: Activity | None = None,
        identity: Identity | None = None,
        again: bool = False,
        given_up: bool = False,
    ) -> Outcome:
        """Run `run` in a conversation that was begun earlier, as a turn that others take up if
        this process dies; never raises for what the bot's code does wrong.

        `fence`, `again` and `given_up` as in `process`. It has no answer, and what it is to write
        at its end is the caller's to write.
        """
        turn = self._turn(
            activity or continuation_of(place.reference, name=CONTINUED, new_id=id_of(key)),
            identity=identity,
            key=key,
            place=place,
            speaker=speaker,
            fence=fence,
            again=again,
        )
        await self._guarded(turn, _give_up if given_up else run)
        return Outcome(Answer(), tuple(await turn.unsaved()), has_failed=turn.has_failed)

    def session(self, activity: Activity, identity: Identity) -> str:
        """The session that a received activity belongs to."""
        caller = identity.app_id if identity.kind == "skill" else ""
        return session_key(self.name, activity, caller=caller)

    def audience(self, identity: Identity) -> str:
        """Whom answers need a token for: the calling bot, or the channel."""
        return identity.app_id if identity.kind == "skill" else self._channel_scope

    def _caller(self, identity: Identity) -> str:
        if identity.kind == "skill":
            return f"urn:botframework:aadappid:{identity.app_id}"
        return self._caller_id

    def _turn(
        self,
        activity: Activity,
        *,
        identity: Identity | None,
        key: str,
        place: Place,
        channel: Channel | None = None,
        speaker: str | None = None,
        fence: Check | None = None,
        again: bool = False,
    ) -> Turn:
        reference = place.reference
        # A caller may name any user: what another's are remembered by is not for it.
        callers = filter(None, [place.caller])
        user = joined_key(self.name, *callers, reference.channel_id, reference.user_id)
        return Turn(
            activity,
            bot=self.name,
            key=key,
            identity=identity,
            reference=reference,
            channel=channel or self._connect(place.audience),
            audience=place.audience,
            store=self._store,
            state=Properties(self._store, f"session/{place.session}"),
            call=CallProperties(
                self._store, place.session, now=self._now, lifetime=self._call_seconds
            ),
            user=Properties(self._store, f"user/{user}"),
            session=place.session,
            hops=place.hops,
            hooks=self.bot.hooks,
            speaker=speaker,
            fence=fence,
            effects=Effects(
                self._store,
                key,
                again=again,
                expires=self._now() + REMEMBERED,
                sealing=self._sealing,
                name=activity.name,
            ),
        )

    async def _guarded(self, turn: Turn, handle: Handler) -> SkillsHostError | None:
        """Run the bot's code; the border where any exception ends.

        What is left of a failure when it could not be told to the user either.
        """
        try:
            await compose(self.bot.middleware, handle)(turn)
            return None
        except Exception as exc:
            code = exc.code if isinstance(exc, SkillsHostError) else type(exc).__name__
            log.exception("turn of %s failed: %s", self.name, code)
        turn.has_failed = True
        # The user is asked to try again, so what this attempt changed must not count.
        turn.state.forget()
        turn.call.forget()
        turn.user.forget()
        return await self._apologised(turn)

    async def _apologised(self, turn: Turn) -> SkillsHostError | None:
        """Tell the user, and a calling bot that its skill is done for."""
        if turn.activity.type == "invoke":
            turn.respond(500)
            return None
        try:
            await turn.send(APOLOGY)
            if turn.is_from_skill_consumer and not turn.has_ended:
                await turn.end(code="SkillError")
            return None
        except Exception as exc:
            failure = exc if isinstance(exc, SkillsHostError) else SkillsHostError()
            log.error("the user of %s could not be told: %s", self.name, failure.code)
            return failure


async def _give_up(turn: Turn) -> None:
    raise SkillsHostError(code="interrupted")


def _answer(turn: Turn, buffer: ReplyBuffer | None, failure: SkillsHostError | None) -> Answer:
    is_invoke = turn.activity.type == "invoke"
    # What nobody answered is not offered, wherever the answer goes.
    response = turn.invoke_response or InvokeResponse(501)
    if buffer is not None:
        said = [activity.encode() for activity in buffer.activities]
        said += [invoke_response_activity(response).encode()] if is_invoke else []
        return Answer(200, b'{"activities":[%b]}' % b",".join(said))
    if failure is not None:
        # A channel's refusal is not the caller's fault, and 401 or 403 would look like it.
        told = failure if failure.status >= 500 else ChannelFailed()
        return Answer(told.status, encode(error_body(told)))
    if not is_invoke:
        return Answer()
    return Answer(response.status, b"" if response.body is None else encode(response.body))

"""Posting an activity to a skill, and reading whatever it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from skills_host.activity import Activity
from skills_host.auth.tokens import TokenSource
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import BadInput, SkillFailed, TransportFailed
from skills_host.transport import Request, Response, Send
from skills_host.wire import decode, decode_elements, decode_members

__all__ = ["SkillAnswer", "SkillClient", "replies_of"]


@dataclass(frozen=True, slots=True)
class SkillAnswer:
    """What a skill answered: its status, its replies in order (`expectReplies`), any JSON body."""

    status: int
    replies: tuple[Activity, ...] = ()
    body: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SkillClient:
    """Posts activities to skills as the bot that `tokens` belong to.

    A token is for exactly the skill that gets it. Nothing is posted twice, except after a 401 or
    403 with a fresh token: a skill that refuses the caller has done nothing yet.
    """

    send: Send
    tokens: TokenSource
    timeout: float = 60.0

    async def post(self, skill: Skill, activity: Activity, *, conversation_id: str) -> SkillAnswer:
        """Deliver an addressed activity; any 2xx is success, and an invoke's status is its answer.

        Raises `SkillFailed` and `TokenUnavailable`.
        """
        body = activity.encode()
        token = await self.tokens.token(skill.app_id)
        answer = await self._once(skill, body, conversation_id, token)
        if answer.status in (401, 403):
            self.tokens.forget(skill.app_id, token=token)
            token = await self.tokens.token(skill.app_id)
            answer = await self._once(skill, body, conversation_id, token)
        in_answer = activity.delivery_mode == "expectReplies"
        if activity.type == "invoke":
            return _invoke_answer(answer, in_answer=in_answer)
        if not answer.ok:
            raise _failure(answer)
        return SkillAnswer(answer.status, replies_of(answer.body) if in_answer else ())

    async def _once(self, skill: Skill, body: bytes, conversation_id: str, token: str) -> Response:
        try:
            return await self.send(
                Request(
                    "POST",
                    skill.endpoint,
                    headers={
                        "Authorization": f"Bearer {token}",
                        "Content-Type": "application/json; charset=utf-8",
                        "Accept": "application/json",
                        "x-ms-conversation-id": conversation_id,
                    },
                    body=body,
                    timeout=skill.seconds or self.timeout,
                )
            )
        except TransportFailed as exc:
            code = "deadline" if exc.code == "deadline" else "unreachable"
            raise SkillFailed(f"{skill.name}: {exc.meaning}", code=code) from exc


def replies_of(body: bytes) -> tuple[Activity, ...]:
    """The replies in an `expectReplies` answer, in order; none where there is no list.

    Raises `SkillFailed` for a body that is not JSON and for replies that are not activities.
    """
    if not body.strip():
        return ()
    try:
        members = decode_members(body)
        return tuple(map(_reply, decode_elements(members.get("activities", b"null"))))
    except BadInput as exc:
        raise SkillFailed("the skill's answer is not an expectReplies answer") from exc


def _reply(element: bytes) -> Activity:
    reply = Activity.parse(element)
    # Reading these refuses other types; the rest of a reply is nobody's business but the user's.
    named = (reply.type, reply.name, reply.code, reply.text)
    if not named[0]:
        raise BadInput("type is missing", code="missing-member")
    return reply


def _invoke_answer(answer: Response, *, in_answer: bool) -> SkillAnswer:
    """Any status is an answer to an invoke.

    With `in_answer` the response is one of the replies; only the Agents SDK for .NET puts it into
    the status and a member `body` beside them.
    """
    if not in_answer:
        return SkillAnswer(answer.status, body=_json(answer.body))
    document = _json(answer.body)
    if not answer.ok and not (isinstance(document, dict) and "activities" in document):
        raise _failure(answer)
    body = document.get("body") if isinstance(document, dict) else None
    return SkillAnswer(answer.status, replies_of(answer.body), body)


def _failure(answer: Response) -> SkillFailed:
    return SkillFailed(f"the skill answered {answer.status}", answered=answer.status)


def _json(body: bytes) -> Any:
    if not body:
        return None
    try:
        return decode(body)
    except BadInput:
        return body.decode("utf-8", "replace")

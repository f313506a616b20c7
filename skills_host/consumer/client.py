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
        if activity.type == "invoke" and activity.delivery_mode != "expectReplies":
            return SkillAnswer(answer.status, body=_json(answer.body))
        if not answer.ok:
            raise SkillFailed(f"{skill.name} answered {answer.status}", answered=answer.status)
        if activity.delivery_mode == "expectReplies":
            return SkillAnswer(answer.status, replies_of(answer.body))
        return SkillAnswer(answer.status)

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

    Agents SDK for .NET answers an invoke with a top-level `body` beside the list.
    Raises `SkillFailed` for a body that is not JSON.
    """
    if not body.strip():
        return ()
    try:
        members = decode_members(body)
        return tuple(map(Activity.parse, decode_elements(members.get("activities", b"null"))))
    except BadInput as exc:
        raise SkillFailed("the skill's answer is not an expectReplies answer") from exc


def _json(body: bytes) -> Any:
    if not body:
        return None
    try:
        return decode(body)
    except BadInput:
        return body.decode("utf-8", "replace")

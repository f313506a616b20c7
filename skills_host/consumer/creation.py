"""A new conversation, as a skill asks for it and as its channel is asked. Pure.

It can only be where the skill already is: on that channel, in that tenant, as that root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from skills_host.activity import (
    ID_CHARACTERS,
    Activity,
    ChannelAccount,
    ConversationAccount,
    viewed,
)
from skills_host.errors import BadInput
from skills_host.reference import ConversationReference
from skills_host.wire import decode, decode_elements, decode_members, encode, encode_members

__all__ = ["Created", "NewConversation"]

MEMBERS = 500


@dataclass(frozen=True, slots=True)
class NewConversation:
    """What a skill asks for: `members` are those of its body, the others what they say.

    `accounts` are who shall be in it, as raw JSON; `tenants` are all that are named anywhere.
    """

    members: Mapping[str, bytes] = field(repr=False)
    first: Activity | None
    accounts: tuple[bytes, ...] = field(repr=False)
    is_group: bool
    tenants: frozenset[str]

    @classmethod
    def parse(cls, body: bytes) -> NewConversation:
        """The request from its body; nulls count as absent. Raises `BadInput`."""
        members = {name: raw for name, raw in decode_members(body).items() if raw != b"null"}
        first = Activity.parse(members["activity"]) if "activity" in members else None
        accounts = tuple(decode_elements(members.get("members", b"null")))
        if len(accounts) > MEMBERS:
            raise BadInput(f"a new conversation has more than {MEMBERS} members", code="too-large")
        is_group = decode(members.get("isGroup", b"false"))
        if not isinstance(is_group, bool):
            raise BadInput("isGroup has the wrong type", code="bad-activity")
        named = (_tenants(members), *map(_tenants_of_account, accounts), _tenants_of(first))
        return cls(members, first, accounts, is_group, frozenset().union(*named))

    @property
    def tenant(self) -> str:
        """One of the tenants that are named, or an empty string."""
        return min(self.tenants, default="")

    def fits(self, reference: ConversationReference) -> bool:
        """True if it would be on the channel and in the tenant of this conversation."""
        channel = self.first.channel_id if self.first is not None else None
        tenant = _tenant_of(reference)
        return self.tenants <= {tenant} and channel in (None, "", reference.channel_id)

    def user(self, reference: ConversationReference) -> bytes | None:
        """The account of the only user in it; None in a group."""
        bot = viewed(reference.bot, ChannelAccount, name="bot").id
        users = [raw for raw in self.accounts if _account(raw).id != bot]
        return users[0] if len(users) == 1 and not self.is_group else None

    def reference(
        self, basis: ConversationReference, *, conversation_id: str | None = None
    ) -> ConversationReference:
        """Where it is, beside `basis`; without an id as long as the channel gave none."""
        old = decode_members(basis.conversation)
        account = {"id": encode(conversation_id)} if conversation_id else {}
        account |= {"tenantId": old["tenantId"]} if "tenantId" in old else {}
        account |= {"isGroup": b"true"} if self.is_group else {}
        return replace(
            basis,
            conversation=encode_members(account),
            user=self.user(basis),
            activity_id=None,
        )

    def parameters(self, basis: ConversationReference, first: Activity | None) -> bytes:
        """What the channel is asked: as the root's own account, in the tenant of `basis`."""
        members = dict(self.members) | {"bot": basis.bot or b"{}"}
        tenant = decode_members(basis.conversation).get("tenantId")
        if tenant is not None:
            members["tenantId"] = tenant
        members.pop("activity", None)
        if first is not None:
            members["activity"] = first.with_raw({"conversation": None}).encode()
        return encode_members(members)


@dataclass(frozen=True, slots=True)
class Created:
    """What the channel made: the ids of the conversation and of its first activity, if any."""

    conversation_id: str
    activity_id: str

    @classmethod
    def parse(cls, body: bytes) -> Created | None:
        """The channel's answer; None where it names no conversation."""
        try:
            document = decode(body) if body else None
        except BadInput:
            return None
        answer = document if isinstance(document, dict) else {}
        conversation_id, activity_id = answer.get("id"), answer.get("activityId")
        if not isinstance(conversation_id, str) or not conversation_id:
            return None
        return cls(conversation_id, activity_id if isinstance(activity_id, str) else "")


def _account(raw: bytes) -> ChannelAccount:
    account = viewed(raw, ChannelAccount, name="members")
    if not 0 < len(account.id or "") <= ID_CHARACTERS:
        raise BadInput("members: each needs an id", code="missing-member")
    return account


def _tenants_of(first: Activity | None) -> set[str]:
    return set() if first is None else _tenants(first.members)


def _tenants_of_account(raw: bytes) -> set[str]:
    return _texts((_account(raw).model_extra or {}).get("tenantId"))


def _tenants(members: Mapping[str, bytes]) -> set[str]:
    """The tenants that parameters or an activity name, in each place where one can stand."""
    data = decode(members.get("channelData", b"null"))
    inner = data.get("tenant") if isinstance(data, dict) else None
    account = viewed(members.get("conversation"), ConversationAccount, name="conversation")
    return _texts(
        decode(members.get("tenantId", b"null")),
        inner.get("id") if isinstance(inner, dict) else inner,
        account.tenant_id,
    )


def _texts(*values: Any) -> set[str]:
    given = [value for value in values if value not in (None, "")]
    if not all(isinstance(value, str) for value in given):
        raise BadInput("a tenant has the wrong type", code="bad-activity")
    return {value.lower() for value in given}


def _tenant_of(reference: ConversationReference) -> str | None:
    tenant = viewed(reference.conversation, ConversationAccount, name="conversation").tenant_id
    return tenant.lower() if tenant else None

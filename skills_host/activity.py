"""The activity: a frozen value over the members that were received, each kept as its raw bytes.

Typed properties decode on first use; `with_` makes a changed copy; what nobody names stays as it
came. Member names and their meaning are those of the Bot Framework Activity schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from skills_host.errors import BadInput
from skills_host.wire import decode, decode_members, encode, encode_members

__all__ = [
    "ID_CHARACTERS",
    "Activity",
    "Attachment",
    "ChannelAccount",
    "ConversationAccount",
    "Entity",
    "View",
    "check_received",
    "viewed",
    "wire_name",
]

ID_CHARACTERS: Final = 1500
"""The longest identifier that is taken from a peer."""

_TYPE_CHARACTERS: Final = 128
_TEXTS = ("name", "text", "code", "locale", "deliveryMode")
_ADDRESSES = ("conversation", "from", "recipient")
_WORD = re.compile(r"_+([a-z])")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class View(BaseModel):
    """A typed, frozen look at a nested value; unknown members are kept."""

    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True
    )

    def to_wire(self) -> Any:
        """The JSON shape with exact camelCase names and without nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ChannelAccount(View):
    """A user, bot or skill as a channel names it."""

    id: str | None = None
    name: str | None = None
    aad_object_id: str | None = None
    role: str | None = None


class ConversationAccount(View):
    """A conversation as a channel names it."""

    id: str | None = None
    name: str | None = None
    is_group: bool | None = None
    conversation_type: str | None = None
    tenant_id: str | None = None
    aad_object_id: str | None = None
    role: str | None = None


class Attachment(View):
    """A file or card; `content` is left as it is."""

    content_type: str | None = None
    content_url: str | None = None
    content: Any = None
    name: str | None = None
    thumbnail_url: str | None = None


class Entity(View):
    """Metadata of an activity: a mention, a place, or anything with a `type`."""

    type: str | None = None


_ViewT = TypeVar("_ViewT", bound=View)
_ManyT = TypeVar("_ManyT")
_Model = type[_ViewT]
_ATTACHMENTS = TypeAdapter(tuple[Attachment, ...])
_ENTITIES = TypeAdapter(tuple[Entity, ...])


def viewed(raw: bytes | None, model: _Model[_ViewT], *, name: str) -> _ViewT:
    """`raw` as a typed view, an empty one for None.

    Raises `BadInput` (`bad-activity`, `bad-json`) naming the member.
    """
    try:
        return model.model_validate(decode(raw) if raw else {})
    except ValidationError as exc:
        raise BadInput(_fault(name, exc), code="bad-activity") from None


def wire_name(name: str) -> str:
    """The member name for a Python name: `reply_to_id` → `replyToId`, `from_` → `from`."""
    return _WORD.sub(lambda match: match.group(1).upper(), name.rstrip("_"))


class Activity:
    """One activity. Equal if all members have the same bytes; never changes.

    Properties raise `BadInput` (`bad-activity`) where a member has another type than the schema's.
    """

    __slots__ = ("_members", "_views")

    _members: Mapping[str, bytes]
    _views: dict[str, Any]

    def __init__(self, members: Mapping[str, bytes]) -> None:
        object.__setattr__(self, "_members", dict(members))
        object.__setattr__(self, "_views", {})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """An activity from JSON bytes; `BadInput` if they are not one well-formed object."""
        return cls(decode_members(data))

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """An activity from Python values under their wire names; `None` means absent."""
        return cls({name: encode(value) for name, value in members.items() if value is not None})

    @classmethod
    def make(cls, type: str, **members: Any) -> Self:
        """An activity from Python values under Python names: `make("event", name="ping")`."""
        return cls.of({"type": type} | {wire_name(name): value for name, value in members.items()})

    def encode(self) -> bytes:
        """The activity as JSON; untouched members byte for byte."""
        return encode_members(self._members)

    def with_(self, **members: Any) -> Activity:
        """A copy with members set from Python values; `None` removes one."""
        return self.with_raw(
            {
                wire_name(name): None if value is None else encode(value)
                for name, value in members.items()
            }
        )

    def with_raw(self, changes: Mapping[str, bytes | None]) -> Activity:
        """A copy with members set from JSON bytes; `None` removes one."""
        members = dict(self._members)
        for name, raw in changes.items():
            if raw is None:
                members.pop(name, None)
            else:
                members[name] = raw
        # What was looked at before looks the same, where it is the same.
        views = {name: view for name, view in self._views.items() if name not in changes}
        made = Activity.__new__(Activity)
        object.__setattr__(made, "_members", members)
        object.__setattr__(made, "_views", views)
        return made

    def raw(self, name: str) -> bytes | None:
        """The bytes of the member with this wire name, or None if it is absent or null."""
        found = self._members.get(name)
        return None if found == b"null" else found

    @property
    def members(self) -> Mapping[str, bytes]:
        """All members by wire name, as bytes, in the order received."""
        return dict(self._members)

    def get(self, name: str) -> Any:
        """The member with this wire name as plain Python values, fresh ones each time; or None."""
        raw = self.raw(name)
        return None if raw is None else decode(raw)

    # What it is

    @property
    def type(self) -> str:
        """`message`, `event`, `endOfConversation` … an open string."""
        return self._text("type") or ""

    @property
    def id(self) -> str | None:
        """The channel's id of the activity."""
        return self._text("id")

    @property
    def name(self) -> str | None:
        """The name of an event, invoke, command or handoff."""
        return self._text("name")

    @property
    def text(self) -> str | None:
        """What the user said, or what is said to the user."""
        return self._text("text")

    @property
    def value(self) -> Any:
        """The payload of an event, invoke, end or command: any JSON."""
        return self.get("value")

    @property
    def code(self) -> str | None:
        """Why a conversation ended."""
        return self._text("code")

    @property
    def locale(self) -> str | None:
        """BCP-47 language of the text."""
        return self._text("locale")

    @property
    def delivery_mode(self) -> str | None:
        """How answers are to come back: `normal`, `expectReplies` …"""
        return self._text("deliveryMode")

    @property
    def reply_to_id(self) -> str | None:
        """The activity that this one answers."""
        return self._text("replyToId")

    @property
    def channel_data(self) -> Any:
        """What only the channel understands."""
        return self.get("channelData")

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Files and cards."""
        return self._many("attachments", _ATTACHMENTS)

    @property
    def entities(self) -> tuple[Entity, ...]:
        """Mentions and other metadata."""
        return self._many("entities", _ENTITIES)

    # Where it is from and where it goes

    @property
    def channel_id(self) -> str | None:
        """The channel: `msteams`, `directline` …

        One SDK writes `_channelId`; that counts where there is nothing else.
        """
        return self._text("channelId") or self._text("_channelId")

    @property
    def service_url(self) -> str | None:
        """Where answers are posted to."""
        return self._text("serviceUrl")

    @property
    def from_(self) -> ChannelAccount:
        """Who sent it."""
        return self._view("from", ChannelAccount)

    @property
    def recipient(self) -> ChannelAccount:
        """Who it is for."""
        return self._view("recipient", ChannelAccount)

    @property
    def conversation(self) -> ConversationAccount:
        """Where it belongs."""
        return self._view("conversation", ConversationAccount)

    # How it behaves as a value

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an Activity is frozen; use with_()")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activity) and self._members == other._members

    def __hash__(self) -> int:
        return hash(frozenset(self._members.items()))

    def __repr__(self) -> str:
        # Contents may be private, and an invoke may hold a token.
        kind = self._members.get("type", b"?").decode("utf-8", "replace")
        return f"<Activity {kind} {len(self._members)} members>"

    def _text(self, name: str) -> str | None:
        if name in self._views:
            return cast("str | None", self._views[name])
        value = self.get(name)
        if value is None or isinstance(value, str):
            self._views[name] = value
            return value
        raise BadInput(f"{name} is not a string", code="bad-activity")

    def _view(self, name: str, model: _Model[_ViewT]) -> _ViewT:
        if name not in self._views:
            self._views[name] = viewed(self.raw(name), model, name=name)
        return cast(_ViewT, self._views[name])

    def _many(self, name: str, adapter: TypeAdapter[_ManyT]) -> _ManyT:
        if name not in self._views:
            try:
                self._views[name] = adapter.validate_python(self.get(name) or ())
            except ValidationError as exc:
                raise BadInput(_fault(name, exc), code="bad-activity") from None
        return cast(_ManyT, self._views[name])


def _fault(name: str, error: ValidationError) -> str:
    where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
    return f"{name}.{where} has the wrong type" if where else f"{name} has the wrong type"


def check_received(activity: Activity) -> None:
    """Refuse an activity that lacks what every peer must send, or that peers could read otherwise.

    `BadInput`: `missing-member`, `bad-activity`, `bad-id`, `duplicate-member`. An end may come
    bare: some hosts send it without addresses.
    """
    if not activity.type:
        raise BadInput("type is missing", code="missing-member")
    if len(activity.type) > _TYPE_CHARACTERS:
        raise BadInput("type is too long", code="bad-id")
    for name in _TEXTS:
        activity._text(name)
    addresses = {
        "conversation.id": activity.conversation.id,
        "channelId": activity.channel_id,
        "from.id": activity.from_.id,
    }
    if activity.type != "endOfConversation":
        _refuse_missing(addresses)
    _refuse_absurd(
        addresses
        | {
            "id": activity.id,
            "recipient.id": activity.recipient.id,
            "serviceUrl": activity.service_url,
            "replyToId": activity.reply_to_id,
        }
    )
    for name in _ADDRESSES:
        _refuse_duplicates(name, activity.raw(name))


def _refuse_missing(addresses: Mapping[str, str | None]) -> None:
    for name, value in addresses.items():
        if not value:
            raise BadInput(f"{name} is missing", code="missing-member")


def _refuse_absurd(ids: Mapping[str, str | None]) -> None:
    for name, value in ids.items():
        if value is not None and (len(value) > ID_CHARACTERS or _CONTROLS.search(value)):
            raise BadInput(f"{name} is too long or has control characters", code="bad-id")


def _refuse_duplicates(name: str, raw: bytes | None) -> None:
    """Two ids in one address: which of them counts would be every reader's own choice."""
    try:
        decode_members(raw or b"{}")
    except BadInput as exc:
        raise BadInput(f"{name} has a member twice", code=exc.code) from None

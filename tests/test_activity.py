"""The activity as a value: its views, its copies, and what is refused of a received one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from skills_host.activity import (
    ID_CHARACTERS,
    Activity,
    Attachment,
    ChannelAccount,
    ConversationAccount,
    Entity,
    check_received,
    wire_name,
)
from skills_host.errors import BadInput
from skills_host.wire import decode_members, encode
from tests.documents import activities

SOUND: dict[str, Any] = {
    "type": "message",
    "id": "a1",
    "channelId": "test",
    "from": {"id": "ann"},
    "conversation": {"id": "c1"},
    "recipient": {"id": "bot"},
    "text": "hello",
}


def refusal(changes: dict[str, Any]) -> str:
    """The code with which a received activity is refused, or an empty string."""
    try:
        check_received(Activity.of(SOUND | changes))
    except BadInput as exc:
        return exc.code
    return ""


# Bytes


@given(activities())
@settings(max_examples=40)
def test_an_untouched_activity_keeps_its_members(data: bytes) -> None:
    """Byte for byte, in the order received."""
    encoded = Activity.parse(data).encode()

    assert list(decode_members(encoded).items()) == list(decode_members(data).items())


@given(activities())
@settings(max_examples=40)
def test_looking_changes_nothing(data: bytes) -> None:
    activity = Activity.parse(data)
    before = activity.encode()

    for name in activity.members:
        activity.get(name)
    assert (activity.from_.role, activity.conversation.role) == ("user", "user")
    assert activity.encode() == before


def test_white_space_between_members_is_left_out() -> None:
    activity = Activity.parse(b' { "type" : "message" ,\n "v" : [ 1.10 ] } ')

    assert activity.encode() == b'{"type":"message","v":[ 1.10 ]}'


def test_an_unreadable_member_travels_on() -> None:
    """What no Python number can hold is not decoded on the way."""
    data = b'{"type":"message","value":1e99999999999999999999}'
    activity = Activity.parse(data)

    assert activity.encode() == data
    with pytest.raises(BadInput):
        _ = activity.value


# Views


def test_members_have_their_schemas_names() -> None:
    activity = Activity.parse(
        b'{"type":"event","id":"1","name":"n","text":"t","value":[1],"code":"c","locale":"de",'
        b'"deliveryMode":"normal","replyToId":"r","channelData":{"x":1},"channelId":"test",'
        b'"serviceUrl":"https://s","from":{"id":"u","aadObjectId":"o"},"recipient":{"id":"b"},'
        b'"conversation":{"id":"c","isGroup":true,"tenantId":"t"}}'
    )

    assert (activity.type, activity.id, activity.name, activity.text) == ("event", "1", "n", "t")
    assert (activity.value, activity.code, activity.locale) == ([1], "c", "de")
    assert (activity.delivery_mode, activity.reply_to_id) == ("normal", "r")
    assert (activity.channel_data, activity.channel_id) == ({"x": 1}, "test")
    assert activity.service_url == "https://s"
    assert activity.from_ == ChannelAccount(id="u", aad_object_id="o")
    assert activity.recipient.id == "b"
    assert activity.conversation == ConversationAccount(id="c", is_group=True, tenant_id="t")


def test_what_is_absent_or_null_is_none() -> None:
    activity = Activity.parse(b'{"type":null,"from":null,"attachments":null,"value":null}')

    assert activity.type == ""
    assert (activity.text, activity.value, activity.raw("value")) == (None, None, None)
    assert (activity.from_.id, activity.conversation.id) == (None, None)
    assert (activity.attachments, activity.entities) == ((), ())


def test_views_keep_unknown_members() -> None:
    activity = Activity.parse(
        b'{"entities":[{"type":"mention","mentioned":{"id":"b"},"text":"<at>b</at>"}],'
        b'"attachments":[{"contentType":"x/y","content":{"a":null},"extra":1}]}'
    )

    assert activity.entities[0].model_extra == {"mentioned": {"id": "b"}, "text": "<at>b</at>"}
    assert activity.attachments[0].to_wire() == {
        "contentType": "x/y",
        "content": {"a": None},
        "extra": 1,
    }


def test_a_value_is_a_copy() -> None:
    """Whoever changes it does not change the activity."""
    activity = Activity.parse(b'{"type":"event","value":{"a":[1]},"channelData":{}}')

    activity.value["a"].append(2)
    activity.channel_data["x"] = 1

    assert (activity.value, activity.channel_data) == ({"a": [1]}, {})


WRONG_TYPES = [
    *[("type", 5), ("id", 5), ("text", ["x"]), ("name", {}), ("code", 1), ("locale", True)],
    *[("deliveryMode", 1), ("replyToId", 1), ("channelId", 1), ("serviceUrl", False)],
    *[("from", "ann"), ("recipient", []), ("conversation", 7), ("from", {"id": 5})],
    *[("conversation", {"isGroup": "perhaps"}), ("recipient", {"role": {}})],
]


@pytest.mark.parametrize(("name", "value"), WRONG_TYPES)
def test_a_member_of_another_type_is_refused(name: str, value: Any) -> None:
    assert refusal({name: value}) == "bad-activity"


@pytest.mark.parametrize("value", [{}, "x", [1], [None], [{"contentType": 5}]])
def test_malformed_attachments_are_refused_when_looked_at(value: Any) -> None:
    """An empty object counts as none."""
    activity = Activity.of({"type": "message", "attachments": value})
    if value == {}:
        assert activity.attachments == ()
        return

    with pytest.raises(BadInput) as caught:
        _ = activity.attachments
    assert caught.value.code == "bad-activity"


def test_a_refusal_names_the_member_but_not_its_value() -> None:
    activity = Activity.of({"from": {"id": {"token": "hush-hush"}}})

    with pytest.raises(BadInput, match=r"from\.id has the wrong type") as caught:
        _ = activity.from_
    assert "hush" not in str(caught.value)


# Values


def test_a_copy_differs_in_what_is_named() -> None:
    activity = Activity.parse(b'{"type":"message","text":"a","v":1.10}')

    changed = activity.with_(text="b", reply_to_id="r", v=None)

    assert changed.encode() == b'{"type":"message","text":"b","replyToId":"r"}'
    assert activity.encode() == b'{"type":"message","text":"a","v":1.10}'


def test_a_copy_has_views_of_its_own() -> None:
    activity = Activity.of(SOUND)
    assert activity.from_.id == "ann"

    assert activity.with_(from_=ChannelAccount(id="bob")).from_.id == "bob"
    assert activity.from_.id == "ann"


def test_an_activity_cannot_be_changed() -> None:
    activity = Activity.make("message")

    with pytest.raises(AttributeError, match="frozen"):
        activity.text = "x"  # type: ignore[misc]
    activity.members["text"] = b'"x"'  # type: ignore[index]
    assert activity.text is None


def test_what_it_was_made_from_can_be_changed() -> None:
    members = {"type": b'"message"'}
    activity = Activity(members)

    members["text"] = b'"x"'

    assert activity.text is None


def test_equal_members_make_equal_activities() -> None:
    """In any order; bytes count, not their meaning."""
    one, other = Activity.parse(b'{"type":"a","v":1}'), Activity.parse(b'{"v":1,"type":"a"}')

    assert one == other
    assert hash(one) == hash(other)
    assert one != Activity.parse(b'{"type":"a","v":1.0}')
    assert one != {"type": "a"}


def test_nothing_private_is_shown() -> None:
    activity = Activity.make("invoke", name="signin/tokenExchange", value={"token": "hush-hush"})

    assert repr(activity) == '<Activity "invoke" 3 members>'


def test_made_from_python_names() -> None:
    activity = Activity.make("event", name="ping", reply_to_id="r", from_={"id": "a"}, text=None)

    assert activity.encode() == (
        b'{"type":"event","name":"ping","replyToId":"r","from":{"id":"a"}}'
    )


@pytest.mark.parametrize(
    ("name", "wire"),
    [("reply_to_id", "replyToId"), ("from_", "from"), ("text", "text"), ("replyToId", "replyToId")],
)
def test_python_names_become_wire_names(name: str, wire: str) -> None:
    assert wire_name(name) == wire


def test_built_views_are_written_without_nulls() -> None:
    card = Attachment(content_type="x/y", content={"a": None, "b": [None]})
    account = ChannelAccount.model_validate({"aadObjectId": "o", "extra": "e", "name": None})

    assert encode(card) == b'{"contentType":"x/y","content":{"a":null,"b":[null]}}'
    assert encode(account) == b'{"aadObjectId":"o","extra":"e"}'
    assert encode(Entity(type="mention")) == b'{"type":"mention"}'


# What is received


def test_a_sound_activity_is_taken() -> None:
    assert refusal({}) == ""


@pytest.mark.parametrize("kind", ["event", "typing", "somethingNew", "x" * 128])
def test_any_type_is_taken(kind: str) -> None:
    assert refusal({"type": kind}) == ""


@pytest.mark.parametrize(
    "changes",
    [
        *[{"type": None}, {"type": ""}, {"channelId": None}, {"channelId": ""}],
        *[{"from": None}, {"from": {}}, {"from": {"id": ""}}, {"from": {"name": "ann"}}],
        *[{"conversation": None}, {"conversation": {"id": ""}}, {"conversation": {"ID": "c"}}],
    ],
)
def test_what_every_peer_sends_is_required(changes: dict[str, Any]) -> None:
    assert refusal(changes) == "missing-member"


def test_an_end_may_come_bare() -> None:
    check_received(Activity.make("endOfConversation"))


@pytest.mark.parametrize("kind", ["", None])
def test_an_end_needs_its_type(kind: str | None) -> None:
    with pytest.raises(BadInput):
        check_received(Activity.of({"type": kind}))


LONG, ABSURD = "x" * ID_CHARACTERS, "x" * (ID_CHARACTERS + 1)
IDS = ["id", "channelId", "serviceUrl", "replyToId"]
ACCOUNTS = ["from", "recipient", "conversation"]


@pytest.mark.parametrize("name", IDS + ACCOUNTS)
def test_a_long_id_is_taken(name: str) -> None:
    assert refusal({name: {"id": LONG} if name in ACCOUNTS else LONG}) == ""


@pytest.mark.parametrize("name", IDS + ACCOUNTS)
@pytest.mark.parametrize("value", [ABSURD, "a\0", "a\nb", "\x7f"], ids=repr)
def test_an_absurd_id_is_refused(name: str, value: str) -> None:
    assert refusal({name: {"id": value} if name in ACCOUNTS else value}) == "bad-id"
    end = {"type": "endOfConversation"}
    assert refusal(end | {name: {"id": value} if name in ACCOUNTS else value}) == "bad-id"


def test_an_absurd_type_is_refused() -> None:
    assert refusal({"type": "x" * 129}) == "bad-id"


@pytest.mark.parametrize("name", ACCOUNTS)
def test_two_ids_in_one_address_are_refused(name: str) -> None:
    """Whoever reads the first and whoever reads the last would disagree on who it is."""
    activity = Activity.of(SOUND).with_raw({name: b'{"id":"a","\\u0069d":"b"}'})

    with pytest.raises(BadInput, match=name) as caught:
        check_received(activity)
    assert caught.value.code == "duplicate-member"

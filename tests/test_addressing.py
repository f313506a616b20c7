"""Addressing: what is changed on the way to a skill and back, and that nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skills_host.activity import Activity
from skills_host.addressing import (
    addressed_to_skill,
    continuation_of,
    end_of_conversation,
    joined_key,
    received_in,
    reference_of,
    reply_to,
    restored_for_user,
    session_key,
    tidied,
)
from skills_host.reference import ConversationReference
from skills_host.wire import decode, decode_members
from tests.documents import activities, texts

SKILL_HOST = "https://root.example/api/skills/"
REFERENCE = ConversationReference(
    channel_id="test",
    service_url="https://channel.example/",
    conversation=b'{"id":"c1","v":1.10}',
    user=b'{"id":"ann"}',
    bot=b'{"id":"bot"}',
    activity_id="a1",
    locale="de-CH",
)

MESSAGE = Activity.parse(
    b'{"type":"message","id":"a1","channelId":"test","serviceUrl":"https://channel.example/",'
    b'"from":{"id":"ann"},"conversation":{"id":"c1","tenantId":"t1"},"recipient":{"id":"bot"},'
    b'"text":"hello","locale":"de-CH"}'
)


def forwarded(activity: Activity, **more: Any) -> Activity:
    """The activity as the skill gets it."""
    return addressed_to_skill(activity, conversation_id="s1", service_url=SKILL_HOST, **more)


def without(members: dict[str, bytes], *names: str) -> dict[str, bytes]:
    """The members but for those."""
    return {name: raw for name, raw in members.items() if name not in names}


# To a skill

CHANGED = ("relatesTo", "conversation", "serviceUrl", "recipient", "callerId", "deliveryMode")


@given(activities())
def test_a_forwarded_activity_keeps_its_bytes(data: bytes) -> None:
    """All but the members that the protocol names, in any document, however it is written."""
    received = decode_members(data)
    activity = Activity.parse(data)

    sent = decode_members(forwarded(activity).encode())

    assert without(sent, *CHANGED) == without(received, *CHANGED)
    assert sent["serviceUrl"] == b'"https://root.example/api/skills/"'
    assert "callerId" not in sent
    assert activity == Activity.parse(data)


@given(activities())
@settings(max_examples=40)
def test_a_forwarded_address_keeps_its_bytes(data: bytes) -> None:
    """Of the conversation only the id changes, of the recipient only the role."""
    received = decode_members(data)
    sent = decode_members(forwarded(Activity.parse(data)).encode())

    for name, changed, value in [
        ("conversation", "id", b'"s1"'),
        ("recipient", "role", b'"skill"'),
    ]:
        was = received.get(name, b"null")
        before = {} if was == b"null" else decode_members(was)
        assert decode_members(sent[name]) == before | {changed: value}


@given(activities())
@settings(max_examples=40)
def test_what_it_relates_to_is_the_original(data: bytes) -> None:
    """Its bytes, too; nulls are not repeated, some peers refuse them."""
    received = decode_members(data)
    relates_to = decode_members(forwarded(Activity.parse(data)).members["relatesTo"])

    names = ("serviceUrl", "channelId", "conversation", "locale")
    expected = {name: received[name] for name in names if name in received}
    if "id" in received:
        expected["activityId"] = received["id"]
    assert relates_to == {name: raw for name, raw in expected.items() if raw != b"null"}


@pytest.mark.parametrize("asked", [None, "normal", "expectReplies", "stream", "ephemeral"])
def test_a_skill_answers_as_the_root_asks(asked: str | None) -> None:
    """What the channel asked of the root is not passed on; harmless modes are."""
    activity = MESSAGE.with_(delivery_mode=asked)

    passed = None if asked in ("expectReplies", "stream") else asked
    assert forwarded(activity).delivery_mode == passed
    assert forwarded(activity, delivery_mode="expectReplies").delivery_mode == "expectReplies"


def test_a_recipient_is_made_if_there_is_none() -> None:
    activity = MESSAGE.with_(recipient=None)

    assert forwarded(activity).raw("recipient") == b'{"role":"skill"}'


def test_an_old_relation_is_replaced() -> None:
    activity = MESSAGE.with_(relates_to={"conversation": {"id": "other"}})

    assert forwarded(activity).get("relatesTo")["conversation"]["id"] == "c1"


# Back to the user

RESTORED = (
    *("channelId", "serviceUrl", "conversation", "from", "recipient"),
    *("replyToId", "locale", "callerId", "id"),
)


@given(activities(), st.none() | texts)
@settings(max_examples=40)
def test_a_restored_activity_keeps_its_bytes(data: bytes, reply_to_id: str | None) -> None:
    received = decode_members(data)
    activity = Activity.parse(data)

    restored = restored_for_user(activity, REFERENCE, reply_to_id=reply_to_id)
    sent = decode_members(restored.encode())

    assert without(sent, *RESTORED) == without(received, *RESTORED)
    assert activity == Activity.parse(data)


@given(activities())
@settings(max_examples=40)
def test_a_restored_activity_has_the_stored_addresses(data: bytes) -> None:
    """Whatever the skill wrote into its own."""
    activity = Activity.parse(data)

    restored = restored_for_user(activity, REFERENCE, reply_to_id="r1")

    assert (restored.channel_id, restored.service_url) == ("test", "https://channel.example/")
    assert restored.raw("conversation") == REFERENCE.conversation
    assert (restored.raw("from"), restored.raw("recipient")) == (REFERENCE.bot, REFERENCE.user)
    assert (restored.reply_to_id, restored.id, restored.raw("callerId")) == ("r1", None, None)
    assert restored.raw("locale") == (activity.raw("locale") or b'"de-CH"')


def test_an_answer_to_nothing_has_no_reply_id() -> None:
    activity = Activity.make("message", reply_to_id="made up")

    assert restored_for_user(activity, REFERENCE, reply_to_id=None).raw("replyToId") is None
    assert restored_for_user(activity, REFERENCE, reply_to_id="").raw("replyToId") is None


def test_unknown_accounts_are_not_made_up() -> None:
    """Those of the skill's activity are removed nevertheless."""
    nobody = ConversationReference("test", "https://channel.example/", conversation=b"{}")

    restored = restored_for_user(MESSAGE, nobody, reply_to_id=None)

    assert (restored.raw("from"), restored.raw("recipient")) == (None, None)


def test_an_answer_goes_from_bot_to_user() -> None:
    answer = reply_to(REFERENCE, Activity.make("message", text="hi"))

    assert (answer.from_.id, answer.recipient.id, answer.reply_to_id) == ("bot", "ann", "a1")
    assert (answer.conversation.id, answer.locale, answer.text) == ("c1", "de-CH", "hi")


# In the user's conversation


@given(activities())
@settings(max_examples=40)
def test_a_skills_activity_is_seen_in_the_users_conversation(data: bytes) -> None:
    """As if the user had sent it: whatever else it holds stays as it is."""
    seen = received_in(Activity.parse(data), REFERENCE)

    names = ("channelId", "serviceUrl", "conversation", "from", "recipient", "callerId")
    assert without(dict(seen.members), *names) == without(decode_members(data), *names)
    assert (seen.from_.id, seen.recipient.id, seen.conversation.id) == ("ann", "bot", "c1")
    assert seen.raw("callerId") is None


@pytest.mark.parametrize("channel", ["directline", "webchat"])
def test_joining_web_chat_cannot_be_replied_to(channel: str) -> None:
    joined = MESSAGE.with_(type="conversationUpdate", channel_id=channel)

    assert reference_of(joined).activity_id is None
    assert reference_of(joined.with_(type="message")).activity_id == "a1"
    assert reference_of(joined.with_(channel_id="msteams")).activity_id == "a1"


def test_a_reference_of_a_bare_end_is_empty() -> None:
    reference = reference_of(Activity.make("endOfConversation"))

    assert (reference.channel_id, reference.conversation_id, reference.user) == ("", "", None)


def test_a_continuation_is_an_event_of_the_user() -> None:
    event = continuation_of(REFERENCE, name="ContinueConversation", new_id="n1")

    assert (event.type, event.name, event.id) == ("event", "ContinueConversation", "n1")
    assert (event.from_.id, event.recipient.id, event.locale) == ("ann", "bot", "de-CH")
    assert reference_of(event).conversation == REFERENCE.conversation
    assert ConversationReference.parse(event.raw("relatesTo") or b"") == REFERENCE


def test_a_continuation_has_no_members_without_values() -> None:
    event = continuation_of(
        ConversationReference("test", "https://s", conversation=b"{}"), name="n", new_id="i"
    )

    assert not {"from", "recipient", "locale"} & event.members.keys()
    assert b"null" not in event.encode()


def test_an_end_has_its_code_and_value() -> None:
    end = end_of_conversation(code="userCancelled", value={"x": 1}, text="bye")

    assert decode(end.encode()) == {
        "type": "endOfConversation",
        "code": "userCancelled",
        "value": {"x": 1},
        "text": "bye",
    }
    assert end_of_conversation().code == "completedSuccessfully"


# Keys


def said_by(user: str, *, conversation: str = "c1", is_group: bool | None = None) -> Activity:
    """A message of a user."""
    return Activity.make(
        "message",
        channel_id="test",
        from_={"id": user},
        conversation={"id": conversation, "isGroup": is_group},
    )


def test_in_a_group_each_user_has_a_session() -> None:
    ann = session_key("root", said_by("ann", is_group=True))

    assert ann != session_key("root", said_by("bob", is_group=True))
    assert ann == session_key("root", said_by("ann", is_group=True))


def test_in_a_one_to_one_chat_the_user_does_not_count() -> None:
    """Some channels change a user's id, and an end may come without one."""
    assert session_key("root", said_by("ann")) == session_key("root", said_by("bob"))


@pytest.mark.parametrize("other", ["c2", "C1", "c1/ann", "c1%2Fann", ""])
def test_conversations_do_not_share_a_session(other: str) -> None:
    one = session_key("root", said_by("ann", conversation="c1", is_group=True))

    assert one != session_key("root", said_by("ann", conversation=other, is_group=True))
    assert one != session_key("root", said_by("ann", conversation=other))
    assert session_key("root", said_by("ann")) != session_key("other", said_by("ann"))


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=4))
def test_different_parts_give_different_keys(one: list[str], other: list[str]) -> None:
    """But for no parts and one empty part, which no key is made of."""
    one, other = one or [""], other or [""]

    assert (joined_key(*one) == joined_key(*other)) == (one == other)


@pytest.mark.parametrize("change", [{"channel_id": "other"}, {"from_": {"id": "bob"}}, {}])
def test_conversation_of_a_caller_is_one_session(change: dict[str, Any]) -> None:
    """The caller gave it its id; an end may come without channel and user, groups or not."""
    whole = said_by("ann", is_group=True)
    bare = whole.with_(channel_id=None, from_=None, conversation={"id": "c1"})

    key = session_key("skill", whole.with_(**change), caller="root")
    assert key == session_key("skill", bare, caller="root")


def test_callers_do_not_share_a_session() -> None:
    """Nor does a caller share one with a channel."""
    said = said_by("ann")
    callers = ("", "one", "two", "test")

    assert len({session_key("skill", said, caller=caller) for caller in callers}) == 4


# Without what most send


@pytest.mark.parametrize("recipient", [None, {}, {"role": "skill"}, {"id": ""}])
def test_bot_has_an_account_even_if_nobody_says_which(recipient: Any) -> None:
    """Strict peers refuse answers that come from nobody."""
    reference = reference_of(MESSAGE.with_(recipient=recipient), bot_id="app")

    assert reply_to(reference, Activity.make("message")).from_.id == "app"


def test_account_that_is_known_stays() -> None:
    assert reference_of(MESSAGE, bot_id="app").bot == MESSAGE.raw("recipient")


def test_channel_of_the_agents_sdk_for_javascript() -> None:
    """It writes `_channelId`; others get `channelId`."""
    odd = MESSAGE.with_(channel_id=None).with_raw({"_channelId": b'"odd"'})
    sent = forwarded(odd)

    assert (odd.channel_id, reference_of(odd).channel_id) == ("odd", "odd")
    assert (sent.raw("channelId"), sent.get("relatesTo")["channelId"]) == (b'"odd"', "odd")
    assert reply_to(reference_of(odd), Activity.make("typing")).raw("channelId") == b'"odd"'


def test_known_channel_comes_before_the_odd_one() -> None:
    both = MESSAGE.with_raw({"_channelId": b'"odd"'})

    assert both.channel_id == "test"
    assert forwarded(both).raw("channelId") == b'"test"'


# Tidied for strict peers

UNTOUCHED: dict[str, bytes] = {
    "value": b'{"a":null,"b":""}',
    "channelData": b'{"a":null,"b":[""]}',
    "entities": b'[{"type":"x","a":null,"b":""}]',
    "text": b'""',
    "x-unknown": b'{"a":null}',
    "attachments": b'[{"contentType":"x","content":{"a":null,"b":""}}]',
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_what_somebody_may_mean_is_not_tidied(name: str) -> None:
    """Byte for byte."""
    activity = Activity({"type": b'"message"', name: UNTOUCHED[name]})

    assert tidied(activity).raw(name) == UNTOUCHED[name]


@pytest.mark.parametrize("raw", [b"null", b'""'])
def test_whole_payload_is_not_tidied(raw: bytes) -> None:
    """An empty result is a result."""
    activity = Activity({"type": b'"endOfConversation"', "value": raw})

    assert tidied(activity).members["value"] == raw


TIDIED: dict[str, tuple[bytes, bytes | None]] = {
    "locale": (b'""', None),
    "id": (b"null", None),
    "from": (b'{"id":"a","name":"","role":null}', b'{"id":"a"}'),
    "recipient": (b'{"id":"a","x":{"y":null}}', b'{"id":"a","x":{"y":null}}'),
    "conversation": (b'{"id":"a","tenantId":null,"n":1.10}', b'{"id":"a","n":1.10}'),
    "attachments": (
        b'[{"contentType":"x","name":null,"contentUrl":"","content":null}]',
        b'[{"contentType":"x","content":null}]',
    ),
    "suggestedActions": (
        b'{"to":null,"actions":[{"type":"imBack","title":"a","image":null,"value":null}]}',
        b'{"actions":[{"type":"imBack","title":"a","value":null}]}',
    ),
}


@pytest.mark.parametrize("name", TIDIED)
def test_nothing_in_typed_members_is_left_out(name: str) -> None:
    """Nulls and empty strings."""
    raw, expected = TIDIED[name]

    assert tidied(Activity({"type": b'"message"', name: raw})).raw(name) == expected


@given(activities())
@settings(max_examples=40)
def test_tidy_activity_stays_as_it_is(data: bytes) -> None:
    """Tidying twice is tidying once."""
    activity = Activity.parse(data).with_(attachments=None)
    once = tidied(activity)

    assert tidied(once) == once

"""New conversations, pure: only on the channel and in the tenant of one that is there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.creation import Created, NewConversation
from skills_host.errors import BadInput
from skills_host.reference import ConversationReference
from skills_host.wire import decode, decode_members, encode

BASIS = ConversationReference(
    "msteams",
    "https://channel.example/",
    b'{"id":"c1","tenantId":"T-1","isGroup":true}',
    user=b'{"id":"ann"}',
    bot=b'{"id":"bot"}',
    activity_id="a1",
)
BARE = ConversationReference("console", "https://channel.example/", b'{"id":"c1"}')


def wanted(**members: Any) -> NewConversation:
    """What a skill asks for."""
    return NewConversation.parse(encode(members))


FITTING: dict[str, dict[str, Any]] = {
    "nothing named": {},
    "same tenant": {"tenantId": "T-1"},
    "same tenant in other letters": {"tenantId": "t-1"},
    "same tenant in channel data": {"channelData": {"tenant": {"id": "t-1"}}},
    "same channel": {"activity": {"type": "message", "channelId": "msteams"}},
    "nulls": {"tenantId": None, "channelData": None, "activity": None, "members": None},
}


@pytest.mark.parametrize("name", FITTING)
def test_same_channel_and_tenant_fit(name: str) -> None:
    assert wanted(**FITTING[name]).fits(BASIS)


OTHER: dict[str, dict[str, Any]] = {
    "tenant": {"tenantId": "t-2"},
    "one of two tenants": {"tenantId": "t-1", "channelData": {"tenant": {"id": "t-2"}}},
    "tenant in channel data": {"channelData": {"tenant": {"id": "t-2"}}},
    "tenant of a member": {"members": [{"id": "bob", "tenantId": "t-2"}]},
    "tenant of the activity": {"activity": {"conversation": {"tenantId": "t-2"}}},
    "tenant in the activity's data": {"activity": {"channelData": {"tenant": {"id": "t-2"}}}},
    "channel": {"activity": {"type": "message", "channelId": "directline"}},
}


@pytest.mark.parametrize("name", OTHER)
def test_others_do_not_fit(name: str) -> None:
    """Wherever a tenant can be named, it is looked for."""
    assert not wanted(**OTHER[name]).fits(BASIS)


def test_tenant_does_not_fit_where_there_is_none() -> None:
    """A channel without tenants has no other one either."""
    assert not wanted(tenantId="t-1").fits(BARE)
    assert wanted().fits(BARE)


WRONG: dict[str, dict[str, Any]] = {
    "group": {"isGroup": "yes"},
    "members": {"members": {"id": "bob"}},
    "member": {"members": ["bob"]},
    "member without id": {"members": [{"name": "Bob"}]},
    "long id": {"members": [{"id": "x" * 1501}]},
    "many members": {"members": [{"id": "bob"}] * 501},
    "tenant": {"tenantId": ["t-1"]},
    "tenant of data": {"channelData": {"tenant": {"id": {"a": 1}}}},
    "activity": {"activity": "hello"},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_are_refused(name: str) -> None:
    """Before a channel is asked."""
    with pytest.raises(BadInput):
        wanted(**WRONG[name])


def test_user_is_the_only_other_member() -> None:
    """Some clients list the bot too; a group has nobody to give the floor for."""
    both = [{"id": "bot"}, {"id": "bob"}]

    assert decode(wanted(members=both).user(BASIS) or b"null") == {"id": "bob"}
    assert wanted(members=both, isGroup=True).user(BASIS) is None
    assert wanted(members=[{"id": "bob"}, {"id": "eve"}]).user(BASIS) is None
    assert wanted().user(BASIS) is None


def test_parameters_name_the_root_and_its_tenant() -> None:
    """Whatever the skill wrote; the rest stays as it was."""
    asked = wanted(bot={"id": "me"}, members=[{"id": "bob"}], topicName="trip", more={"a": 1})
    body = decode(asked.parameters(BASIS, None))

    assert body == {
        "bot": {"id": "bot"},
        "members": [{"id": "bob"}],
        "topicName": "trip",
        "more": {"a": 1},
        "tenantId": "T-1",
    }


def test_new_reference_keeps_only_where_it_is() -> None:
    """Channel, service and tenant; not the activity, nor that the old one was a group."""
    made = wanted(members=[{"id": "bob"}]).reference(BASIS, conversation_id="c2")

    assert decode_members(made.conversation) == {"id": b'"c2"', "tenantId": b'"T-1"'}
    assert (made.channel_id, made.service_url) == (BASIS.channel_id, BASIS.service_url)
    assert (made.user_id, made.activity_id) == ("bob", None)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b'{"id":5}', b'{"id":""}', b"text"])
def test_answer_without_an_id_made_nothing(body: bytes) -> None:
    assert Created.parse(body) is None


def test_answer_may_lack_an_activity() -> None:
    assert Created.parse(b'{"id":"c2","activityId":null}') == Created("c2", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["id", "tenant", "tenantId"]), inner, max_size=2)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["tenantId", "channelData", "members", "isGroup", "activity", "bot"])


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_any_request_fits_or_is_refused(members: dict[str, Any]) -> None:
    """Nothing that a skill writes is a failure of ours."""
    try:
        asked = wanted(**members)
        asked.fits(BASIS)
        asked.parameters(BASIS, asked.first)
        asked.reference(BASIS)
    except BadInput:
        pass

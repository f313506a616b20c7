"""The conversation reference: what is stored of a conversation, and read again."""

from __future__ import annotations

import pytest

from skills_host.activity import Activity
from skills_host.addressing import reference_of
from skills_host.errors import BadInput
from skills_host.reference import ConversationReference

REFERENCE = ConversationReference(
    channel_id="test",
    service_url="https://channel.example/",
    conversation=b'{"id":"c1","v":1.10}',
    user=b'{"id":"ann","x":1e400}',
    bot=b'{"id":"bot"}',
    activity_id="a1",
    locale="de-CH",
)


def test_what_is_stored_is_read_again() -> None:
    """Accounts byte for byte."""
    assert ConversationReference.parse(REFERENCE.encode()) == REFERENCE


def test_absent_members_stay_absent() -> None:
    bare = ConversationReference("test", "", conversation=b"{}")

    assert bare.encode() == b'{"channelId":"test","serviceUrl":"","conversation":{}}'
    assert ConversationReference.parse(bare.encode()) == bare


def test_ids_are_read_from_the_accounts() -> None:
    assert (REFERENCE.conversation_id, REFERENCE.user_id) == ("c1", "ann")


def test_missing_ids_are_empty() -> None:
    bare = ConversationReference("test", "", conversation=b"{}")

    assert (bare.conversation_id, bare.user_id) == ("", "")


def test_malformed_accounts_are_refused() -> None:
    broken = ConversationReference("test", "", conversation=b'"c1"', user=b'{"id":5}')

    with pytest.raises(BadInput, match="conversation has the wrong type"):
        _ = broken.conversation_id
    with pytest.raises(BadInput, match=r"user\.id has the wrong type"):
        _ = broken.user_id


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'{"channelId":"a","channelId":"b"}'])
def test_what_is_no_reference_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        ConversationReference.parse(data)


def test_users_are_not_shown() -> None:
    shown = repr(REFERENCE)

    assert "user" not in shown and "bot" not in shown and "c1" not in shown


def test_a_reference_is_taken_from_what_is_received() -> None:
    received = Activity.parse(
        b'{"type":"message","id":"a1","channelId":"test","serviceUrl":"https://channel.example/",'
        b'"conversation":{"id":"c1","v":1.10},"from":{"id":"ann","x":1e400},'
        b'"recipient":{"id":"bot"},"locale":"de-CH"}'
    )

    assert reference_of(received) == REFERENCE

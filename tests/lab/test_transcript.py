"""Tests of the transcript of a conversation."""

from __future__ import annotations

import asyncio

import pytest

from skills_host.errors import SkillsHostError
from skills_host.lab.transcript import Transcript


async def filled(*texts: str) -> Transcript:
    """A transcript of messages whose ids are their texts."""
    transcript = Transcript()
    for text in texts:
        raw = f'{{"text": "{text}"}}'.encode()
        await transcript.send(raw, activity_id=text, received=1.0)
    return transcript


async def test_entries_are_kept_as_they_came() -> None:
    """Bytes, order and time of arrival."""
    transcript = Transcript()

    await transcript.send(b'{"n": 1.10}', activity_id="a", received=7.5, speaker="echo")

    (entry,) = transcript.entries
    assert (entry.number, entry.raw, entry.received) == (1, b'{"n": 1.10}', 7.5)
    assert (entry.speaker, entry.operation, entry.activity) == ("echo", "send", {"n": 1.1})


async def test_an_update_keeps_the_place_of_what_it_updates() -> None:
    """The user sees the new text where the old one was."""
    transcript = await filled("a", "b")

    await transcript.update("a", b'{"text": "new"}', received=2.0)

    assert [entry.text for entry in transcript.shown] == ["new", "b"]
    assert [entry.operation for entry in transcript.entries] == ["send", "send", "update"]


async def test_a_deleted_activity_is_not_shown() -> None:
    """It stays among the entries."""
    transcript = await filled("a", "b")

    await transcript.delete("a", received=2.0)

    assert [entry.text for entry in transcript.shown] == ["b"]
    assert (transcript.entries[2].operation, transcript.entries[2].activity) == ("delete", {})


async def test_an_unknown_activity_cannot_be_changed() -> None:
    """Neither one that never was nor one that is gone."""
    transcript = await filled("a")
    await transcript.delete("a", received=2.0)

    for activity_id in ("a", "b"):
        with pytest.raises(SkillsHostError, match="no such activity"):
            await transcript.update(activity_id, b"{}", received=3.0)
        with pytest.raises(SkillsHostError, match="no such activity"):
            await transcript.delete(activity_id, received=3.0)


async def test_two_sends_at_once_with_one_key_are_one() -> None:
    """A repeated delivery gets the first one's id."""
    transcript = Transcript()

    ids = await asyncio.gather(
        *(transcript.send(b"{}", activity_id=name, received=1.0, key="k") for name in "ab")
    )

    assert ids == ["a", "a"] and len(transcript.entries) == 1


async def test_waiting_ends_with_the_next_arrival() -> None:
    """Two that wait for the same entry both get it."""
    transcript = await filled("a")
    waiting = [asyncio.create_task(transcript.next_entry(after=1)) for _ in range(2)]
    await asyncio.sleep(0)

    await transcript.send(b'{"text": "b"}', activity_id="b", received=2.0)

    assert [entry.text for entry in await asyncio.gather(*waiting)] == ["b", "b"]


async def test_what_has_arrived_is_not_waited_for() -> None:
    """A reader that lags behind gets one entry after the other."""
    transcript = await filled("a", "b")

    assert (await transcript.next_entry(after=0)).text == "a"
    assert (await transcript.next_entry(after=1)).text == "b"


async def test_a_cancelled_wait_disturbs_nobody() -> None:
    """The next arrival still reaches the others."""
    transcript = Transcript()
    gone = asyncio.create_task(transcript.next_entry(after=0))
    stays = asyncio.create_task(transcript.next_entry(after=0))
    await asyncio.sleep(0)

    gone.cancel()
    await transcript.send(b'{"text": "a"}', activity_id="a", received=1.0)

    assert (await stays).text == "a"
    assert gone.cancelled()

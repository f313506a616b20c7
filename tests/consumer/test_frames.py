"""Server-sent events as they may arrive: any line end, cut anywhere, and never endless."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.frames import Frame, FrameReader, frame_of
from skills_host.errors import SkillFailed

TWO = [Frame("activity", b'{"type":"typing"}'), Frame("invokeResponse", b'{"status":200}')]


def read(data: bytes, *, at: list[int] | None = None, limit: int = 1000) -> list[Frame]:
    """The frames in `data`, fed in pieces that are cut `at` these places."""
    reader = FrameReader(limit=limit)
    cuts = [0, *sorted(at or []), len(data)]
    pieces = (data[start:end] for start, end in zip(cuts, cuts[1:], strict=False))
    return [frame for piece in pieces for frame in reader.feed(piece)]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
@given(at=st.lists(st.integers(0, 90), max_size=6))
def test_frames_are_read_in_any_pieces(end: bytes, at: list[int]) -> None:
    """With any of the three line ends; a carriage return may be half of one."""
    data = b"".join(frame_of(frame.event, frame.data) for frame in TWO).replace(b"\r\n", end)

    assert read(data + b": done" + end, at=at) == TWO


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        (b"data: a\n\n", [Frame("message", b"a")]),
        (b"data:a\ndata: b\n\n", [Frame("message", b"a\nb")]),
        (b"event: x\n\n", []),
        (b": a comment\nretry: 5\nid: 7\nevent: x\ndata: a\n\n", [Frame("x", b"a")]),
        (b"\n\n\n", []),
        (b"data: a\n", []),
    ],
)
def test_what_a_frame_may_hold(text: bytes, frames: list[Frame]) -> None:
    """As the standard for event streams says."""
    assert read(text) == frames


def test_json_of_several_lines_is_one_frame() -> None:
    """Members keep the bytes that a peer wrote, its line ends among them."""
    (frame,) = read(frame_of("activity", b'{\r\n "type": "typing"\n}'))

    assert json.loads(frame.data) == {"type": "typing"}


@pytest.mark.parametrize("rest", [b"data: half", b"event: activity\r\n", b"data: {}\r\n"])
def test_stream_that_stops_in_a_frame_is_noticed(rest: bytes) -> None:
    reader = FrameReader(limit=1000)
    assert len(list(reader.feed(frame_of("activity", b"{}") + rest))) == 1

    assert reader.is_within


@pytest.mark.parametrize("rest", [b"", b"\r", b"\r\n"])
def test_stream_that_stops_between_frames_is_complete(rest: bytes) -> None:
    reader = FrameReader(limit=1000)
    assert len(list(reader.feed(frame_of("activity", b"{}") + rest))) == 1

    assert not reader.is_within


@pytest.mark.parametrize("data", [b"data: " + b"a" * 100, b"data: aaaaaa\n" * 20])
def test_endless_frame_is_refused(data: bytes) -> None:
    """In one line or in many."""
    with pytest.raises(SkillFailed):
        read(data, at=[30, 60], limit=50)

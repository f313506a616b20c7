"""Server-sent events, as skills that stream use them: `event:` and `data:` lines, a blank line.

The parser is pure: it is fed bytes as they come and gives the frames that are complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from skills_host.errors import SkillFailed

__all__ = ["ACTIVITY", "INVOKE_RESPONSE", "Frame", "FrameReader", "frame_of"]

ACTIVITY = "activity"
INVOKE_RESPONSE = "invokeResponse"

_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event: its name (`message` if it has none) and its data."""

    event: str
    data: bytes = field(repr=False)


def frame_of(event: str, data: bytes) -> bytes:
    """One event as it is written; `data` is JSON, where a line end is never more than space."""
    line = data.translate(_ONE_LINE)
    return b"event: %b\r\ndata: %b\r\n\r\n" % (event.encode(), line)


class FrameReader:
    """Collects bytes into frames; a frame may have at most `limit` bytes."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._rest = b""
        self._event = ""
        self._data: list[bytes] = []

    @property
    def is_within(self) -> bool:
        """True if a frame has begun and is not complete."""
        return bool(self._data or self._event or self._rest.strip())

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that `chunk` completes; take them all before feeding more.

        Raises `SkillFailed` after them if the next frame is too large.
        """
        # A lone carriage return at the end may be half of a line end.
        text = self._rest + chunk
        held = text.endswith(b"\r")
        lines = _LINE_END.split(text[:-1] if held else text)
        self._rest = lines.pop() + (b"\r" if held else b"")
        yield from (frame for line in lines if (frame := self._line(line)) is not None)
        if len(self._rest) + sum(map(len, self._data)) > self._limit:
            raise SkillFailed("a frame of the skill's stream is too large")

    def _line(self, line: bytes) -> Frame | None:
        if not line:
            return self._completed()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"data":
            self._data.append(value)
        return None

    def _completed(self) -> Frame | None:
        event, data = self._event, self._data
        self._event, self._data = "", []
        return Frame(event or "message", b"\n".join(data)) if data else None

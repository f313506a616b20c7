"""JSON documents as peers may write them: odd numbers, escapes, white space, any order."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hypothesis import strategies as st

__all__ = ["activities", "members", "texts", "values", "written"]

NUMBERS = [
    *[
        "0",
        "-0",
        "1.10",
        "-1.50e-7",
        "1e400",
        "-1E+400",
        "1e-400",
        "0.1000000000000000055511151231",
    ],
    *["12345678901234567890", "-9223372036854775809", "123456789012345678901234567890", "1E2"],
]
DATES = ["2026-01-02T03:04:05.1234567Z", "2026-01-02T03:04:05+05:45", "", "0000-00-00", "soon"]

# A lone surrogate cannot be written in UTF-8 and is refused; pairs are characters like others.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def _strings(draw: st.DrawFn) -> str:
    """A string as source: plain, or with each character escaped in one of the possible ways."""
    text = draw(texts | st.sampled_from([*DATES, "é", "😀", "</script>", "\u2028", 'a/b\\c"d']))
    plain = json.dumps(text, ensure_ascii=draw(st.booleans()))
    if not draw(st.booleans()):
        return plain
    units = text.encode("utf-16-be").hex()
    return '"' + "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)) + '"'


_spaces = st.text(" \t\r\n", max_size=2)
_scalars = st.sampled_from([*NUMBERS, "true", "false", "null", '""']) | _strings()


@st.composite
def _lists(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    space = draw(_spaces)
    return f"[{space}" + f"{space},".join(draw(st.lists(inner, max_size=3))) + f"{space}]"


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    return written(draw(st.dictionaries(texts, inner, max_size=3)), space=draw(_spaces))


values = st.recursive(_scalars, lambda inner: _lists(inner) | _objects(inner), max_leaves=4)
"""Any JSON value, as source."""

members = st.dictionaries(texts, values, max_size=6)
"""Members of an object: names, and values as source."""


def written(found: Mapping[str, str], *, space: str = "") -> str:
    """An object as source, with white space wherever it may be."""
    pairs = (f"{space}{json.dumps(name)}{space}:{space}{raw}" for name, raw in found.items())
    return "{" + f"{space},".join(pairs) + space + "}"


@st.composite
def _addresses(draw: st.DrawFn) -> str:
    """A ChannelAccount or ConversationAccount, with members that nobody knows."""
    unknown = draw(st.dictionaries(texts.map("x-{}".format), values, max_size=2))
    known = {"id": draw(_strings()), "role": '"user"'}
    return written(draw(_in_any_order(known | unknown)), space=draw(_spaces))


@st.composite
def _in_any_order(draw: st.DrawFn, found: dict[str, str]) -> dict[str, str]:
    pairs = list(found.items())
    start, step = draw(st.integers(0, len(pairs))), draw(st.sampled_from([1, -1]))
    return dict((pairs[start:] + pairs[:start])[::step])


TEXTS = ["id", "timestamp", "locale", "text", "serviceUrl", "callerId", "replyToId"]
FREE = ["relatesTo", "value", "channelData", "entities", "attachments", "x-unknown"]


@st.composite
def activities(draw: st.DrawFn) -> bytes:
    """A whole activity as it may be received, in any order of members."""
    found = draw(st.dictionaries(st.sampled_from(TEXTS), _strings(), max_size=4))
    found |= draw(st.dictionaries(st.sampled_from(FREE) | texts.map("x-{}".format), values))
    mode = draw(st.sampled_from(["normal", "expectReplies", "stream", None]))
    found |= {"deliveryMode": json.dumps(mode)} if draw(st.booleans()) else {}
    found |= {"recipient": draw(_addresses() | st.just("null"))} if draw(st.booleans()) else {}
    found |= {"type": '"message"', "channelId": draw(_strings())}
    found |= {"from": draw(_addresses()), "conversation": draw(_addresses())}
    return written(draw(_in_any_order(found)), space=draw(_spaces)).encode()

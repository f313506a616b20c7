"""JSON in and out: the only place that names a codec.

An object from a peer is taken apart into its top-level members, each kept as the bytes it came in,
so that what is not understood is passed on unchanged (numbers, escapes and member order included).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal, DecimalException
from itertools import accumulate
from typing import Any, TypeVar

import msgspec

from skills_host.errors import BadInput

__all__ = [
    "DEPTH",
    "decode",
    "decode_as",
    "decode_elements",
    "decode_members",
    "encode",
    "encode_members",
    "indented",
    "patched",
]

_T = TypeVar("_T")

DEPTH = 64
"""How many levels of arrays and objects an accepted document may have."""

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_CHUNK = 65536


class _Name:
    """A member name that never equals another, so that duplicates survive decoding."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _enc_hook(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    to_wire = getattr(value, "to_wire", None)
    if to_wire is None:
        raise TypeError(f"{type(value).__name__} has no JSON shape")
    return to_wire()


def _number(text: str) -> float | Decimal:
    number = float(text)
    return number if math.isfinite(number) else Decimal(text)


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMED_MEMBERS = msgspec.json.Decoder(
    dict[_Name, msgspec.Raw], dec_hook=lambda _, text: _Name(text)
)
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw] | None)
_ANY = msgspec.json.Decoder()
_BEYOND_FLOATS = msgspec.json.Decoder(float_hook=_number)
_ENCODER = msgspec.json.Encoder(enc_hook=_enc_hook, decimal_format="number")


def decode_members(data: bytes, *, depth: int = DEPTH) -> dict[str, bytes]:
    """The top-level members of one JSON object, in order, each as its bytes.

    Raises `BadInput` (`bad-json`, `duplicate-member`, `too-deep`): the whole document is checked,
    NaN, Infinity, trailing bytes and invalid UTF-8 included.
    """
    try:
        data.decode("utf-8")
        raw = _MEMBERS.decode(data)
        members = {name: bytes(value) for name, value in raw.items()}
        if not _is_compact(data, members):
            _refuse_duplicates(data)
    except RecursionError:
        raise BadInput(code="too-deep") from None
    except UnicodeDecodeError:
        raise BadInput("the body is not UTF-8") from None
    except msgspec.ValidationError:
        raise BadInput("the body is not a JSON object") from None
    except msgspec.DecodeError:
        raise BadInput() from None
    if data.count(b"[") + data.count(b"{") > depth and _depth_exceeds(data, depth):
        raise BadInput(code="too-deep")
    return members


def encode_members(members: Mapping[str, bytes]) -> bytes:
    """One JSON object from its members' bytes, compact, in order."""
    return b"{%b}" % b",".join(
        [b"%b:%b" % (_ENCODER.encode(name), raw) for name, raw in members.items()]
    )


def decode(raw: bytes) -> Any:
    """Any JSON value as Python values; a number beyond a float's range comes as a `Decimal`.

    Raises `BadInput`, also for a number that is beyond both and for integers of thousands of
    digits: such a member can be passed on, but not be looked into.
    """
    try:
        return _decoded(raw)
    except RecursionError:
        raise BadInput(code="too-deep") from None
    except (msgspec.ValidationError, DecimalException):
        raise BadInput("a number is too large to be read") from None
    except msgspec.DecodeError:
        raise BadInput() from None


def decode_as(raw: bytes, shape: type[_T]) -> _T:
    """A JSON value as a dataclass of ours; members that it does not have are ignored.

    Raises `BadInput` where the value does not have that shape.
    """
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadInput(f"not the stored shape of {shape.__name__}") from None


def decode_elements(raw: bytes) -> list[bytes]:
    """The elements of a JSON array, each as its bytes; none for null. `BadInput` for the rest."""
    try:
        return [bytes(element) for element in _ELEMENTS.decode(raw) or ()]
    except msgspec.DecodeError:
        raise BadInput("expected an array") from None


def encode(value: Any) -> bytes:
    """A Python value as compact JSON; an object may give its own shape by a `to_wire` method.

    A float that is not finite becomes null. Raises `TypeError` for what has no JSON shape.
    """
    return _ENCODER.encode(value)


def indented(raw: bytes) -> bytes:
    """A JSON document with a line for each value, for people; its values stay as written."""
    return msgspec.json.format(raw, indent=2)


def patched(raw: bytes | None, changes: Mapping[str, Any]) -> bytes:
    """The object `raw` (or an empty one) with some members set, all others as their bytes."""
    members = decode_members(raw) if raw and raw != b"null" else {}
    members.update((name, encode(value)) for name, value in changes.items())
    return encode_members(members)


def _decoded(raw: bytes) -> Any:
    try:
        return _ANY.decode(raw)
    except msgspec.ValidationError:
        return _BEYOND_FLOATS.decode(raw)


def _is_compact(data: bytes, members: Mapping[str, bytes]) -> bool:
    """True if the members account for every byte of a document without white space.

    A duplicate would have left bytes unaccounted for, so most documents need no second look.
    """
    names = sum(len(name.encode()) for name in members)
    values = sum(map(len, members.values()))
    punctuation = 2 + 4 * len(members) - (1 if members else 0)
    return len(data) == names + values + punctuation


def _refuse_duplicates(data: bytes) -> None:
    names = [name.text for name in _NAMED_MEMBERS.decode(data)]
    if len(set(names)) != len(names):
        raise BadInput(code="duplicate-member")


def _depth_exceeds(data: bytes, depth: int) -> bool:
    """True if a well-formed document nests deeper than `depth`.

    Works in chunks, so that a thread that runs it lets others in between.
    """
    steps = _STRINGS.sub(b"", data).translate(_STEPS, _NOT_BRACKETS)
    level = 0
    for start in range(0, len(steps), _CHUNK):
        levels = list(
            accumulate(memoryview(steps)[start : start + _CHUNK].cast("b"), initial=level)
        )
        if max(levels) > depth:
            return True
        level = levels[-1]
    return False

"""JSON in and out: what is refused, and that the rest is not touched."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.errors import BadInput
from skills_host.wire import (
    DEPTH,
    decode,
    decode_elements,
    decode_members,
    encode,
    encode_members,
    patched,
)
from tests.documents import members, texts, values, written


def refusal(data: bytes) -> str:
    """The code with which a document is refused, or an empty string."""
    try:
        decode_members(data)
    except BadInput as exc:
        return exc.code
    return ""


class Pairs(list[tuple[str, Any]]):
    """An object as the slow model reads it: every pair, duplicates too."""


def model(data: bytes) -> Any:
    """The document, read by the standard library, strictly."""

    def refused(text: str) -> Any:
        raise ValueError(text)

    text = data.decode("utf-8")
    found = json.loads(
        text, object_pairs_hook=Pairs, parse_constant=refused, parse_float=str, parse_int=str
    )
    json.dumps(found, ensure_ascii=False).encode()
    return found


# In


@given(members, st.text(" \t\r\n", max_size=2))
def test_members_come_as_their_bytes(found: dict[str, str], space: str) -> None:
    """Whatever white space is around them."""
    data = f"{space}{written(found, space=space)}{space}".encode()

    assert decode_members(data) == {name: raw.encode() for name, raw in found.items()}


@given(members)
def test_members_go_as_their_bytes(found: dict[str, str]) -> None:
    raw = {name: value.encode() for name, value in found.items()}

    assert list(decode_members(encode_members(raw)).items()) == list(raw.items())


names = st.sampled_from(["a", "b", "", "é", "😀", '"', "\\", "\u007f", "a b"])


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Objects whose names are spelt in several ways and come again now and then."""
    space = draw(st.text(" \n", max_size=1))
    pairs = []
    for name in draw(st.lists(names, max_size=5)):
        units = name.encode("utf-16-be").hex()
        escaped = "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
        spelt = draw(
            st.sampled_from([json.dumps(name), json.dumps(name, ensure_ascii=False)])
            | st.just(f'"{escaped}"')
        )
        pairs.append(f"{space}{spelt}{space}:{space}{draw(values)}")
    return ("{" + ",".join(pairs) + space + "}").encode()


@given(documents())
def test_no_duplicate_is_missed(data: bytes) -> None:
    """Nor seen where there is none: the slow model knows."""
    found = [name for name, _ in model(data)]

    assert refusal(data) == ("duplicate-member" if len(set(found)) < len(found) else "")


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{ "a" : 1 , "a" : 2 }',
        b'{ "a" : 1 ,\n "\\u0061" : 2 }',
        b'{"":1,"":2}',
        b'{"a":1,"b":{},"a":null}',
        '{"é":1,"\\u00e9":1}'.encode(),
        b'{"\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":1}',
    ],
)
def test_duplicate_names_are_refused(data: bytes) -> None:
    assert refusal(data) == "duplicate-member"


def test_nested_duplicates_are_not_ours_to_judge() -> None:
    assert decode_members(b'{"v":{"a":1,"a":2}}') == {"v": b'{"a":1,"a":2}'}


@pytest.mark.parametrize(
    ("opening", "closing"),
    [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]"), (b'[ {"\\"[" : ', b"} ]")],
)
def test_nesting_ends_at_the_limit(opening: bytes, closing: bytes) -> None:
    """The object itself is the first level."""
    levels = sum(closing.count(bracket) for bracket in b"]}")

    def nested(times: int) -> bytes:
        return b'{"v":%b1%b}' % (opening * times, closing * times)

    assert refusal(nested((DEPTH - 1) // levels)) == ""
    assert refusal(nested(DEPTH // levels)) == "too-deep"


def test_the_limit_is_sixty_four() -> None:
    assert refusal(b'{"v":' + b"[" * 63 + b"]" * 63 + b"}") == ""
    assert refusal(b'{"v":' + b"[" * 64 + b"]" * 64 + b"}") == "too-deep"


@pytest.mark.parametrize("text", ["[" * 100, '\\"[{' * 40, "\\\\", '\\\\\\"' + "[" * 100])
def test_brackets_in_strings_are_not_levels(text: str) -> None:
    string = f'"{text}"'.encode()

    assert refusal(b'{"v":%b,"w":[%b]}' % (string, string)) == ""


def test_a_string_does_not_hide_levels() -> None:
    """Its end is where JSON says it is."""
    deep = b"[" * 64 + b"]" * 64

    assert refusal(b'{"v":"\\\\","w":%b,"x":"\\\\"}' % deep) == "too-deep"


@pytest.mark.parametrize("times", [64, 500, 5_000, 2_000_000])
def test_absurd_nesting_is_refused(times: int) -> None:
    """Also where it would exhaust the stack, and where it never ends."""
    assert refusal(b'{"v":' + b"[" * times + b"]" * times + b"}") == "too-deep"
    assert refusal(b'{"v":' + b"[" * times) in ("too-deep", "bad-json")


MALFORMED = {
    "nothing": b"",
    "white space": b" \n",
    "NaN": b'{"v":NaN}',
    "nested NaN": b'{"v":[1,{"w":NaN}]}',
    "Infinity": b'{"v":Infinity}',
    "negative Infinity": b'{"v":[-Infinity]}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "trailing bytes": b"{} {}",
    "trailing zero": b"{}\0",
    "trailing comma": b'{"v":1,}',
    "nested trailing comma": b'{"v":[1,]}',
    "comment": b'{"v":1/**/}',
    "unquoted name": b"{v:1}",
    "single quotes": b"{'v':1}",
    "leading zero": b'{"v":01}',
    "nested leading zero": b'{"v":[-01]}',
    "bare point": b'{"v":1.}',
    "plus sign": b'{"v":+1}',
    "hexadecimal": b'{"v":0x10}',
    "cut off": b'{"v":"w',
    "raw control character": b'{"v":"\x01"}',
    "raw newline in a name": b'{"\n":1}',
    "unknown escape": b'{"v":"\\q"}',
    "short escape": b'{"v":"\\u12"}',
    "lone high surrogate": b'{"v":"\\ud800"}',
    "lone low surrogate": b'{"v":["\\udc00"]}',
    "reversed surrogates": b'{"v":"\\ude00\\ud83d"}',
    "lone surrogate in a name": b'{"\\ud800":1}',
    "surrogate in UTF-8": b'{"v":"\xed\xa0\x80"}',
    "overlong UTF-8": b'{"v":"\xc0\xaf"}',
    "Latin-1": b'{"v":"\xe9"}',
    "UTF-16": '{"v":1}'.encode("utf-16"),
    "invalid UTF-8 outside strings": b"{}\xff",
    "other white space": b'{"v":\x0b1}',
    "array": b"[]",
    "null": b"null",
    "string": b'"{}"',
    "number": b"1",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_one_strict_object_is_refused(data: bytes) -> None:
    assert refusal(data) == "bad-json"


@given(st.binary(max_size=60) | documents().flatmap(lambda d: st.just(d[: len(d) // 2] + d)))
def test_any_bytes_are_taken_or_refused_with_a_code(data: bytes) -> None:
    assert refusal(data) in ("", "bad-json", "too-deep", "duplicate-member")


@given(documents(), st.integers(0, 200), st.sampled_from(b'[]{}",:\\u0e-+.\x00\x7f\xff tn'))
def test_the_whole_document_is_checked(data: bytes, place: int, byte: int) -> None:
    """A document with one byte changed is taken only if the slow model takes it too."""
    changed = bytearray(data)
    changed[place % len(data)] = byte
    try:
        expected = isinstance(model(bytes(changed)), Pairs)
    except ValueError:
        expected = False

    assert (refusal(bytes(changed)) in ("", "duplicate-member")) == expected


@pytest.mark.parametrize("filling", [b'"' + b"[" * 4_000_000 + b'"', b"[" + b"[],{}," * 666_000])
def test_a_large_document_is_read(filling: bytes) -> None:
    """Four MiB, the most that a host takes by default."""
    if filling.endswith(b","):
        filling = filling[:-1] + b"]"
    data = b'{"v":%b,"w":1}' % filling

    assert decode_members(data)["w"] == b"1"


def test_a_large_document_is_counted_to_its_end() -> None:
    """Levels are counted in pieces, and a piece may end anywhere."""
    wide = b"[" + b"[[]]," * 100_000
    deep = b"[" * 62 + b"]" * 62

    assert refusal(b'{"v":%b%b]}' % (wide, deep)) == ""
    assert refusal(b'{"v":%b[%b]]}' % (wide, deep)) == "too-deep"


def test_a_message_never_holds_what_was_sent() -> None:
    with pytest.raises(BadInput) as caught:
        decode_members(b'{"token":"hush-hush" x}')

    assert "hush" not in str(caught.value) + repr(caught.value)


# Values


def test_numbers_keep_their_worth() -> None:
    assert decode(b"12345678901234567890") == 12345678901234567890
    assert decode(b"1.10") == 1.1
    assert math.copysign(1, decode(b"-0.0")) == -1


def test_a_number_beyond_floats_is_a_decimal() -> None:
    """The others beside it are what they always are."""
    assert decode(b"[1e400,1.5,2]") == [Decimal("1e400"), 1.5, 2]
    assert encode(decode(b"-1e400")) == b"-1E+400"


@pytest.mark.parametrize("raw", [b"1e99999999999999999999", b"[" + b"9" * 5000 + b"]"])
def test_a_number_beyond_everything_is_refused(raw: bytes) -> None:
    """Only where it is looked into: it can be passed on."""
    assert decode_members(b'{"v":%b}' % raw)["v"] == raw
    with pytest.raises(BadInput, match="too large"):
        decode(raw)


@pytest.mark.parametrize("raw", [b"NaN", b"[1e400,NaN]", b"", b"[1", b'"\\ud800"', b"[" * 5000])
def test_a_malformed_value_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput):
        decode(raw)


def test_elements_come_as_their_bytes() -> None:
    assert decode_elements(b'[ 1.10 , {"a": 1} ,null]') == [b"1.10", b'{"a": 1}', b"null"]
    assert decode_elements(b"null") == []


@pytest.mark.parametrize("raw", [b"{}", b'"ab"', b"1", b"[1", b""])
def test_what_is_no_array_has_no_elements(raw: bytes) -> None:
    with pytest.raises(BadInput):
        decode_elements(raw)


# Out


class Point:
    """Knows its own shape."""

    def to_wire(self) -> Any:
        """Its shape."""
        return {"x": 1}


class Broken:
    """Has a fault in its shape."""

    def to_wire(self) -> Any:
        """Its shape, if it had one."""
        return self.missing  # type: ignore[attr-defined]


def test_an_object_may_know_its_own_shape() -> None:
    assert encode([Point()]) == b'[{"x":1}]'


def test_a_fault_in_a_shape_is_not_hidden() -> None:
    with pytest.raises(AttributeError, match="missing"):
        encode(Broken())


def test_what_has_no_shape_is_a_mistake_of_the_programmer() -> None:
    with pytest.raises(TypeError, match="object has no JSON shape"):
        encode(object())


@given(members, texts, texts)
def test_a_patch_changes_only_what_it_names(found: dict[str, str], name: str, value: str) -> None:
    """Everything else keeps its bytes and its place."""
    raw = written(found, space=" ").encode()
    expected = {n: r.encode() for n, r in found.items()} | {name: encode(value)}

    assert list(decode_members(patched(raw, {name: value})).items()) == list(expected.items())


@pytest.mark.parametrize("raw", [None, b"null", b"", b"{}"])
def test_a_patch_of_nothing_makes_an_object(raw: bytes | None) -> None:
    assert patched(raw, {"id": "x"}) == b'{"id":"x"}'


def test_only_objects_can_be_patched() -> None:
    with pytest.raises(BadInput):
        patched(b'"text"', {"id": "x"})

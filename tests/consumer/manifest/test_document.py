"""A JSON text taken apart: every value has its place, and every fault has a code and a place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skills_host.consumer.manifest.document import DEPTH, pointer_of, scan
from skills_host.wire import decode
from tests.documents import members, written


def faults(data: bytes) -> list[tuple[str, int, int]]:
    """Code, line and column of every fault of a text."""
    document = scan(data)
    return [(fault.code, *document.place(fault.offset)) for fault in document.faults]


@settings(max_examples=30)
@given(members.map(written))
def test_every_value_is_what_the_codec_reads_where_it_is_said_to_stand(text: str) -> None:
    document = scan(text.encode())

    assert document.faults == ()
    assert document.root is not None
    assert document.root.value == decode(text.encode())
    nodes = [document.root]
    while nodes:
        node = nodes.pop()
        assert decode(document.raw(node)) == node.value
        nodes += [*(node.members or {}).values(), *(node.elements or ())]


def test_a_value_knows_its_line_column_and_pointer() -> None:
    document = scan('{\n  "é": {"a/b": [1,\n 2]}\n}'.encode())

    assert document.root and document.root.members
    two = document.root.members["é"].members["a/b"].elements[1]  # type: ignore[index]
    assert (document.place(two.start), pointer_of(two.path)) == ((3, 2), "/é/a~1b/1")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ("SKM004", 1, 1)),
        ("  \n", ("SKM004", 2, 1)),
        ("[", ("SKM004", 1, 2)),
        ('{"a"', ("SKM004", 1, 5)),
        ('{"a":}', ("SKM004", 1, 6)),
        ("{'a': 1}", ("SKM004", 1, 2)),
        ("{a: 1}", ("SKM004", 1, 2)),
        ('{"a": tru}', ("SKM004", 1, 7)),
        ("[1 2]", ("SKM004", 1, 4)),
        ("[1}", ("SKM004", 1, 3)),
        ("[,1]", ("SKM004", 1, 2)),
        ("[1,,2]", ("SKM004", 1, 4)),
        ("[] x", ("SKM004", 1, 4)),
        ("[]]", ("SKM004", 1, 3)),
        ("[NaN]", ("SKM004", 1, 2)),
        ("[01]", ("SKM004", 1, 2)),
        ('["a\nb"]', ("SKM004", 1, 2)),
        ('["\\x"]', ("SKM004", 1, 2)),
        ('{"value": {"test"}}', ("SKM004", 1, 18)),
        ('["\\ud800"]', ("SKM009", 1, 2)),
        ("// why\n{}", ("SKM005", 1, 1)),
        ('{"a": 1 /* why\n*/}', ("SKM005", 1, 9)),
        ("[1,\n]", ("SKM006", 1, 3)),
        ('{"a": 1 , }', ("SKM006", 1, 9)),
        ('{"a": 1,\n "b": {"a": 1, "\\u0061": 2}}', ("SKM007", 2, 16)),
    ],
)
def test_a_fault_has_a_code_and_a_place(text: str, found: tuple[str, int, int]) -> None:
    assert faults(text.encode()) == [found]


def test_comments_and_trailing_commas_are_all_found() -> None:
    """They are read over, so that one look tells all of them."""
    document = scan(b'{\n "a": [1, 2,], // one\n "b": 2, /* two */\n}')

    assert [fault.code for fault in document.faults] == ["SKM006", "SKM005", "SKM005", "SKM006"]
    assert document.root is not None
    assert document.root.value == {"a": [1, 2], "b": 2}


@pytest.mark.parametrize("data", [b"\xff", b'{"a": "\xc3"}', "{}".encode("utf-16")])
def test_what_is_not_utf8_is_refused_at_its_place(data: bytes) -> None:
    (fault,) = scan(data).faults

    assert fault.code == "SKM002"


def test_a_byte_order_mark_is_told_and_read_over() -> None:
    document = scan(b'\xef\xbb\xbf{"a": 1}')

    assert [fault.code for fault in document.faults] == ["SKM003"]
    assert document.root is not None
    assert document.root.value == {"a": 1}


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_nesting_ends_at_its_bound(opened: str, closed: str) -> None:
    at_most = opened * DEPTH + ("1" if opened != "[" else "") + closed * DEPTH
    deeper = opened * (DEPTH + 1) + ("1" if opened != "[" else "") + closed * (DEPTH + 1)

    assert scan(at_most.encode()).faults == ()
    assert [fault.code for fault in scan(deeper.encode()).faults] == ["SKM008"]


@pytest.mark.parametrize("opened", ["[", '{"a":', "[[{", '[{"a":'])
def test_ten_thousand_levels_overflow_nothing(opened: str) -> None:
    document = scan((opened * 10_000).encode())

    assert document.root is None
    assert len(document.faults) == 1


@settings(max_examples=40)
@given(members.map(written), st.data())
def test_a_mutilated_text_is_read_as_the_codec_reads_it_or_refused(
    text: str, data: st.DataObject
) -> None:
    """Whatever the scanner takes, the strict reader of the standard library takes too."""
    cut = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(cut, min(len(text), cut + 3)))
    text = (
        text[:cut]
        + data.draw(st.sampled_from(["", ",", "]", "}", '"', ":", "\\", "0"]))
        + text[end:]
    )

    document = scan(text.encode())

    try:
        json.loads(text)
    except ValueError:
        assert document.faults

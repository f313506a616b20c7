"""A JSON text with the place of every value in it, and all that is wrong with the text itself.

No maintained library tells where in a text a value stands. The scan takes linear time and no stack
of its own; a text nested deeper than a manifest may be is left at that place.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skills_host.errors import BadInput
from skills_host.wire import decode

__all__ = [
    "BYTE_ORDER_MARK",
    "DEPTH",
    "Document",
    "Fault",
    "Node",
    "Path",
    "found_at",
    "pointer_of",
    "scan",
]

DEPTH = 32
"""How many levels of arrays and objects a manifest may have."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:
        (?P<string>"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+")
      | (?P<number>-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+)(?![\w.+-])
      | (?P<word>true|false|null)(?!\w)
      | (?P<mark>[\[\]{},:])
      | (?P<comment>//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+(?:\*/)?+)
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_BLANK = re.compile(r"[ \t\r\n]*+")


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it is written; what is not an object or array has its value in `leaf`.

    `path` leads to it in the manifest as written. `key` is the offset of the name before it.
    """

    path: Path
    start: int
    end: int
    key: int | None = None
    members: Mapping[str, Node] | None = None
    elements: tuple[Node, ...] | None = None
    leaf: Any = None

    @property
    def value(self) -> Any:
        """The value in Python's types."""
        if self.members is not None:
            return {name: node.value for name, node in self.members.items()}
        if self.elements is not None:
            return [node.value for node in self.elements]
        return self.leaf

    @property
    def text(self) -> str | None:
        """The value if it is a string."""
        return self.leaf if isinstance(self.leaf, str) else None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the text at an offset: a code of `codes.py`, in words, and where."""

    code: str
    offset: int
    message: str = ""
    path: Path = ()
    length: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A text taken apart: its value, if it could be read to its end, and the faults found."""

    text: str = field(repr=False)
    root: Node | None
    faults: tuple[Fault, ...] = ()
    lines: tuple[int, ...] = field(default=(0,), repr=False)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1, in characters."""
        line = bisect_right(self.lines, offset)
        return line, offset - self.lines[line - 1] + 1

    def raw(self, node: Node) -> bytes:
        """The bytes of a value as they are written."""
        return self.text[node.start : node.end].encode()


def pointer_of(path: Path) -> str:
    """The RFC 6901 pointer of a path; empty for the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def found_at(root: Node, path: Path) -> Node:
    """The value at a path, or the innermost one on the way that there is."""
    node = root
    for part in path:
        if node.members is not None:
            inner = node.members.get(str(part))
        else:
            elements = node.elements or ()
            is_there = str(part).isdecimal() and int(part) < len(elements)
            inner = elements[int(part)] if is_there else None
        if inner is None:
            return node
        node = inner
    return node


def scan(data: bytes) -> Document:
    """The document in `data`; never raises. Comments and trailing commas are read over."""
    marked = data.startswith(BYTE_ORDER_MARK)
    data = data.removeprefix(BYTE_ORDER_MARK)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        before = data[: exc.start].decode("utf-8")
        return Document(before, None, (Fault("SKM002", len(before)),), _lines(before))
    scanner = _Scanner(text)
    root = scanner.run()
    faults = [*([Fault("SKM003", 0)] if marked else []), *scanner.faults]
    return Document(text, root, tuple(faults), _lines(text))


def _lines(text: str) -> tuple[int, ...]:
    return (0, *(match.end() for match in re.finditer("\n", text)))


@dataclass(slots=True)
class _Frame:
    """An object or array that is still open, and the name that waits for its value."""

    path: Path
    start: int
    key: int | None
    members: dict[str, Node] | None
    elements: list[Node]
    name: str = ""
    name_at: int | None = None


class _Scanner:
    """One pass over a text. `expects` is what may come next; frames are the open values."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.faults: list[Fault] = []
        self.frames: list[_Frame] = []
        self.expects = "value"
        self.comma = 0
        self.root: Node | None = None

    def run(self) -> Node | None:
        """The root, or None where the text cannot be read to its end."""
        position = 0
        while True:
            match = _TOKEN.match(self.text, position)
            if match is None:
                blank = _BLANK.match(self.text, position)
                self._unexpected(blank.end() if blank else position)
                return None
            kind, start = str(match.lastgroup), match.start(str(match.lastgroup))
            if kind == "end":
                return self._ended(start)
            if not self._taken(kind, match[kind], start):
                return None
            position = match.end()

    def _ended(self, offset: int) -> Node | None:
        if self.root is None or self.frames:
            self._fault("SKM004", offset, "the text ends too early")
            return None
        return self.root

    def _taken(self, kind: str, token: str, start: int) -> bool:
        """Take one token; False where nothing sensible can follow."""
        if kind == "comment":
            self._fault("SKM005", start, length=len(token))
            return True
        if kind == "mark":
            return self._mark(token, start)
        if kind == "string" and self.expects in ("name", "name or }"):
            return self._name(token, start)
        if self.expects not in ("value", "value or ]"):
            return self._unexpected(start)
        return self._leaf(token, start)

    def _mark(self, mark: str, start: int) -> bool:
        if mark in "{[" and self.expects in ("value", "value or ]"):
            return self._open(mark, start)
        if mark in "}]":
            return self._close(mark, start)
        if mark == ":" and self.expects == ":":
            self.expects = "value"
            return True
        if mark == "," and self.expects == ", or end" and self.frames:
            self.comma = start
            self.expects = "value" if self.frames[-1].members is None else "name"
            return True
        return self._unexpected(start)

    def _open(self, mark: str, start: int) -> bool:
        path, key = self._next_path()
        if len(self.frames) == DEPTH:
            self._fault("SKM008", start, path=path)
            return False
        members: dict[str, Node] | None = {} if mark == "{" else None
        self.frames.append(_Frame(path, start, key, members, []))
        self.expects = "name or }" if mark == "{" else "value or ]"
        return True

    def _close(self, mark: str, start: int) -> bool:
        if not self.frames or (self.frames[-1].members is None) == (mark == "}"):
            return self._unexpected(start)
        frame = self.frames[-1]
        is_trailing = self.expects == "name" or (
            self.expects == "value" and mark == "]" and bool(frame.elements)
        )
        if is_trailing:
            self._fault("SKM006", self.comma, path=frame.path, length=1)
        elif self.expects not in (", or end", "name or }", "value or ]"):
            return self._unexpected(start)
        self.frames.pop()
        elements = None if frame.members is not None else tuple(frame.elements)
        self._done(Node(frame.path, frame.start, start + 1, frame.key, frame.members, elements))
        return True

    def _name(self, token: str, start: int) -> bool:
        frame = self.frames[-1]
        name = self._decoded(token, start)
        if not isinstance(name, str):
            return False
        if name in (frame.members or {}):
            self._fault("SKM007", start, path=(*frame.path, name))
        frame.name, frame.name_at = name, start
        self.expects = ":"
        return True

    def _leaf(self, token: str, start: int) -> bool:
        path, key = self._next_path()
        self._done(Node(path, start, start + len(token), key, leaf=self._decoded(token, start)))
        return True

    def _decoded(self, token: str, start: int) -> Any:
        try:
            return decode(token.encode())
        except BadInput:
            self._fault("SKM009", start, path=self._next_path()[0])
            return None

    def _next_path(self) -> tuple[Path, int | None]:
        """Where the next value belongs, and the offset of its name."""
        if not self.frames:
            return (), None
        frame = self.frames[-1]
        if frame.members is None:
            return (*frame.path, len(frame.elements)), None
        return (*frame.path, frame.name), frame.name_at

    def _done(self, node: Node) -> None:
        self.expects = ", or end"
        if not self.frames:
            self.root = node
        elif (members := self.frames[-1].members) is None:
            self.frames[-1].elements.append(node)
        else:
            members.setdefault(self.frames[-1].name, node)

    def _unexpected(self, offset: int) -> bool:
        wanted = "the end" if not self.frames and self.root is not None else self.expects
        where = self.frames[-1].path if self.frames else ()
        self._fault("SKM004", offset, f"expected {wanted}", path=where)
        return False

    def _fault(
        self, code: str, offset: int, message: str = "", *, path: Path = (), length: int = 0
    ) -> None:
        self.faults.append(Fault(code, offset, message, path, length))

"""The settings file of a bot on an SDK as one tree of plain values, whatever it was written in.

Nothing of a file is ever run. Names are compared without regard to case, as the SDKs do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import json5
from dotenv import dotenv_values

from skills_host.errors import BadInput
from skills_host.imports.python_source import FromEnvironment, Unread, tree_of_python

__all__ = ["FILE_BYTES", "SourceFile", "items_of", "member", "read_source", "text_of"]

FILE_BYTES = 512 * 1024
DEPTH = 32

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that was read: what it is called, its settings, and its very bytes."""

    name: str
    tree: Tree = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def is_manifest(self) -> bool:
        """True for a skill's manifest, of any generation."""
        current = member(self.tree, "endpoints") is not None and "$id" in self.tree
        first = {"id", "msAppId", "endpoint"} <= set(self.tree)
        return current or first


def read_source(name: str, data: bytes) -> SourceFile:
    """The settings in a JSON file (comments are let pass), a Python file or a file of variables.

    Raises `BadInput` (`import-format`).
    """
    if len(data) > FILE_BYTES:
        raise BadInput(f"{name}: more than {FILE_BYTES} bytes", code="import-format")
    try:
        text = data.decode("utf-8-sig")
        tree = _tree(name, text)
    except (ValueError, SyntaxError, RecursionError):
        # Not what is wrong: parsers quote the line, which may hold a secret.
        raise BadInput(f"{name} cannot be read", code="import-format") from None
    if not tree:
        raise BadInput(f"{name} has no settings", code="import-format")
    return SourceFile(name, _unfolded(tree), data)


def member(tree: Any, *path: str) -> Any:
    """What is at a path of names, or None."""
    for name in path:
        if not isinstance(tree, Mapping):
            return None
        tree = next((v for key, v in tree.items() if key.lower() == name.lower()), None)
    return tree


def items_of(value: Any) -> Iterator[Any]:
    """The elements of a list, also of one that is written as members 0, 1, 2 …"""
    if isinstance(value, list):
        yield from value
    elif isinstance(value, Mapping) and value and all(key.isdigit() for key in value):
        yield from (value[key] for key in sorted(value, key=int))
    elif isinstance(value, Mapping) and value:
        yield value


def text_of(value: Any) -> str:
    """A value as text; the default of one that is from the environment; empty for what is none."""
    if isinstance(value, FromEnvironment):
        return text_of(value.default)
    if value is None or isinstance(value, Unread | Mapping | list):
        return ""
    return str(value).strip()


def _tree(name: str, text: str) -> dict[str, Any]:
    if name.lower().endswith(".py"):
        return tree_of_python(text)
    if text.lstrip().startswith(("{", "//", "/*")):
        found = _json(text)
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found
    return {key: value or "" for key, value in _variables(text).items()}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return json5.loads(text)


def _variables(text: str) -> dict[str, str | None]:
    return dict(dotenv_values(stream=StringIO(text), interpolate=False))


def _unfolded(tree: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """With `A:0:B` and `A__0__B` taken apart into members."""
    if depth > DEPTH:
        raise BadInput("nested too deeply", code="import-format")
    found: dict[str, Any] = {}
    for key, value in tree.items():
        *tables, last = str(key).replace("__", ":").split(":")
        node = found
        for table in tables:
            node = node.setdefault(next((k for k in node if k.lower() == table.lower()), table), {})
            if not isinstance(node, dict):
                raise BadInput(f"{key}: two kinds of value", code="import-format")
        inner = _unfolded(value, depth + 1) if isinstance(value, Mapping) else value
        node[last] = _all(inner, depth) if isinstance(inner, list) else inner
    return found


def _all(values: list[Any], depth: int) -> list[Any]:
    return [_unfolded(v, depth + 1) if isinstance(v, Mapping) else v for v in values]

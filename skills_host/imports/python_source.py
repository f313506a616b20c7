"""The settings in a bot's `config.py`, read from its syntax: nothing of it is ever run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["FromEnvironment", "Unread", "tree_of_python"]

CONFIGURED_BY = "CHANNEL_HOST_CONFIGURATION"
GETTERS = ("get", "getenv")


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    """A value that code takes from a variable, with what it takes where there is none."""

    name: str
    default: Any = None


@dataclass(frozen=True, slots=True)
class Unread:
    """A value that only running the code would give."""


def tree_of_python(text: str) -> dict[str, Any]:
    """The names that a module and its classes assign, with what can be read of their values.

    Of two assignments the later one counts. Raises `SyntaxError`, and `ValueError` for null bytes.
    """
    known: dict[str, Any] = {}
    for node in _statements(ast.parse(text)):
        if isinstance(node, ast.Return):
            found = _value(node.value, known)
            if isinstance(found, dict):
                known |= found
        elif isinstance(node, ast.AnnAssign):
            _assign(node.target, _value(node.value, known), known)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                _assign(target, _value(node.value, known), known)
    return known


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """What modules, classes and constructors assign, and what the host's configuration returns."""
    for node in tree.body:
        yield node
        if isinstance(node, ast.ClassDef):
            yield from _statements(ast.Module(node.body, []))
        elif isinstance(node, ast.FunctionDef) and node.name in ("__init__", CONFIGURED_BY):
            yield from node.body


def _assign(target: ast.expr, value: Any, known: dict[str, Any]) -> None:
    name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
    if not name or (isinstance(value, Unread) and name in known):
        # A list that is made of the one before says nothing new.
        return
    known[name] = value


def _value(node: ast.expr | None, known: dict[str, Any]) -> Any:
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None as value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(element, known) for element in elements]
        case ast.Dict(keys=keys, values=values):
            return _members(keys, values, known)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in known:
            return known[name]
        case ast.Call():
            return _called(node, known)
        case ast.Subscript(value=of, slice=ast.Constant(value=str() as name)) if _is_environ(of):
            return FromEnvironment(name)
        case _:
            return Unread()


def _members(
    keys: list[ast.expr | None], values: list[ast.expr], known: dict[str, Any]
) -> dict[str, Any]:
    found = {}
    for key, value in zip(keys, values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found[key.value] = _value(value, known)
    return found


def _called(node: ast.Call, known: dict[str, Any]) -> Any:
    """`os.environ.get(…)`, `getenv(…)`, or an object by its keywords, such as `ChannelInfo(…)`."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in GETTERS and node.args and isinstance(node.args[0], ast.Constant):
        default = node.args[1] if len(node.args) > 1 else None
        given = None if default is None else _value(default, known)
        return FromEnvironment(str(node.args[0].value), given)
    if node.keywords and not node.args and name[:1].isupper():
        return {word.arg: _value(word.value, known) for word in node.keywords if word.arg}
    return Unread()


def _is_environ(node: ast.expr) -> bool:
    return (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")) == "environ"

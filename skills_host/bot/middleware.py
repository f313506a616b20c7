"""Middleware: one fold, for turns coming in and for activities going out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

__all__ = ["compose"]

_HandlerT = TypeVar("_HandlerT", bound=Callable[..., Any])


def compose(layers: Iterable[Callable[..., Any]], inner: _HandlerT) -> _HandlerT:
    """`inner` wrapped by each layer, the first outermost.

    A layer is called as `layer(*arguments, call_next)` and wraps everything after it, so code
    after its `await call_next(…)` runs when the rest is done. Not calling `call_next` stops.
    """
    handler: Any = inner
    for layer in reversed(tuple(layers)):
        handler = partial(_call, layer, handler)
    return handler  # type: ignore[no-any-return]


def _call(layer: Callable[..., Any], call_next: Callable[..., Any], *arguments: Any) -> Any:
    return layer(*arguments, call_next)

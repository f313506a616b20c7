"""Patterns of skills, by RE2 (extra `patterns`): matched in linear time, whatever they are."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from skills_host.consumer.registry.compile import Skill
from skills_host.errors import SettingsError

__all__ = ["Patterns", "check_patterns"]

log = logging.getLogger(__name__)

MEMORY = 1 << 20  # bytes that one expression may compile to


def check_patterns(skill: str, texts: Iterable[str]) -> None:
    """Raise `SettingsError` for a pattern that RE2 does not know, or that is too large.

    It knows no look-around and no references to groups: what they match may take for ever.
    """
    for text in texts:
        _compiled(skill, text)


class Patterns:
    """The patterns of many skills, found together in one pass over a text.

    One that cannot be used is logged and left out.
    """

    def __init__(self, skills: Mapping[str, Skill]) -> None:
        self._owners: list[tuple[str, str]] = []
        self._compiled: list[Any] = []
        for name, skill in skills.items():
            for text in skill.patterns:
                try:
                    self._compiled.append(_compiled(name, text))
                except SettingsError as exc:
                    log.error("a pattern is left out: %s", exc)
                else:
                    self._owners.append((name, text))
        self._all = None
        if self._owners:
            # The set is only a sieve: each expression is looked for by itself again.
            re2 = _library()
            options = _options(re2)
            options.max_mem = MEMORY * 64
            self._all = re2.Set.SearchSet(options)
            for _, text in self._owners:
                self._all.Add(text)
            self._all.Compile()

    def found(self, text: str) -> Iterator[tuple[str, str, tuple[tuple[str, str], ...]]]:
        """(skill, what matched, named groups) for each pattern that is found in the text."""
        if self._all is None:
            return
        for index in self._all.Match(text):
            match = self._compiled[index].search(text)
            if match is not None and match.group():
                groups = {k: v for k, v in match.groupdict().items() if v is not None}
                yield self._owners[index][0], match.group(), tuple(groups.items())


def _library() -> Any:
    """RE2; None without the extra."""
    try:
        # Three megabytes with what it stands on, which a host without patterns need not carry.
        import re2
    except ImportError:
        return None
    return re2


def _options(re2: Any) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = MEMORY
    return options


def _compiled(skill: str, text: str) -> Any:
    re2 = _library()
    if re2 is None:
        raise SettingsError(f"skills.{skill}.patterns: they need skills-host[patterns]")
    try:
        return re2.compile(text, _options(re2))
    except re2.error as exc:
        reason = exc.args[0].decode(errors="replace") if exc.args else "not understood"
        raise SettingsError(f"skills.{skill}.patterns: {reason}") from None

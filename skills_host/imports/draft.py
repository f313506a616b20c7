"""A configuration while it is being written: its tables, its variables, and what is different."""

from __future__ import annotations

import re
from typing import Any

from skills_host.imports.differences import Difference

__all__ = ["Draft"]

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")


class Draft:
    """What is gathered; `variables` are the names that the environment must have, with a value
    that the configuration can be checked with."""

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self.variables: dict[str, str] = {}
        self.differences: list[Difference] = []
        self.left_out: list[str] = []

    def differs(self, code: str, where: str, seen: str = "") -> None:
        """Note a difference, once."""
        found = Difference(code, where, seen)
        if found not in self.differences:
            self.differences.append(found)

    def variable(self, name: str, sample: str) -> str:
        """The reference to a variable, which counts as needed from now on."""
        safe = _NOT_IN_NAMES.sub("_", name)
        safe = f"_{safe}" if safe[:1].isdigit() else safe
        self.variables.setdefault(safe, sample)
        return f"${{{safe}}}"

    def leave_out(self, code: str, where: str, seen: str = "") -> None:
        """Note what is not in the configuration, and why."""
        self.differs(code, where, seen)
        self.left_out.append(f"{where}: {code}")

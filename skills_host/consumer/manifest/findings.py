"""Collects what is said about one manifest, each with its place in the text."""

from __future__ import annotations

from skills_host.consumer.manifest.codes import CODES
from skills_host.consumer.manifest.document import Document, Node, Path, pointer_of
from skills_host.consumer.manifest.model import Finding, Severity

__all__ = ["Findings"]

MOST = 200
"""So many findings of one manifest are told; more would tell nobody more."""


class Findings:
    """The findings about one document, in the order of their places; filled while it is read."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: list[tuple[int, Finding]] = []

    @property
    def has_errors(self) -> bool:
        """True if one of the findings so far is an error."""
        return any(finding.is_error for _, finding in self._found)

    def at(
        self, node: Node, code: str, message: str = "", *, fix: str = "", member: str | None = None
    ) -> None:
        """Something about a value (about its name, if it is the name of `member` that is wrong)."""
        path = node.path if member is None else (*node.path, member)
        child = None if member is None else (node.members or {}).get(member)
        if child is None:
            self.at_offset(node.start, code, message, path=node.path, fix=fix)
        else:
            offset = child.start if child.key is None else child.key
            self.at_offset(offset, code, message, path=path, fix=fix)

    def at_offset(
        self,
        offset: int,
        code: str,
        message: str = "",
        *,
        path: Path = (),
        fix: str = "",
        severity: Severity | None = None,
    ) -> None:
        """Something about a place of the text; words and severity are the table's unless given."""
        entry = CODES[code]
        line, column = self._document.place(offset)
        said = f"{entry.meaning}: {message}" if message else entry.meaning
        finding = Finding(
            code=code,
            severity=severity or entry.severity,
            pointer=pointer_of(path),
            line=line,
            column=column,
            message=said,
            fix=fix or entry.fix,
        )
        self._found.append((offset, finding))

    def in_order(self) -> tuple[Finding, ...]:
        """All of them, by place, errors first at one place; no more than a person would read."""
        order = list(Severity)
        found = sorted(self._found, key=lambda item: (item[0], order.index(item[1].severity)))
        errors = [item for item in found if item[1].is_error]
        kept = found if len(found) <= MOST else (errors + [i for i in found if i not in errors])
        return tuple(finding for _, finding in kept[:MOST])

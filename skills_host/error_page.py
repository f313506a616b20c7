"""The documentation page of all error codes, made from the tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from skills_host.errors import Code

__all__ = ["error_page"]

_PAGE = """\
# Error codes

<!-- Made from the tables in the code by `python -m tests.test_errors`. -->

Every error answer has the same body, `{{"error": {{"code": …, "message": …, "receipt": …}}}}`, with
a `receipt` only where there is one. A code means the same for good; a message may change.

## What can go wrong

{codes}
## Why a caller is refused

{denials}"""


def error_page(codes: Mapping[str, Code], denials: Mapping[str, Code]) -> str:
    """The documentation page of both tables, in Markdown. Pure."""
    return _PAGE.format(codes=_rows(codes), denials=_rows(denials))


def _rows(table: Mapping[str, Code]) -> str:
    lines = ["| code | status | meaning | what to do |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {c.status} | {c.meaning} | {c.fix} |" for name, c in table.items()]
    return "\n".join(lines) + "\n"

"""The error tree, its table, and the page that is made from both tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from skills_host import errors
from skills_host.auth.denials import DENIALS
from skills_host.error_page import error_page
from skills_host.errors import CODES, Code, SkillsHostError, error_body

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"

TREE = [
    kind
    for kind in map(errors.__dict__.get, errors.__all__)
    if isinstance(kind, type) and issubclass(kind, SkillsHostError)
]


@pytest.mark.parametrize("code", [*CODES.values(), *DENIALS.values()], ids=[*CODES, *DENIALS])
def test_every_code_is_explained(code: Code) -> None:
    """A status of an error, a meaning and a fix."""
    assert 400 <= code.status <= 599
    assert code.meaning and code.fix


@pytest.mark.parametrize("kind", TREE)
def test_every_class_has_a_code_of_the_table(kind: type[SkillsHostError]) -> None:
    assert kind.code in CODES


def test_no_code_is_in_both_tables() -> None:
    assert not CODES.keys() & DENIALS.keys()


def test_an_error_without_words_has_those_of_its_code() -> None:
    error = SkillsHostError(code="too-deep")

    assert (str(error), error.status) == (CODES["too-deep"].meaning, 400)


def test_the_code_is_the_classes_own_unless_given() -> None:
    assert errors.TransportFailed().code == "unreachable"
    assert errors.TransportFailed(code="deadline").code == "deadline"


def test_the_body_has_no_receipt_unless_there_is_one() -> None:
    error = errors.StoreFailed("words")

    assert error_body(error) == {"error": {"code": "store-failed", "message": "words"}}
    assert error_body(error, receipt="r1")["error"]["receipt"] == "r1"


def test_a_conflict_names_its_record_but_not_in_words() -> None:
    error = errors.VersionConflict("state", "ann/secret")

    assert (error.kind, error.key) == ("state", "ann/secret")
    assert "ann" not in str(error)


def test_the_page_has_a_row_for_each_code() -> None:
    page = error_page({"one": Code(400, "first", "mend it")}, {"two": Code(403, "second", "ask")})

    assert "| `one` | 400 | first | mend it |" in page
    assert "| `two` | 403 | second | ask |" in page


def test_no_row_breaks_its_table() -> None:
    texts = [text for code in (*CODES.values(), *DENIALS.values()) for text in code.meaning]

    assert not {"|", "\n"} & set(texts)


def test_the_documentation_is_up_to_date() -> None:
    """`python -m tests.test_errors` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == error_page(CODES, DENIALS)


if __name__ == "__main__":
    PAGE.write_text(error_page(CODES, DENIALS), encoding="utf-8")

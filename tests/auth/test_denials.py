"""The table of refusals and the error that carries one."""

from __future__ import annotations

import pytest

from skills_host.auth.denials import DENIALS, Denied
from skills_host.errors import CODES, error_body

FORBIDDEN = {
    "not-activity-owner",
    "operation-refused",
    "other-tenant",
    "endorsement",
    "caller-not-allowed",
    "skill-not-allowed",
    "skill-revoked",
    "skill-suspended",
    "skill-draining",
    "activity-not-declared",
    "not-conversation-owner",
    "forwarded-in-lab",
    "admin-role",
}
OTHERS = {"keys-unavailable": 503, "admin-throttled": 429}


@pytest.mark.parametrize("code", DENIALS)
def test_every_code_has_its_status_and_advice(code: str) -> None:
    expected = 403 if code in FORBIDDEN else OTHERS.get(code, 401)

    error = Denied(code)

    assert (error.code, error.status) == (code, expected)
    assert error.meaning and error.fix


def test_no_code_is_in_both_tables() -> None:
    assert not DENIALS.keys() & CODES.keys()


def test_what_was_seen_is_in_neither_str_nor_repr() -> None:
    error = Denied("audience", expected="wanted-value", seen="seen-value")

    shown = f"{error} {error!r} {error_body(error)}"

    assert (error.expected, error.seen) == ("wanted-value", "seen-value")
    assert "wanted-value" not in shown
    assert "seen-value" not in shown
    assert str(error) == DENIALS["audience"].meaning


def test_an_unknown_code_is_a_mistake_of_the_programmer() -> None:
    with pytest.raises(ValueError, match="not a denial"):
        Denied("no-such-code")

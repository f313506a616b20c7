"""The form that proves who a bot is."""

from __future__ import annotations

from skills_host.auth.credentials import ClientSecret
from tests.auth.issuer import BOT, HOME


def test_a_client_secret_makes_the_fields_of_the_request() -> None:
    form = ClientSecret(BOT, HOME, "s3cret").form("x/.default")

    assert form == {
        "grant_type": "client_credentials",
        "client_id": BOT,
        "client_secret": "s3cret",
        "scope": "x/.default",
    }


def test_a_client_secret_never_shows_it() -> None:
    shown = repr(ClientSecret(BOT, HOME, "s3cret"))

    assert "s3cret" not in shown
    assert BOT in shown

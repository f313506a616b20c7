"""The REST API is off, and behind something that ends TLS wherever it is not on loopback."""

from __future__ import annotations

from typing import Any

import pytest

from skills_host.configuration import from_mapping
from skills_host.errors import SettingsError
from skills_host.settings import Settings
from tests.world import IDS, ROOT, Town, bot_settings


def made(bind: str = "127.0.0.1:3978", **admin: Any) -> Settings:
    """Settings with an `[admin]` table."""
    host = {"bind": bind, "public_url": "https://bots.example.com"}
    bots = {"root": bot_settings("root", "root")}
    return from_mapping({"host": host, "bots": bots, "admin": admin}, {})


def test_it_is_off_by_default() -> None:
    assert not made().admin.enabled


def test_who_listens_to_others_states_where_tls_ends() -> None:
    with pytest.raises(SettingsError, match=r"admin\.behind_tls"):
        made("0.0.0.0:3978", enabled=True)

    assert made("0.0.0.0:3978", enabled=True, behind_tls=True).admin.enabled
    assert made(enabled=True).admin.enabled
    assert not made("0.0.0.0:3978").admin.enabled


@pytest.mark.parametrize(
    "entra", [{"audience": "x"}, {"audience": "x", "tenants": []}, {"tenants": [IDS["root"]]}]
)
def test_entra_names_its_audience_and_tenants(entra: dict[str, Any]) -> None:
    """Tokens of every tenant would be those of everybody."""
    with pytest.raises(SettingsError, match=r"admin\.entra"):
        made(enabled=True, entra=entra)


async def test_a_host_without_it_has_no_such_address(town: Town) -> None:
    assert await town.call("GET", f"{ROOT}/admin/v1/skills", {}) == (404, "not-found")

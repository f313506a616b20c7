"""The store that keeps nothing; what it does while it is open is tested with all the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skills_host.errors import SettingsError
from skills_host.store.address import shared_store, shown_url, store_from_url
from skills_host.store.records import Put


async def test_what_was_stored_is_forgotten_at_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = store_from_url("memory:")
    await store.open()
    await store.write([Put("note", "one", b"{}")])
    await store.close()
    left = os.listdir(tmp_path)
    await store.open()
    found = await store.read([("note", "one")])
    await store.close()

    assert (left, found) == ([], {})
    assert "is forgotten" in caplog.text


async def test_two_have_nothing_in_common() -> None:
    one, other = store_from_url("memory:"), store_from_url("memory:")
    await one.open()
    await other.open()
    await one.write([Put("note", "one", b"{}")])
    found = await other.read([("note", "one")])
    await one.close()
    await other.close()

    assert found == {}


def test_a_command_cannot_look_into_it() -> None:
    with pytest.raises(SettingsError, match="only its host"):
        shared_store("memory:")


def test_its_address_is_shown() -> None:
    assert shown_url("memory:") == "memory:"

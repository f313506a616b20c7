from __future__ import annotations

import asyncio
import base64
import hmac
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from skills_host.errors import SettingsError, StoreFailed
from skills_host.store.records import Put, Store
from skills_host.store.seal import HostKey, Keys, keys_of
from skills_host.store.sqlite import SqliteStore

SECRET = bytes(range(224, 256))


def test_the_first_key_signs() -> None:
    first, second = HostKey(SECRET), HostKey(bytes(32))
    keys = Keys((first, second))

    assert keys.current is first
    assert keys.mac(b"purpose", b"data", 16) == first.mac(b"purpose", b"data", 16)
    assert keys.derive(b"purpose") == first.derive(b"purpose")


def test_every_purpose_has_a_subkey_of_its_own() -> None:
    keys = Keys((HostKey(SECRET),))
    subkeys = {keys.derive(b"handle"), keys.derive(b"ticket"), SECRET}

    assert len(subkeys) == 3
    assert keys.mac(b"handle", b"data", 32) != keys.mac(b"ticket", b"data", 32)


def test_a_subkey_is_hkdf_with_sha256_and_the_purpose_in_its_info() -> None:
    extracted = hmac.digest(bytes(32), SECRET, "sha256")
    expanded = hmac.digest(extracted, b"skills-host\0handle\x01", "sha256")

    assert HostKey(SECRET).derive(b"handle") == expanded
    assert HostKey(SECRET).mac(b"handle", b"d", 32) == hmac.digest(expanded, b"d", "sha256")


def test_subkeys_and_macs_stay_what_they_were() -> None:
    key = HostKey(SECRET)
    subkey = bytes.fromhex("eb6b7b71472462476d477da9dba9a8aa761cb953a8bb716a9729cc1e361bf5b3")

    assert [key.derive(b"handle") for _ in range(2)] == [subkey] * 2
    assert key.mac(b"handle", b"data", 16).hex() == "61d4be57e7e89e1f6ff7598b593bd10e"


def test_a_subkey_is_derived_once() -> None:
    key = HostKey(SECRET)

    assert key.derive(b"handle") is key.derive(b"handle")


def test_threads_that_derive_at_once_get_the_same_subkey() -> None:
    key, together = HostKey(SECRET), Barrier(4)

    def derive(_: int) -> bytes:
        together.wait(timeout=10)
        return key.derive(b"handle")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(derive, range(4))) == {HostKey(SECRET).derive(b"handle")}


def test_a_key_that_has_derived_equals_one_that_has_not() -> None:
    used = HostKey(SECRET)
    used.derive(b"handle")

    assert used == HostKey(SECRET)
    assert len({used, HostKey(SECRET)}) == 1


def test_a_mac_has_the_length_asked_for() -> None:
    keys = Keys.generate()

    assert keys.mac(b"p", b"d", 32)[:8] == keys.mac(b"p", b"d", 8)


def test_keys_that_share_an_id_are_all_found() -> None:
    many = Keys(tuple(HostKey(n.to_bytes(32, "big")) for n in range(600)))

    found = many.with_id(many.current.id)

    assert len(found) > 1
    assert {key.id for key in found} == {many.current.id}


def test_nothing_of_a_key_is_in_its_repr() -> None:
    keys = Keys((HostKey(SECRET),))
    keys.derive(b"handle")

    assert repr(keys) == "Keys(...)"
    assert f"{keys.current}" == "HostKey(...)"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padding", ["", "="])
def test_keys_are_read_from_either_alphabet(encode: type, padding: str) -> None:
    text = encode(SECRET).decode().rstrip("=") + padding

    assert Keys.from_base64([f" {text}\n"]) == Keys((HostKey(SECRET),))


def test_keys_written_as_base64_are_read_again() -> None:
    keys = Keys((HostKey(SECRET), HostKey(bytes(32))))

    assert Keys.from_base64(keys.to_base64()) == keys


@pytest.mark.parametrize("text", ["", "c2hvcnQ=", "not base64!", "é", "A" * 42, "A" * 100])
def test_a_malformed_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(SettingsError, match=r"host\.keys") as caught:
        Keys.from_base64([text])

    assert not text or text not in str(caught.value)


def test_no_keys_at_all_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"host\.keys"):
        Keys.from_base64([])
    with pytest.raises(ValueError, match="at least one"):
        Keys(())


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        HostKey(b"short")


async def test_configured_keys_are_not_stored(store: Store) -> None:
    keys = await keys_of(store, [base64.b64encode(SECRET).decode()])

    assert keys == Keys((HostKey(SECRET),))
    assert await store.read([("host", "keys")]) == {}


async def test_keys_are_made_once(store: Store) -> None:
    assert await keys_of(store, []) == await keys_of(store, [])


async def test_two_hosts_that_start_at_once_get_the_same_keys(tmp_path: Path) -> None:
    stores = [SqliteStore(tmp_path / "host.db") for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    keys = await asyncio.gather(*(keys_of(store, []) for store in stores))
    await asyncio.gather(*(store.close() for store in stores))

    assert len(set(keys)) == 1


async def test_damaged_keys_in_the_store_are_refused(store: Store) -> None:
    await store.write([Put("host", "keys", b"\xff")])

    with pytest.raises(StoreFailed, match="damaged"):
        await keys_of(store, [])


def test_what_is_sealed_is_read_with_any_key_of_the_host() -> None:
    old, new = Keys.generate(), Keys.generate()
    sealed = old.seal(b"test", b"secret", about=b"a")

    assert b"secret" not in sealed
    assert Keys(new.all + old.all).unseal(b"test", sealed, about=b"a") == b"secret"


@pytest.mark.parametrize("fault", ["key", "purpose", "about", "changed", "cut", "empty"])
def test_what_was_not_sealed_so_is_not_read(fault: str) -> None:
    keys = Keys.generate()
    sealed = keys.seal(b"test", b"secret", about=b"a")
    reader = Keys.generate() if fault == "key" else keys
    purpose = b"other" if fault == "purpose" else b"test"
    given = {"changed": sealed[:-1] + bytes([sealed[-1] ^ 1]), "cut": sealed[:9], "empty": b""}

    with pytest.raises(ValueError, match="no key"):
        reader.unseal(purpose, given.get(fault, sealed), about=b"b" if fault == "about" else b"a")

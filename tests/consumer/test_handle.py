from __future__ import annotations

import base64
import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.auth.denials import Denied
from skills_host.consumer.handle import check_handle, new_handle
from skills_host.errors import UnknownConversation
from skills_host.store.seal import HostKey, Keys

ROOT = "11111111-aaaa-4111-8111-111111111111"
SKILL = "22222222-bbbb-4222-8222-222222222222"
OTHER = "33333333-cccc-4333-8333-333333333333"
KEYS = Keys((HostKey(b"k" * 32),))
HANDLE = new_handle(KEYS, host_app_id=ROOT, skill_app_id=SKILL, random=b"r" * 16)


def refuse(handle: str, *, keys: Keys = KEYS) -> None:
    with pytest.raises(UnknownConversation) as caught:
        check_handle(keys, handle, host_app_id=ROOT, skill_app_id=SKILL)
    assert (caught.value.status, caught.value.code) == (404, "unknown-conversation")


def deny(*, host: str, skill: str) -> None:
    with pytest.raises(Denied) as caught:
        check_handle(KEYS, HANDLE, host_app_id=host, skill_app_id=skill)
    assert (caught.value.status, caught.value.code) == (403, "not-conversation-owner")


def raw(handle: str) -> bytes:
    return base64.urlsafe_b64decode(handle + "=")


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@given(
    random=st.binary(min_size=16, max_size=16),
    region=st.integers(0, 0xFFFF),
    host=st.uuids(),
    skill=st.uuids(),
)
def test_a_handle_of_ours_is_accepted(random: bytes, region: int, host: UUID, skill: UUID) -> None:
    pair = {"host_app_id": str(host), "skill_app_id": str(skill)}
    handle = new_handle(KEYS, **pair, random=random, region=region)

    check_handle(KEYS, handle, **pair)
    assert re.fullmatch(r"[A-Za-z0-9_-]{59}", handle)


def test_the_layout_is_the_documented_one() -> None:
    handle = new_handle(KEYS, host_app_id=ROOT, skill_app_id=SKILL, random=b"r" * 16, region=0x0102)

    assert raw(handle)[:20] == bytes([1, KEYS.current.id, 1, 2]) + b"r" * 16
    assert len(raw(handle)) == 44


@given(at=st.integers(0, 43), flip=st.integers(1, 255))
def test_a_flipped_byte_is_an_unknown_conversation(at: int, flip: int) -> None:
    changed = bytearray(raw(HANDLE))
    changed[at] ^= flip

    refuse(text(bytes(changed)))


@given(st.text())
def test_any_other_text_is_an_unknown_conversation(handle: str) -> None:
    refuse(handle)


@given(st.binary(min_size=44, max_size=44))
def test_bytes_of_the_right_length_are_an_unknown_conversation(data: bytes) -> None:
    refuse(text(data))


@pytest.mark.parametrize("handle", [HANDLE + "=", HANDLE + "\n", " " + HANDLE, HANDLE[:-1], ""])
def test_another_shape_is_an_unknown_conversation(handle: str) -> None:
    refuse(handle)


def test_another_spelling_of_the_last_character_is_refused() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = [HANDLE[:-1] + last for last in alphabet if raw(HANDLE[:-1] + last) == raw(HANDLE)]

    assert len(spellings) == 4
    for spelling in set(spellings) - {HANDLE}:
        refuse(spelling)


@pytest.mark.parametrize("alias", ["+", "/"])
def test_the_other_alphabet_is_refused(alias: str) -> None:
    refuse(alias + HANDLE[1:])


@given(st.uuids())
def test_another_skill_is_denied(skill: UUID) -> None:
    deny(host=ROOT, skill=str(skill))


@given(st.uuids())
def test_another_host_is_denied(host: UUID) -> None:
    deny(host=str(host), skill=SKILL)


def test_the_pair_the_other_way_round_is_denied() -> None:
    deny(host=SKILL, skill=ROOT)


def test_app_ids_are_compared_as_uuids() -> None:
    check_handle(KEYS, HANDLE, host_app_id=ROOT.upper(), skill_app_id=f"{{{SKILL.upper()}}}")


def test_a_handle_of_a_previous_key_is_accepted() -> None:
    check_handle(
        Keys((HostKey(b"n" * 32), *KEYS.all)), HANDLE, host_app_id=ROOT, skill_app_id=SKILL
    )


def test_a_handle_of_a_removed_key_is_an_unknown_conversation() -> None:
    refuse(HANDLE, keys=Keys((HostKey(b"n" * 32),)))


def test_a_key_that_shares_its_id_is_tried_too() -> None:
    candidates = (HostKey(n.to_bytes(32, "big")) for n in range(10_000))
    twin = next(key for key in candidates if key.id == KEYS.current.id)

    check_handle(Keys((twin, *KEYS.all)), HANDLE, host_app_id=ROOT, skill_app_id=SKILL)
    refuse(HANDLE, keys=Keys((twin,)))


@pytest.mark.parametrize("random", [b"", b"r" * 15, b"r" * 17])
def test_other_lengths_of_random_are_refused(random: bytes) -> None:
    with pytest.raises(ValueError, match="random bytes"):
        new_handle(KEYS, host_app_id=ROOT, skill_app_id=SKILL, random=random)


@pytest.mark.parametrize("region", [-1, 0x10000])
def test_a_region_of_more_than_two_bytes_is_refused(region: int) -> None:
    with pytest.raises(ValueError, match="region"):
        new_handle(KEYS, host_app_id=ROOT, skill_app_id=SKILL, random=b"r" * 16, region=region)


def test_an_app_id_that_is_no_uuid_is_refused() -> None:
    with pytest.raises(ValueError, match="UUID"):
        new_handle(KEYS, host_app_id="root", skill_app_id=OTHER, random=b"r" * 16)

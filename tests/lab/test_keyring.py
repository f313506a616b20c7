"""Tests of the lab's signing keys."""

from __future__ import annotations

import jwt

from skills_host.lab.keyring import KeyRing


def kids(ring: KeyRing) -> list[str]:
    return [key["kid"] for key in ring.jwks()]


def test_a_published_key_verifies_what_was_signed() -> None:
    """The key set holds the public half under the token's kid."""
    ring = KeyRing("entra")

    token = ring.sign({"aud": "somebody"})

    published = jwt.PyJWKSet.from_dict({"keys": ring.jwks()})
    key = published[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["RS256"], audience="somebody")


def test_rotation_keeps_two_generations_published() -> None:
    """The third rotation withdraws the first key."""
    ring = KeyRing("entra")
    seen = [ring.kid]

    for _ in range(3):
        ring.rotate()
        seen.insert(0, ring.kid)

    assert kids(ring)[1:] == seen[:3]
    assert len(set(seen)) == 4


def test_a_key_is_published_before_it_signs() -> None:
    """A verifier that has the key set knows the next signature's key."""
    ring = KeyRing("entra")
    known = kids(ring)

    ring.rotate()

    assert ring.kid in known
    assert ring.public_key(ring.kid) is not None
    assert ring.public_key("another") is None


def test_published_keys_hold_nothing_private() -> None:
    """Neither the key set nor the repr shows a private number."""
    ring = KeyRing("channel", members={"endorsements": ["test"]})

    key, _ = ring.jwks()

    assert set(key) == {"kty", "use", "alg", "kid", "x5t", "n", "e", "endorsements"}
    assert key["n"] not in repr(ring)

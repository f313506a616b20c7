"""Who may administer: tokens of the host's own and of Entra, and each reason why not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skills_host.admin.principals import Principals
from skills_host.admin.tokens import AdminTokens
from skills_host.admin_settings import AdminEntra
from skills_host.auth.denials import Denied
from skills_host.auth.keys import SigningKeys
from skills_host.consumer.registry.ledger import Ledger
from skills_host.consumer.registry.records import Actor, Order, Role
from skills_host.settings import Cloud
from skills_host.store.sqlite import SqliteStore
from tests.world import CLOUD, IDS, LAB, Lab, Loopback

AUDIENCE = "e0000000-0000-4000-8000-000000000001"
OBJECT = "e0000000-0000-4000-8000-000000000002"
TENANT = "d6d49420-f39b-4df7-a1dc-d59a935871db"
ADDRESS = "10.0.0.1"
DAY = 86400.0
ORDER = Order(Actor("bea"))


@dataclass
class Office:
    """A store with tokens, an authority, and who decides."""

    store: SqliteStore
    lab: Lab
    now: float = 1_800_000_000.0
    numbers: int = 0

    def random(self, size: int) -> bytes:
        """Other bytes each time."""
        self.numbers += 1
        return self.numbers.to_bytes(size, "big")

    @property
    def tokens(self) -> AdminTokens:
        """The tokens of the store."""
        return AdminTokens(self.store, now=lambda: self.now, random=self.random)

    def principals(self, *, entra: bool = True, failures: int = 3) -> Principals:
        """Who decides, in a process of its own."""
        send = Loopback({LAB: self.lab.app})
        return Principals(
            self.tokens,
            keys=SigningKeys(send, now=lambda: self.now, allow_lab=True),
            cloud=Cloud.model_validate(CLOUD),
            entra=AdminEntra(audience=AUDIENCE, tenants=(TENANT,)) if entra else None,
            failures=failures,
            now=lambda: self.now,
        )

    def jwt(self, **claims: Any) -> str:
        """A header with a token of Entra's for the API."""
        given = {"roles": ["author"], "oid": OBJECT} | claims
        audience = given.pop("audience", AUDIENCE)
        token = self.lab.authority.app_token(
            client_id=IDS["root"], audience=audience, tenant=TENANT, **given
        )
        return f"Bearer {token}"


@pytest.fixture
async def office(tmp_path: Path, lab: Lab) -> Any:
    store = SqliteStore(tmp_path / "admin.db", now=lambda: 0.0)
    await store.open()
    yield Office(store, lab, now=lab.authority._now())
    await store.close()


async def refusal(principals: Principals, header: str | None, address: str = ADDRESS) -> str:
    """The code with which a header is refused."""
    with pytest.raises(Denied) as caught:
        await principals.admit(header, address=address)
    return caught.value.code


async def test_a_token_brings_its_name_and_roles(office: Office) -> None:
    roles = frozenset({Role.AUTHOR, Role.AUDITOR})
    _, text = await office.tokens.add("ann", roles, seconds=DAY, order=ORDER)

    actor = await office.principals().admit(f"Bearer {text}", address=ADDRESS)

    assert (actor.name, actor.roles) == ("token:ann", roles)


async def test_the_store_has_no_token(office: Office) -> None:
    made, text = await office.tokens.add("ann", frozenset({Role.AUTHOR}), seconds=DAY, order=ORDER)
    [record] = await office.store.scan("admin-token", limit=10)

    secret = text.rpartition("_")[2]
    assert secret not in record.body.decode() + repr(made) + repr(record)
    assert made.digest not in repr(made)


async def test_who_makes_and_revokes_a_token_is_in_the_audit_trail(office: Office) -> None:
    """By its id, and what it is for; nothing of the token itself. Twice is no other deed."""
    order = Order(Actor("bea"), "she left")
    roles = frozenset({Role.AUTHOR, Role.AUDITOR})
    made, text = await office.tokens.add("ann", roles, seconds=DAY, order=ORDER)
    for _ in range(2):
        await office.tokens.revoke(made.id, order=order)
    await office.tokens.revoke("0" * 16, order=order)
    ledger = Ledger(office.store, now=lambda: office.now)
    added, revoked = await ledger.entries()

    until = datetime.fromtimestamp(office.now + DAY, UTC).isoformat(timespec="seconds")
    said = {"token": made.id, "name": "ann", "roles": "auditor,author", "until": until}
    assert (added.actor, added.verb, added.details) == ("bea", "add-token", said)
    assert (revoked.actor, revoked.verb, revoked.details) == ("bea", "revoke-token", said)
    assert (added.reason, revoked.reason) == ("", "she left")
    assert (await ledger.verify()).epoch == 2
    kept = repr([added, revoked])
    assert text.rpartition("_")[2] not in kept and made.digest not in kept


async def test_tokens_made_at_once_are_all_in_the_trail(office: Office) -> None:
    making = (
        office.tokens.add(f"u{n}", frozenset({Role.AUTHOR}), seconds=DAY, order=ORDER)
        for n in range(8)
    )
    made = await asyncio.gather(*making)
    ledger = Ledger(office.store, now=lambda: office.now)
    entries = await ledger.entries()

    assert {entry.details["token"] for entry in entries} == {token.id for token, _ in made}
    assert (await ledger.verify()).epoch == 8


async def test_a_revoked_token_is_refused_at_once_everywhere(office: Office) -> None:
    """admin-token-revoked, also by a process that has just let it in."""
    made, text = await office.tokens.add("ann", frozenset({Role.AUTHOR}), seconds=DAY, order=ORDER)
    here, there = office.principals(), office.principals()
    await here.admit(f"Bearer {text}", address=ADDRESS)
    await office.tokens.revoke(made.id, order=ORDER)

    assert await refusal(here, f"Bearer {text}") == "admin-token-revoked"
    assert await refusal(there, f"Bearer {text}") == "admin-token-revoked"


async def test_an_expired_token_is_refused(office: Office) -> None:
    """admin-token-expired"""
    _, text = await office.tokens.add("ann", frozenset({Role.AUTHOR}), seconds=DAY, order=ORDER)
    office.now += DAY

    assert await refusal(office.principals(), f"Bearer {text}") == "admin-token-expired"


async def test_an_unknown_id_and_a_wrong_secret_look_alike(office: Office) -> None:
    """admin-token: nobody can find out which ids there are."""
    _, text = await office.tokens.add("ann", frozenset({Role.AUTHOR}), seconds=DAY, order=ORDER)
    wrong = f"{text[:-1]}{'A' if text[-1] != 'A' else 'B'}"
    unknown = f"skh_{'0' * 16}_{'A' * 43}"

    for bad in (wrong, unknown, "skh_", f"{text}x"):
        assert await refusal(office.principals(), f"Bearer {bad}") == "admin-token"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "no-header"),
        ("Basic abc", "bad-scheme"),
        ("Bearer x", "malformed-token"),
        ("Bearer " + "x" * 20_000, "token-too-long"),
        ("Token skh_0000000000000000_" + "A" * 43, "bad-scheme"),
    ],
)
async def test_what_is_no_token_is_refused(office: Office, header: str | None, code: str) -> None:
    assert await refusal(office.principals(), header) == code


async def test_bad_tokens_are_throttled_by_address_but_good_ones_go_on(office: Office) -> None:
    """admin-throttled: for a minute; who was in a moment ago stays in, and others too."""
    _, text = await office.tokens.add("ann", frozenset({Role.AUTHOR}), seconds=DAY, order=ORDER)
    principals = office.principals(failures=3)
    await principals.admit(f"Bearer {text}", address=ADDRESS)
    codes = [await refusal(principals, "Bearer skh_x") for _ in range(5)]

    assert codes == ["admin-token"] * 3 + ["admin-throttled"] * 2
    assert await principals.admit(f"Bearer {text}", address=ADDRESS)
    assert await refusal(principals, "Bearer skh_x", "10.0.0.2") == "admin-token"
    office.now += 60
    assert await refusal(principals, "Bearer skh_x") == "admin-token"


async def test_entra_brings_a_person_and_app_roles(office: Office) -> None:
    header = office.jwt(roles=["author", "operator", "Unknown"])

    actor = await office.principals().admit(header, address=ADDRESS)

    assert actor.name == f"entra:{TENANT}/{OBJECT}"
    assert actor.roles == {Role.AUTHOR, Role.OPERATOR}


async def test_a_user_of_entra_may_come_too(office: Office) -> None:
    """A delegated token has app roles as well."""
    header = office.jwt(scp="user_impersonation", idtyp="user")

    assert (await office.principals().admit(header, address=ADDRESS)).roles == {Role.AUTHOR}


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"audience": IDS["root"]}, "audience"),
        ({"aud": [AUDIENCE]}, "several-audiences"),
        ({"iss": f"https://sts.windows.net/{AUDIENCE}/"}, "issuer"),
        ({"tid": AUDIENCE}, "tenant-binding"),
        ({"lifetime": -301}, "expired"),
        ({"ver": None}, "version"),
        ({"appid": "AnonymousSkill"}, "anonymous-off"),
        ({"roles": "operator"}, "bad-claim"),
        ({"roles": [1]}, "bad-claim"),
        ({"oid": "me"}, "bad-claim"),
        ({"oid": None}, "bad-claim"),
    ],
)
async def test_a_token_of_entra_is_held_to_every_rule(
    office: Office, claims: dict[str, Any], code: str
) -> None:
    assert await refusal(office.principals(), office.jwt(**claims)) == code


async def test_a_forged_signature_is_refused(office: Office) -> None:
    """signature"""
    header = office.jwt()
    forged = header[:-8] + ("AAAAAAAA" if not header.endswith("AAAAAAAA") else "BBBBBBBB")

    assert await refusal(office.principals(), forged) == "signature"


async def test_entra_is_off_unless_settings_say_so(office: Office) -> None:
    assert await refusal(office.principals(entra=False), office.jwt()) == "admin-token"

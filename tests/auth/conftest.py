"""What most tests of the doors need: a clock, an issuer, lists, a verifier over them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from skills_host.auth.allowlist import AllowedSkill, Snapshot
from skills_host.auth.claims import Identity
from skills_host.auth.keys import SigningKeys
from skills_host.auth.verify import Door, Verifier
from tests.auth.issuer import BOT, CLOUD, HOME, OTHER_BOT, PARENT, SKILL, Clock, Issuer

ECHO = AllowedSkill("echo", SKILL, "https://echo.example/api/messages")


@dataclass
class Lists:
    """A `SnapshotSource` whose snapshot a test can replace."""

    snapshot: Snapshot

    def __call__(self) -> Snapshot:
        return self.snapshot


@dataclass
class World:
    """A verifier with everything it depends on."""

    clock: Clock
    issuer: Issuer
    lists: Lists
    keys: SigningKeys
    verifier: Verifier

    async def at_messages(self, token: str, *, bot: str = BOT) -> Identity:
        return await self.verifier.admit(f"Bearer {token}", door=Door.MESSAGES, bot_app_id=bot)

    async def at_skill_host(self, token: str, *, bot: str = BOT) -> Identity:
        return await self.verifier.admit(f"Bearer {token}", door=Door.SKILL_HOST, bot_app_id=bot)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def world(clock: Clock, issuer: Issuer) -> World:
    lists = Lists(Snapshot(1, {"echo": ECHO}, {BOT: frozenset({PARENT})}))
    keys = SigningKeys(issuer, now=clock)
    verifier = Verifier(
        cloud=CLOUD,
        bots={BOT: frozenset({HOME}), OTHER_BOT: frozenset()},
        keys=keys,
        snapshot=lists,
        now=clock,
        remember=4,
    )
    return World(clock, issuer, lists, keys, verifier)

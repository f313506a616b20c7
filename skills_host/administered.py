"""The REST API of a host, put together: who may come in, and what they administer."""

from __future__ import annotations

from quart import Blueprint

from skills_host.admin.idempotency import Repetitions
from skills_host.admin.principals import Principals
from skills_host.admin.tokens import AdminTokens
from skills_host.assembly import Shared
from skills_host.auth.keys import SigningKeys
from skills_host.registered import RegisteredSkills, published
from skills_host.web.admin.deeds import Administered
from skills_host.web.admin.door import AdminDoor
from skills_host.web.guard import Noted

__all__ = ["admin"]


def admin(
    shared: Shared, registered: RegisteredSkills, keys: SigningKeys, *, noted: Noted
) -> Blueprint:
    """The door of a host whose settings offer it."""
    settings, store, now = shared.settings, shared.store, shared.now
    door = AdminDoor(
        principals=Principals(
            AdminTokens(store, now=now, random=shared.random),
            keys=keys,
            cloud=settings.cloud,
            entra=settings.admin.entra,
            failures=settings.admin.failures,
            now=now,
        ),
        given=Administered(
            registered.registry,
            lambda: registered.now.snapshot,
            published=lambda: published(registered.registry, settings, now=now),
        ),
        repetitions=Repetitions(store, now=now),
        noted=noted,
        lab=shared.lab,
    )
    return door.blueprint()

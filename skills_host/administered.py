"""The REST API of a host, put together: who may come in, and what they administer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from quart import Blueprint

from skills_host.admin.idempotency import Repetitions
from skills_host.admin.principals import Principals
from skills_host.admin.tokens import AdminTokens
from skills_host.assembly import Shared
from skills_host.auth.keys import SigningKeys
from skills_host.auth.tokens import TokenSource
from skills_host.configured import configured_words
from skills_host.consumer.registry.records import HealthReport, Order
from skills_host.consumer.routing.explain import Question, explained
from skills_host.consumer.routing.grants import Asker
from skills_host.consumer.routing.reserved import ReservedWords
from skills_host.doctor.ping import binding_of, noted, pinged
from skills_host.errors import BadInput
from skills_host.registered import RegisteredSkills, published
from skills_host.web.admin.bodies import ExplainBody
from skills_host.web.admin.deeds import Administered
from skills_host.web.admin.door import AdminDoor
from skills_host.web.guard import Noted

__all__ = ["admin"]


def admin(
    shared: Shared,
    registered: RegisteredSkills,
    keys: SigningKeys,
    *,
    sources: Mapping[str, TokenSource],
    noted: Noted,
) -> Blueprint:
    """The door of a host whose settings offer it; `sources` give the tokens of its bots."""
    settings, store, now = shared.settings, shared.store, shared.now
    roots = [name for name, bot in settings.bots.items() if bot.kind == "root"]
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
            explain=_explain(shared, registered, roots) if roots else None,
            published=lambda: published(registered.registry, settings, now=now),
            ping=_ping(shared, registered, sources, roots[0]) if roots else None,
        ),
        repetitions=Repetitions(store, now=now),
        noted=noted,
        lab=shared.lab,
    )
    return door.blueprint()


def _explain(
    shared: Shared, registered: RegisteredSkills, roots: list[str]
) -> Callable[[ExplainBody], Awaitable[Mapping[str, Any]]]:
    words = ReservedWords().replaced(configured_words(shared.settings))

    async def explain(body: ExplainBody) -> Mapping[str, Any]:
        root = body.root or roots[0]
        if root not in roots:
            raise BadInput("root: no bot of this host that is a root", code="bad-body")
        users = frozenset(filter(None, [body.user]))
        asker = Asker(root, body.tenant.lower(), body.channel, users)
        question = Question(body.text, asker, body.locale, body.active)
        known = await registered.known.now()
        return (await explained(question, known, words)).as_dict()

    return explain


def _ping(
    shared: Shared, registered: RegisteredSkills, sources: Mapping[str, TokenSource], root: str
) -> Callable[[str, Order], Awaitable[HealthReport]]:
    settings, ledger = shared.settings, registered.registry.ledger

    async def ping(name: str, order: Order) -> HealthReport:
        binding = await binding_of(ledger, name)
        seen = await pinged(
            binding.url,
            app_id=binding.app_id,
            root_app_id=settings.bots[root].app_id,
            host_url=settings.host.public_url,
            source=sources[root],
            send=shared.send,
            new_id=shared.new_id(),
            now=shared.now(),
        )
        return await noted(ledger, name, seen)

    return ping

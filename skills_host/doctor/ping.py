"""How a skill is: sent the end of a conversation that never was, which every skill understands."""

from __future__ import annotations

from dataclasses import replace

from skills_host.auth.tokens import TokenSource
from skills_host.consumer.registry.catalogue import wanted_revision
from skills_host.consumer.registry.ledger import Ledger
from skills_host.consumer.registry.records import Binding, Health, HealthReport
from skills_host.errors import RegistryRefused, TokenUnavailable, TransportFailed
from skills_host.transport import Request, Send
from skills_host.wire import encode

__all__ = ["binding_of", "noted", "pinged"]

SECONDS = 10.0


async def pinged(
    endpoint: str,
    *,
    app_id: str,
    root_app_id: str,
    host_url: str,
    source: TokenSource,
    send: Send,
    new_id: str,
    now: float,
) -> HealthReport:
    """What the skill at an endpoint says to an end in the throw-away conversation `new_id`.

    Its answer is asked for in place, so that it calls nobody back.
    """
    seen = HealthReport(at=now)
    try:
        token = await source.token(app_id)
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json; charset=utf-8",
        }
        body = _end(app_id, root_app_id, host_url, new_id)
        answer = await send(Request("POST", endpoint, headers, body, SECONDS))
    except TokenUnavailable as exc:
        return replace(seen, note=f"{exc.code}: {exc}")
    except TransportFailed as exc:
        return replace(seen, health=Health.DOWN, note=f"{exc.code}: {exc}")
    if answer.ok:
        return replace(seen, health=Health.HEALTHY)
    if answer.status in (401, 403):
        note = f"it answers {answer.status}: its author has to allow the app id {root_app_id}"
        return replace(seen, health=Health.UNAUTHORIZED, note=note)
    return replace(seen, health=Health.DEGRADED, note=f"it answers {answer.status}")


async def binding_of(ledger: Ledger, name: str) -> Binding:
    """Where a skill of the registry is: by what runs, or else by what came last.

    Raises `NotRegistered`, and `RegistryRefused` where no revision says it.
    """
    record = await ledger.skill(name)
    digest = wanted_revision(record) or record.revisions[-1].digest
    binding = (await ledger.revision(name, digest)).binding
    if binding is None:
        raise RegistryRefused(f"{name} has no revision that says where it is")
    return binding


async def noted(ledger: Ledger, name: str, seen: HealthReport) -> HealthReport:
    """What was seen of a skill, kept beside what is known of its manifest's address."""
    before = await ledger.health(name)
    kept = replace(seen, source_at=before.source_at, source_note=before.source_note)
    await ledger.note_health(name, kept)
    return kept


def _end(app_id: str, root_app_id: str, host_url: str, new_id: str) -> bytes:
    return encode(
        {
            "type": "endOfConversation",
            "id": f"{new_id}-end",
            "channelId": "test",
            "serviceUrl": host_url,
            "conversation": {"id": new_id},
            "from": {"id": root_app_id, "role": "bot"},
            "recipient": {"id": app_id, "role": "skill"},
            "deliveryMode": "expectReplies",
            "code": "userCancelled",
        }
    )

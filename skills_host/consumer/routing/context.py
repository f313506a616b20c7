"""The context envelope: what a skill is told of why it got a message, as an entity of it. Pure.

Entities of an unknown type are kept or ignored by every SDK. A skill is told only what its
registration lists, which by default is nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from skills_host.activity import Activity
from skills_host.consumer.routing.decision import RouteDecision
from skills_host.routing_settings import ContextPart
from skills_host.wire import decode, decode_elements, encode

__all__ = ["CONTEXT", "with_context"]

CONTEXT = "urn:skills-host:context"
SUMMARY = 1000  # characters


def with_context(
    activity: Activity,
    decision: RouteDecision,
    parts: Collection[ContextPart],
    *,
    summary: str = "",
) -> Activity:
    """The activity with an envelope of these parts; as it is, if there is nothing to tell.

    Envelopes that came with it are taken out: a user's channel has nothing to say here.
    """
    is_claimed = any(entity.type == CONTEXT for entity in activity.entities)
    raw = activity.raw("entities")
    kept = decode_elements(raw) if raw else []
    if is_claimed:
        kept = [entity for entity in kept if decode(entity).get("type") != CONTEXT]
    told = _told(activity, decision, summary)
    members = {part.value: told[part] for part in ContextPart if part in parts and told[part]}
    if members:
        kept.append(encode({"type": CONTEXT, **members}))
    if not members and not is_claimed:
        return activity
    return activity.with_raw({"entities": b"[" + b",".join(kept) + b"]"})


def _told(activity: Activity, decision: RouteDecision, summary: str) -> dict[ContextPart, Any]:
    chosen = decision.chosen
    return {
        ContextPart.DECISION: decision.id,
        ContextPart.REASON: f"{decision.router or decision.policy}: {chosen.why}"
        if chosen is not None
        else decision.policy,
        ContextPart.LOCALE: activity.locale,
        ContextPart.SLOTS: dict(chosen.slots) if chosen is not None else {},
        ContextPart.SUMMARY: summary[:SUMMARY],
    }

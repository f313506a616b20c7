"""The context envelope: what a skill is told of why it got a message, as an entity of it. Pure.

Entities of an unknown type are kept or ignored by every SDK. A skill is told only what its
registration lists, which by default is nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from skills_host.activity import Activity
from skills_host.consumer.routing.decision import RouteDecision
from skills_host.routing_settings import ContextPart
from skills_host.wire import decode, decode_elements, encode

__all__ = ["CONTEXT", "with_context", "without_context"]

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
    bare = without_context(activity, activity)
    told = _told(activity, decision, summary)
    members = {part.value: told[part] for part in ContextPart if part in parts and told[part]}
    if not members:
        return bare
    return _with_entities(bare, [*_entities(bare), encode({"type": CONTEXT, **members})])


def without_context(activity: Activity, brought: Activity) -> Activity:
    """The activity without the envelopes that another one `brought`; as it is, if it has none."""
    if not any(entity.type == CONTEXT for entity in brought.entities):
        return activity
    gone = {raw for raw in _entities(brought) if decode(raw).get("type") == CONTEXT}
    kept = [raw for raw in _entities(activity) if raw not in gone]
    return _with_entities(activity, kept) if activity.raw("entities") else activity


def _entities(activity: Activity) -> list[bytes]:
    return decode_elements(activity.raw("entities") or b"[]")


def _with_entities(activity: Activity, entities: Iterable[bytes]) -> Activity:
    return activity.with_raw({"entities": b"[" + b",".join(entities) + b"]"})


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

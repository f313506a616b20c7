"""OAuth cards that skills send: where a root may step in for the user."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from skills_host.activity import Activity, Attachment
from skills_host.bot.turn import Turn

__all__ = ["OAUTH_CARD", "Intercept", "dealt_with", "oauth_card_of"]

log = logging.getLogger(__name__)

OAUTH_CARD = "application/vnd.microsoft.card.oauth"

Intercept = Callable[[Turn, Activity], Awaitable[bool]]
"""Gets a skill's activity with an OAuth card before the user does; True if it is dealt with."""


def oauth_card_of(activity: Activity) -> Attachment | None:
    """The first OAuth card among an activity's attachments."""
    cards = (card for card in activity.attachments if card.content_type == OAUTH_CARD)
    return next(cards, None)


async def dealt_with(
    intercept: Intercept | None, turn: Turn, activity: Activity, *, speaker: str
) -> bool:
    """True if a hook dealt with an OAuth card of a skill; one that fails has not."""
    if intercept is None or oauth_card_of(activity) is None:
        return False
    try:
        with turn.about(activity, speaker):
            return await intercept(turn, turn.activity)
    except Exception as exc:
        log.exception("the hook on OAuth cards failed: %s", type(exc).__name__)
        return False

"""OAuth cards that skills send: where a root may step in for the user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skills_host.activity import Activity, Attachment
from skills_host.bot.turn import Turn

__all__ = ["OAUTH_CARD", "Intercept", "oauth_card_of"]

OAUTH_CARD = "application/vnd.microsoft.card.oauth"

Intercept = Callable[[Turn, Activity], Awaitable[bool]]
"""Gets a skill's activity with an OAuth card before the user does; True if it is dealt with."""


def oauth_card_of(activity: Activity) -> Attachment | None:
    """The first OAuth card among an activity's attachments."""
    cards = (card for card in activity.attachments if card.content_type == OAUTH_CARD)
    return next(cards, None)

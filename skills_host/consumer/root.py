"""A root as its code sees it: what it says and hears itself, and its skills."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType

from skills_host.activity import Activity
from skills_host.bot.handlers import Bot
from skills_host.bot.turn import Turn, spoken
from skills_host.consumer.dialog import SkillDialogs
from skills_host.consumer.routing.chain import Router
from skills_host.consumer.routing.decision import RouteDecision
from skills_host.consumer.routing.reserved import Phrases, ReservedKind, ReservedWords
from skills_host.consumer.sso import Intercept
from skills_host.consumer.texts import RootTexts

__all__ = ["Observer", "Root", "Summary"]

WAYS_OUT = (ReservedKind.CANCEL, ReservedKind.START_OVER)

Summary = Callable[[Turn], Awaitable[str]]
"""What a skill is told of the conversation so far."""

Observer = Callable[[Turn, RouteDecision], Awaitable[None]]
"""Sees a decision before it is carried out; it cannot change it."""


class Root(Bot):
    """A bot that users talk to and that passes what they say to its skills.

    Its own `on_message("…")` handlers come before the skills, a plain `on_message` after them;
    `on_end` is called when a skill is done (`turn.speaker`, `turn.activity.value` and `.code`).
    `cancel` are the words that get a user out of a skill, in every language; `words` are reserved
    words by language and kind. Both replace those that are known; settings come before both.
    `router` is asked where neither rules nor examples decide, before a language model.
    """

    def __init__(
        self,
        *,
        cancel: Collection[str] | None = None,
        words: Mapping[str, Phrases] = MappingProxyType({}),
        texts: RootTexts | None = None,
        router: Router | None = None,
    ) -> None:
        super().__init__()
        self.texts = texts or RootTexts()
        self.words = ReservedWords(words, cancel=cancel)
        self.intercept: Intercept | None = None
        self.router = router
        self.observers: list[Observer] = []
        self.summary: Summary | None = None
        self._skills: SkillDialogs | None = None

    @property
    def skills(self) -> SkillDialogs:
        """The skills as dialogs, for the root's own code: begin, reprompt, cancel, replace."""
        if self._skills is None:
            raise TypeError("the root is not served yet")
        return self._skills

    def serve_with(self, skills: SkillDialogs) -> None:
        """Take the skills that the host gives this root when it opens."""
        self._skills = skills

    def on_oauth_card(self, intercept: Intercept) -> Intercept:
        """See each OAuth card of a skill before the user does; True keeps it from the user."""
        self.intercept = intercept
        return intercept

    def on_route(self, observer: Observer) -> Observer:
        """See each decision about what skill an activity is for, but those that were never open:
        a skill that nothing may interrupt keeps the floor without one."""
        self.observers.append(observer)
        return observer

    def on_summary(self, summary: Summary) -> Summary:
        """Give the text that skills are told of the conversation, if their context allows it."""
        self.summary = summary
        return summary

    def listen_for(self, words: Mapping[str, Phrases]) -> None:
        """Take the reserved words of the host's settings."""
        self.words = self.words.replaced(words)

    def overtakes(self, activity: Activity) -> bool:
        """True for what must not wait for an open turn: words that cancel, and ends. Pure."""
        if activity.type == "message":
            heard = self.words.heard(spoken(activity), activity.locale)
            return heard is not None and heard.kind in WAYS_OUT
        return super().overtakes(activity)

"""What routing knows of the skills of one snapshot, made once and swapped without a pause."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.examples import Example, ExampleIndex, examples_of
from skills_host.consumer.routing.route import Known, Nearest
from skills_host.consumer.routing.rules import RuleIndex
from skills_host.consumer.routing.trained import trained
from skills_host.routing_settings import RoutingSettings

__all__ = ["KnownSkills", "nearest"]

log = logging.getLogger(__name__)

# What takes longer than a turn may is made in a thread.
FEW_SKILLS = 200
FEW_EXAMPLES = 500


class KnownSkills:
    """What decisions are made from, for whatever skills there are at the moment.

    `skills` gives the same mapping for as long as nothing has changed. New names and phrases count
    at once; where a new index of examples takes long, the old one decides meanwhile, and never for
    a skill that is gone.
    """

    def __init__(
        self, skills: Callable[[], Mapping[str, Skill]], settings: RoutingSettings
    ) -> None:
        self._skills = skills
        self._settings = settings
        self._known: Known | None = None
        self._making: asyncio.Task[None] | None = None
        self._training: asyncio.Task[None] | None = None
        self._examples: list[Example] = []

    async def now(self) -> Known:
        """What is known of the skills of this instant."""
        while True:
            skills = self._skills()
            if self._known is not None and self._known.skills is skills:
                return self._known
            if self._making is None:
                self._making = asyncio.create_task(self._make(skills))
            # Whoever waits no longer does not stop it for the others.
            await asyncio.shield(self._making)

    async def look(self) -> None:
        """Take up what has changed before the next message needs it."""
        await self.now()

    async def close(self) -> None:
        """Give up what is being made."""
        for task in filter(None, (self._making, self._training)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _make(self, skills: Mapping[str, Skill]) -> None:
        try:
            self._known = await self._compiled(skills)
        finally:
            # Here and not when the task is done: nobody may find one that is, and wait for nothing.
            self._making = None

    async def _compiled(self, skills: Mapping[str, Skill]) -> Known:
        if len(skills) <= FEW_SKILLS and not any(one.languages for one in skills.values()):
            rules, examples = RuleIndex(skills), examples_of(skills)
        else:
            rules = await asyncio.to_thread(RuleIndex, skills)
            examples = await asyncio.to_thread(examples_of, skills)
        index = self._known.examples if self._known is not None else None
        if examples != self._examples:
            self._examples = examples
            engine = self._settings.examples.engine
            if len(examples) <= FEW_EXAMPLES:
                index = nearest(examples, engine=engine)
            elif index is None:
                index = await asyncio.to_thread(nearest, examples, engine=engine)
            else:
                self._train(examples)
        settings = self._settings
        return Known(skills, rules, index, settings.examples.bars(), settings.fallback)

    def _train(self, examples: list[Example]) -> None:
        if self._training is not None:
            self._training.cancel()
        self._training = asyncio.create_task(self._trained(examples))

    async def _trained(self, examples: list[Example]) -> None:
        try:
            index = await asyncio.to_thread(
                nearest, examples, engine=self._settings.examples.engine
            )
        except Exception:
            log.exception("examples could not be compared; those known before still decide")
            return
        if examples is self._examples and self._known is not None:
            known = self._known
            self._known = Known(known.skills, known.rules, index, known.policy, known.fallback)


def nearest(examples: list[Example], *, engine: str) -> Nearest | None:
    """What finds the nearest examples; None if there are none. Raises `SettingsError`."""
    if not examples:
        return None
    return trained(examples) if engine == "sklearn" else ExampleIndex(examples)

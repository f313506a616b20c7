"""Multi-turn steps: a form that is filled by asking, stored by name, so that it survives a restart.

What is stored is data only: the dialog's name, the step's name and the answers so far.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from skills_host.bot.turn import Turn

__all__ = ["PROPERTY", "Accept", "Answers", "Ask", "Dialog", "Retry", "Step"]

PROPERTY = "dialog"
"""The property of a session's state that holds the dialog it is in."""

Answers = Mapping[str, Any]
"""What the user said so far, by step name: JSON values."""

Accept = Callable[[str], Any]
"""Turns what the user said into the step's JSON value, or raises `Retry`."""

Ask = str | Callable[[Answers], str]
"""The question of a step: text, or made from the answers so far."""


class Retry(Exception):
    """The answer cannot be used; the text says why, and the step is asked again."""


@dataclass(frozen=True, slots=True)
class Step:
    """One question: its name, what is asked, and what is accepted as an answer."""

    name: str
    ask: Ask
    accept: Accept = str

    def question(self, answers: Answers) -> str:
        """What to ask, given the answers so far."""
        return self.ask if isinstance(self.ask, str) else self.ask(answers)


class Dialog:
    """A named sequence of steps and what to do when all are answered.

    `finish(turn, answers)` runs once, in the turn of the last answer. Steps that `begin` was
    given a usable answer for are not asked.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Step],
        *,
        finish: Callable[[Turn, dict[str, Any]], Awaitable[None]],
    ) -> None:
        if len({step.name for step in steps}) != len(steps) or not steps:
            raise TypeError("a dialog has steps with different names")
        self.name = name
        self._steps = {step.name: step for step in steps}
        self._finish = finish

    async def begin(self, turn: Turn, given: Answers = MappingProxyType({})) -> None:
        """Ask the first question that `given` does not answer; unusable answers are asked again."""
        answers = self.accepted(given)
        await self._go_on(turn, answers)

    async def take(self, turn: Turn) -> None:
        """Take the turn's text as the answer to the open question."""
        stored = await turn.state.get(PROPERTY)
        answers = dict(stored["answers"])
        # A step that a newer version no longer has was not answered by these words.
        step = self._steps.get(stored["step"])
        if step is not None:
            try:
                answers[step.name] = step.accept(turn.text)
            except Retry as retry:
                await turn.send(str(retry))
                return
        await self._go_on(turn, answers)

    async def reprompt(self, turn: Turn) -> None:
        """Ask the open question again."""
        stored = await turn.state.get(PROPERTY)
        step = self._open(stored["answers"])
        if step is not None:
            await turn.send(step.question(stored["answers"]))

    def accepted(self, given: Answers) -> dict[str, Any]:
        """The usable ones of given answers, as values; unknown names are ignored. Pure."""
        answers = {}
        for name, step in self._steps.items():
            try:
                if given.get(name) is not None:
                    answers[name] = step.accept(str(given[name]))
            except Retry:
                continue
        return answers

    def _open(self, answers: Answers) -> Step | None:
        unanswered = (step for name, step in self._steps.items() if name not in answers)
        return next(unanswered, None)

    async def _go_on(self, turn: Turn, answers: dict[str, Any]) -> None:
        step = self._open(answers)
        if step is None:
            turn.state.delete(PROPERTY)
            await self._finish(turn, answers)
            return
        turn.state.set(PROPERTY, {"name": self.name, "step": step.name, "answers": answers})
        await turn.send(step.question(answers))

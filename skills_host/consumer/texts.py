"""What a root says by itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from skills_host.consumer.registry.compile import Skill
from skills_host.settings import SkillTexts

__all__ = ["WITHDRAWN", "RootTexts", "ended_text", "filled", "introduced"]


WITHDRAWN = "skillWithdrawn"
"""The code of an end that is made because the skill may not be used any more."""


@dataclass(frozen=True, slots=True)
class RootTexts:
    """The root's own words. `{title}`, `{skills}` and `{choices}` are filled in."""

    greeting: str = "Hello! {skills}"
    help: str = "{skills} Say “cancel” to leave a skill."
    unknown: str = "I did not understand that. {skills}"
    list: str = "{skills}"
    ambiguous: str = "Which one do you mean: {choices}?"
    none_of_these: str = "None of these"
    rephrase: str = "Please say it in other words. {skills}"
    switch: str = "Where do you want to go on: {choices}?"
    no_skills: str = "There is no skill here yet."
    cancelled: str = "{title} was cancelled."
    nothing_to_cancel: str = "There is nothing to cancel."
    unavailable: str = "{title} is not available right now. Please try again later."
    timed_out: str = "{title} has ended, because nothing has happened for a long time."
    looped: str = "I cannot pass you on to {title}: we would go round in circles."
    interrupted: str = "I lost my thread with {title}. Please begin again."


def filled(text: str, **values: str) -> str:
    """A text with each `{name}` replaced by its value; other braces stay."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def ended_text(texts: RootTexts, skill: Skill | None, code: str) -> str:
    """What a user is told of an end that the host made, with the text of the skill, if known."""
    own = SkillTexts() if skill is None else skill.texts
    if code == WITHDRAWN:
        return own.unavailable or texts.unavailable
    return own.timed_out or texts.timed_out


def introduced(skills: Collection[Skill], *, nobody: str) -> str:
    """The skills in one sentence, each with what to say for it; `nobody` if there are none."""
    if not skills:
        return nobody
    return "I can pass you on to: " + "; ".join(map(_introduced, skills)) + "."


def _introduced(skill: Skill) -> str:
    what = f" ({skill.description.rstrip('.')})" if skill.description else ""
    say = " or ".join(f"“{words}”" for words in (skill.name, *skill.phrases)[:3])
    return f"{skill.title}{what}, say {say}"

"""What settings say about routing: what a skill is found by, and who may be routed to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, field_validator

from skills_host.clouds import Address, Model, canonical_app_id

__all__ = [
    "BARS",
    "Bars",
    "Checks",
    "ContextPart",
    "Examples",
    "ExamplesSettings",
    "Grant",
    "Help",
    "Interruption",
    "ModelSettings",
    "RoutingSettings",
    "SkillRouting",
    "WordSettings",
]

# What a person writes by hand is far below; what would make a registration heavy is above.
MOST_WORDS = 1000
MOST_PATTERNS = 100
MOST_EXAMPLES = 20_000
ANY_LOCALE = ""


class Interruption(StrEnum):
    """Whether other words than a skill's own may take the floor from it: never, after asking the
    user, or at once."""

    NEVER = "never"
    ASK = "ask"
    AUTO = "auto"


class Help(StrEnum):
    """Who answers a user that asks for help while a skill has the floor."""

    SKILL = "skill"
    ROOT = "root"


class ContextPart(StrEnum):
    """What of a routing decision a skill may be told."""

    DECISION = "decision"
    REASON = "reason"
    LOCALE = "locale"
    SLOTS = "slots"
    SUMMARY = "summary"


def _tenant(value: object) -> str:
    return canonical_app_id(value)


def _by_locale(value: object) -> object:
    """Examples in any language may be a plain list."""
    return {ANY_LOCALE: value} if isinstance(value, list | tuple) else value


Tenant = Annotated[str, BeforeValidator(_tenant)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=500)]
PatternText = Annotated[str, StringConstraints(min_length=1, max_length=500)]
WordList = Annotated[tuple[Words, ...], Field(max_length=MOST_PATTERNS)]
Alias = Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,64}$")]
Examples = Annotated[
    Mapping[str, Annotated[tuple[Words, ...], Field(max_length=MOST_EXAMPLES)]],
    BeforeValidator(_by_locale),
]
"""Utterances by locale; those under the empty one count in all."""
LocaleTag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Grant(Model):
    """Who may be routed to a skill: each list that is not empty must name the one who asks.

    `roots` are names of this host's bots, `tenants` those of the conversation, `channels` channel
    ids, `users` ids or Entra object ids of users.
    """

    roots: tuple[str, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    channels: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


class Checks(StrEnum):
    """Whether values to and from a skill are held against the schemas in its manifest."""

    OFF = "off"
    WARN = "warn"
    ENFORCE = "enforce"


class SkillRouting(Model):
    """What users reach a skill by, and what it may do while it has the floor.

    `aliases` address it (`@alias`), `phrases` are said anywhere in a message, `patterns` are RE2
    expressions found anywhere in it in any case, `examples` what users say for it, `example_files`
    `.lu` files or texts with one example a line. `grants` are alternatives; none means everyone.
    `accepts` lists what it takes beside messages (`event/NAME`, `invoke/NAME`, or a type); None
    means anything. `context` is what it is told of the decision, `max_turns` how many messages it
    may keep the floor for. `fan_out` says that asking it among others has no side effects,
    `suspend` that it waits where the user goes to another, and asks again after that.
    `schemas` says what becomes of values that do not fit what its manifest declares.
    """

    aliases: tuple[Alias, ...] = Field(default=(), max_length=MOST_PATTERNS)
    phrases: tuple[str, ...] = Field(default=(), max_length=MOST_WORDS)
    patterns: tuple[PatternText, ...] = Field(default=(), max_length=MOST_PATTERNS)
    examples: Examples = Field(default_factory=dict)
    example_files: tuple[str, ...] = Field(default=(), max_length=MOST_PATTERNS)
    interruption: Interruption = Interruption.NEVER
    help: Help = Help.SKILL
    max_turns: Annotated[int, Field(ge=1)] | None = None
    context: tuple[ContextPart, ...] = ()
    grants: tuple[Grant, ...] = ()
    accepts: tuple[str, ...] | None = None
    fan_out: bool = False
    suspend: bool = False
    schemas: Checks = Checks.WARN


@dataclass(frozen=True, slots=True)
class Bars:
    """What candidates have to pass: the best skill needs a score of `threshold` and a `margin`
    before the next one; to take the floor from a skill that has it, `switch` and twice the margin.
    """

    threshold: float
    margin: float
    switch: float


# Each engine has scores of its own kind; `scripts/bench examples` shows what becomes of these.
BARS: Mapping[str, Bars] = {
    "builtin": Bars(0.5, 0.05, 0.7),
    "sklearn": Bars(0.6, 0.1, 0.8),
    "own": Bars(0.3, 0.1, 0.6),
}
"""What candidates have to pass without a setting, by engine; `own` is for a root's own router."""


class ExamplesSettings(Model):
    """`[routing.examples]`: when the nearest examples decide; `engine` is what compares them.

    `threshold`, `margin` and `switch` are as in `Bars`; None stands for the engine's own.
    """

    engine: Annotated[str, StringConstraints(pattern=r"^(builtin|sklearn)$")] = "builtin"
    threshold: Share | None = None
    margin: Share | None = None
    switch: Share | None = None

    def bars(self, of: str = "") -> Bars:
        """What candidates of the engine have to pass, or those of another name in `BARS`."""
        usual = BARS[of or self.engine]
        return Bars(
            usual.threshold if self.threshold is None else self.threshold,
            usual.margin if self.margin is None else self.margin,
            usual.switch if self.switch is None else self.switch,
        )


class ModelSettings(Model):
    """`[routing.model]`: a language model at an OpenAI-compatible address (`…/v1`).

    It is asked only where rules and examples have not decided, and answers within `seconds`.
    """

    url: Address
    model: str
    secret: SecretStr | None = None
    seconds: Annotated[float, Field(gt=0, le=30)] = 3.0
    threshold: Share = 0.6
    candidates: Annotated[int, Field(ge=2, le=100)] = 30

    @field_validator("url")
    @classmethod
    def _without_slash(cls, url: str) -> str:
        return url.rstrip("/")


class WordSettings(Model):
    """`[routing.words.LOCALE]`: what users say to the root itself in one language.

    What is given replaces the words that are known for it without a setting; `[]` is none. In
    `switch`, `{skill}` stands for the name of the skill to switch to.
    """

    cancel: WordList | None = None
    start_over: WordList | None = None
    help: WordList | None = None
    list: WordList | None = None
    switch: WordList | None = None

    @field_validator("switch")
    @classmethod
    def _with_name(cls, switch: WordList | None) -> WordList | None:
        for phrase in switch or ():
            if "{skill}" not in phrase or not phrase.replace("{skill}", "").strip():
                raise ValueError("each phrase needs words and {skill}")
        return switch


class RoutingSettings(Model):
    """`[routing]`: how the roots of this host find the skill that a message is for.

    `fallback` names the skill that gets what nothing else claims. `log_text` puts users' words
    into the log of decisions; without it only their length.
    """

    fallback: str = ""
    log_text: bool = False
    words: Mapping[LocaleTag, WordSettings] = Field(default_factory=dict)
    examples: ExamplesSettings = ExamplesSettings()
    model: ModelSettings | None = None

"""Route decisions to be timed: a user's message among five skills, and each way that it can go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.chain import decide
from skills_host.consumer.routing.known import KnownSkills
from skills_host.consumer.routing.reserved import ReservedWords
from skills_host.consumer.routing.route import RouteRequest
from skills_host.consumer.session import ActiveSkill, Session
from skills_host.routing_settings import RoutingSettings

__all__ = ["decisions"]

APP_ID = "b0000000-0000-4000-8000-000000000001"
OFFERED = {
    "weather": ("what is the weather like", "will it rain tomorrow", "do I need an umbrella"),
    "travel": ("book a flight to Rome", "I need a hotel room", "how do I get to the airport"),
    "banking": ("how much is on my account", "transfer money to my landlord", "block my card"),
    "holidays": ("I would like a day off", "how many days of leave are left", "I am ill today"),
    "food": ("order a pizza", "what is for lunch", "book a table for two"),
}
FLOOR = Session(active=ActiveSkill("travel", "x" * 59, 0.0))
# Way → what is said, into which session, and the skill that it is for.
SAID = {
    "to who has the floor": ("and what about the day after that", FLOOR, "travel"),
    "by a phrase": ("could you ask banking for me please", Session(), "banking"),
    "by an example": ("will it rain on sunday", Session(), "weather"),
    "to nobody": ("the quick brown fox jumps over the lazy dog", Session(), None),
}


async def decisions() -> dict[str, Callable[[], Awaitable[object]]]:
    """One decision by the way that it goes, reserved words looked for first, as in a turn.

    Raises `RuntimeError` if one goes another way.
    """
    skills = {
        name: Skill(name, name, APP_ID, "https://s.example/", phrases=(name,), examples={"": said})
        for name, said in OFFERED.items()
    }
    known, words = KnownSkills(lambda: skills, RoutingSettings()), ReservedWords()

    async def decided(text: str, session: Session) -> str | None:
        heard = words.heard(text, "en-US")
        request = RouteRequest(text, locale="en-US", reserved=heard, session=session)
        return (await decide(request, await known.now())).skill

    for text, session, skill in SAID.values():
        if (found := await decided(text, session)) != skill:
            raise RuntimeError(f"{text!r} goes to {found}, not to {skill}")
    return {way: partial(decided, text, session) for way, (text, session, _) in SAID.items()}

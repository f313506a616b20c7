"""What is given for one skill, and goes to another."""

from __future__ import annotations

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.overlaps import overlaps
from skills_host.routing_settings import ExamplesSettings

POLICY = ExamplesSettings()


def skill(name: str, *examples: str, phrases: tuple[str, ...] = ()) -> Skill:
    return Skill(
        name, name, "", f"https://{name}.example", phrases=phrases, examples={"": examples}
    )


CALENDAR = skill("calendar", "put a meeting into my calendar", "which meetings do I have")
WEATHER = skill("weather", "will it rain tomorrow", "how warm will it be tomorrow")


def by_name(*skills: Skill) -> dict[str, Skill]:
    return {one.name: one for one in skills}


def test_skills_with_words_of_their_own_do_not_overlap() -> None:
    assert overlaps(by_name(CALENDAR, WEATHER), policy=POLICY) == ()


def test_an_example_with_a_phrase_of_another_skill_goes_to_it() -> None:
    trips = skill("trips", phrases=("rain tomorrow",))
    (found,) = overlaps(by_name(trips, WEATHER), policy=POLICY)

    assert (found.skill, found.to, found.asks) == ("weather", "trips", False)
    assert (found.texts, found.total) == (("will it rain tomorrow",), 2)
    assert str(found) == "weather: 1 of 2 phrases and examples route to trips"


def test_examples_that_are_nearer_to_another_skill_go_to_it() -> None:
    office = skill("office", "put a meeting into the calendar", "a printer is out of paper")
    (found, *_) = overlaps(by_name(CALENDAR, office), policy=POLICY, of=["office"])

    assert (found.to, found.texts) == ("calendar", ("put a meeting into the calendar",))


def test_the_same_phrase_of_two_is_asked_about() -> None:
    one, two = (skill(name, phrases=("go",)) for name in ("one", "two"))
    found = overlaps(by_name(one, two), policy=POLICY)

    assert [(row.skill, row.to, row.asks) for row in found] == [
        ("one", "two", True),
        ("two", "one", True),
    ]


def test_only_the_skills_that_are_asked_for_are_looked_at() -> None:
    one, two = (skill(name, phrases=("go",)) for name in ("one", "two"))

    assert [row.skill for row in overlaps(by_name(one, two), policy=POLICY, of=["two"])] == ["two"]

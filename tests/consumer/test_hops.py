"""Chains of bots end: in circles, and where too many bots have passed an activity on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host import Activity, Root, Turn
from skills_host.consumer.conversations import Conversations
from skills_host.consumer.hops import CallLoop, Trails, baggage_of, hops_in
from skills_host.store.seal import HostKey, Keys
from skills_host.transport import Request, Response
from skills_host.wire import encode
from tests.consumer.chains import ADDRESSES, start_link
from tests.consumer.roots import Witness
from tests.consumer.test_chains import DELIVERIES, Last
from tests.world import IDS, Town, bot_settings

KEYS = Keys((HostKey(b"k" * 32),))
LOOPED = "I cannot pass you on to booking: we would go round in circles."


def trails(keys: Keys = KEYS, *, of: str = "root", most: int = 8) -> Trails:
    return Trails(keys, IDS[of], most, Conversations.__new__(Conversations))


# Pure


def test_the_way_back_is_a_circle() -> None:
    hops = trails(of="booking").longer(trails().longer((), IDS["booking"]), IDS["root"])

    with pytest.raises(CallLoop) as caught:
        trails().check(hops, IDS["booking"])
    assert (caught.value.code, caught.value.status) == ("call-loop", 508)


def test_another_skill_on_the_way_back_is_none() -> None:
    """A bot may well be called back by its skill, if it goes elsewhere then."""
    hops = trails(of="booking").longer(trails().longer((), IDS["booking"]), IDS["root"])

    trails().check(hops, IDS["echo"])


def test_as_many_hops_as_the_limit_says() -> None:
    trails(most=2).check(("a",), IDS["echo"])

    with pytest.raises(CallLoop) as caught:
        trails(most=2).check(("a", "b"), IDS["echo"])
    assert (caught.value.code, caught.value.status) == ("too-many-hops", 508)


def test_hops_of_an_older_key_are_known() -> None:
    hops = trails().longer((), IDS["echo"])
    rotated = Keys((HostKey(b"n" * 32), *KEYS.all))

    with pytest.raises(CallLoop):
        trails(rotated).check(hops, IDS["echo"])


def test_a_hop_says_nothing_to_others() -> None:
    (hop,) = trails().longer((), IDS["echo"])

    assert not {IDS["root"], IDS["echo"]} & {hop}
    assert trails(Keys((HostKey(b"n" * 32),))).longer((), IDS["echo"]) != (hop,)


@given(st.lists(st.from_regex(r"[A-Za-z0-9_-]{12}", fullmatch=True), min_size=1, max_size=64))
def test_a_trail_is_read_as_it_was_written(hops: list[str]) -> None:
    """Also among the members that others add."""
    written = baggage_of(tuple(hops))

    assert hops_in(written) == hops_in(f"a=1;b, {written} ,c=2") == tuple(hops)
    assert hops_in(f"{written};p=1") == tuple(hops)


@pytest.mark.parametrize(
    "baggage",
    [
        *[None, "", "skills-host-hops", "skills-host-hops=", "xskills-host-hops=a", "a=b"],
        *["skills-host-hops=a b", "skills-host-hops=ä", f"skills-host-hops={'a' * 900}"],
    ],
)
def test_other_baggage_is_no_trail(baggage: str | None) -> None:
    assert hops_in(baggage) == ()


@given(st.text())
def test_any_baggage_is_read(baggage: str) -> None:
    assert len(hops_in(baggage)) <= 64


# Circles of bots


async def circle(
    town: Town, *names: str, root: Root | None = None, **settings: Any
) -> dict[str, Root]:
    """Roots that each have the next one as a skill, and the last one the first."""
    bots = {name: Root() for name in names} | ({names[0]: root} if root else {})
    for name, skill, caller in zip(
        names, [*names[1:], names[0]], [names[-1], *names[:-1]], strict=True
    ):
        await start_link(
            town, name, bots[name], callers=(caller,), skills=(skill,), settings=settings
        )
    return bots


def forgetful(town: Town, *names: str) -> None:
    """Bots of SDKs that are not traced: what they pass on has no trail."""
    bases = tuple(ADDRESSES[name] for name in names)

    def without(request: Request) -> Any:
        is_passed_on = request.headers.get("x-ms-conversation-id") and "baggage" in request.headers
        if not is_passed_on:
            return None
        headers = {k: v for k, v in request.headers.items() if k != "baggage"}
        base = next(base for base in bases if request.url.startswith(base))
        return town.send._served(town.send.apps[base], replace(request, headers=headers))

    for base in bases:
        town.send.faults[base] = without


@pytest.mark.parametrize("settings", DELIVERIES)
@pytest.mark.parametrize("is_forgetful", [False, True])
@pytest.mark.parametrize("names", [("root", "booking"), ("root", "booking", "echo")])
async def test_circle_is_left_and_the_user_told(
    empty_town: Town, names: tuple[str, ...], is_forgetful: bool, settings: dict[str, str]
) -> None:
    """Whether or not the bots in it pass the trail on; nobody is left with the floor."""
    root = Witness()
    await circle(empty_town, *names, root=root, **settings)
    if is_forgetful:
        forgetful(empty_town, *names)
    said = await empty_town.say("go")
    await empty_town.quiet()

    assert said == [LOOPED]
    assert {code for _, code, _ in root.ends} == {"callLoop"}
    assert "did not understand" in (await empty_town.say("hello"))[0]
    assert await empty_town.say("go") == [LOOPED]


async def test_circle_is_known_by_where_the_caller_was_called(empty_town: Town) -> None:
    """Whatever it makes of the activity; it drops the trail too."""
    middle = Root()

    @middle.on_message("go")
    async def back(turn: Turn) -> None:
        await middle.skills.begin(turn, "root", turn.activity.with_(text="go on", id="x"))

    await start_link(empty_town, "root", Root(), callers=("booking",), skills=("booking",))
    await start_link(empty_town, "booking", middle, callers=("root",), skills=("root",))
    forgetful(empty_town, "root", "booking")

    assert await empty_town.say("go") == [LOOPED]


async def test_invoke_in_a_circle_is_answered(empty_town: Town) -> None:
    """By code of a bot that passes on what its caller wants."""
    bots = await circle(empty_town, "root", "booking")

    @bots["root"].on_invoke("ask")
    async def ask(turn: Turn) -> None:
        await bots["root"].skills.begin(turn, "booking")

    @bots["booking"].on_invoke("ask")
    async def ask_back(turn: Turn) -> None:
        await bots["booking"].skills.begin(turn, "root")

    answer = await empty_town.post("", type="invoke", name="ask")

    assert answer.status == 508
    assert empty_town.said() == [LOOPED]


# What is posted beside the floor


ASK = {"accepts": ["invoke/ask"]}
TOGETHER = {"fan_out": True}


async def test_invoke_aside_in_a_circle_is_refused(empty_town: Town) -> None:
    """No skill has the floor, and none has it afterwards."""
    root = Witness()
    await circle(empty_town, "root", "booking", root=root, **ASK)
    answer = await empty_town.post("", type="invoke", name="ask")
    await empty_town.quiet()

    assert (answer.status, empty_town.said()) == (508, [LOOPED])
    assert {code for _, code, _ in root.ends} == {"callLoop"}
    assert "did not understand" in (await empty_town.say("hello"))[0]


async def test_invoke_aside_by_too_many_hops_is_refused(empty_town: Town) -> None:
    limits = {"limits": {"hops": 1}}
    await start_link(empty_town, "root", Root(), skills=("booking",), settings=ASK, host=limits)
    await start_link(
        empty_town,
        "booking",
        Root(),
        callers=("root",),
        skills=("echo",),
        settings=ASK,
        host=limits,
    )
    await start_link(empty_town, "echo", Last(), callers=("booking",))
    answer = await empty_town.post("", type="invoke", name="ask")

    assert answer.status == 508
    assert empty_town.said() == ["I cannot pass you on to echo: we would go round in circles."]


async def test_refusal_aside_leaves_the_floor_alone(empty_town: Town) -> None:
    """Where the bot that refuses is a skill itself, its own caller goes on with it."""
    root, base = Witness(), ADDRESSES["booking"]
    await start_link(empty_town, "root", root, skills=("booking",))
    accepted: dict[str, list[str]] = {"echo": [], "stranger": ["event/ping"]}
    skills = {
        name: {
            "endpoint": f"{ADDRESSES[name]}/api/messages",
            "app_id": IDS[name],
            "accepts": accepts,
        }
        for name, accepts in accepted.items()
    }
    bots = {"booking": bot_settings("root", "booking", allowed_callers=[IDS["root"]])}
    toml = {"host": {"limits": {"hops": 2}}, "bots": bots, "skills": skills}
    app = await empty_town.start(base, "booking", toml, {"booking": Root()})
    await start_link(empty_town, "echo", Last(), callers=("booking",))

    def from_afar(request: Request) -> Any:
        if Activity.parse(request.body or b"").type != "event":
            return None
        headers = {**request.headers, "baggage": baggage_of(("a" * 12, "b" * 12))}
        return empty_town.send._served(app, replace(request, headers=headers))

    empty_town.send.faults[base] = from_afar
    await empty_town.say("@booking echo")
    await empty_town.post("", type="event", name="ping")

    assert empty_town.said()[-1].startswith("I cannot pass you on to stranger")
    assert root.ends == []
    assert await empty_town.say("on") == ["heard message on"]


async def test_skills_asked_together_in_a_circle_are_refused(empty_town: Town) -> None:
    """The trail goes with what several are asked; whoever is no part of the circle answers."""
    root = Witness()
    skills = ("booking", "echo")
    await start_link(
        empty_town, "root", root, callers=("booking",), skills=skills, settings=TOGETHER
    )
    await start_link(empty_town, "booking", Root(), callers=("root",), skills=("root",))
    await start_link(empty_town, "echo", Last(), callers=("root",))
    said = await empty_town.say("go")
    asked = [r for r in empty_town.send.sent if r.url.startswith(ADDRESSES["echo"])]

    assert said == [LOOPED, "heard message go"]
    assert [len(hops_in(request.headers.get("baggage"))) for request in asked] == [1]
    assert await empty_town.say("on") == ["heard message on"]


async def test_skill_that_would_be_a_circle_is_left_out_among_others(empty_town: Town) -> None:
    """root → booking → root → booking and echo: only echo is asked."""
    skills = ("booking", "echo")
    await start_link(
        empty_town, "root", Root(), callers=("booking",), skills=skills, settings=TOGETHER
    )
    await start_link(empty_town, "booking", Root(), callers=("root",), skills=("root",))
    await start_link(empty_town, "echo", Last(), callers=("root",))

    assert await empty_town.say("@booking go") == ["heard message go"]


async def test_skills_asked_together_by_too_many_hops_are_refused(empty_town: Town) -> None:
    root, limits = Witness(), {"limits": {"hops": 1}}
    await start_link(empty_town, "root", root, skills=("booking",), host=limits)
    await start_link(
        empty_town,
        "booking",
        Root(),
        callers=("root",),
        skills=("echo", "stranger"),
        settings=TOGETHER,
        host=limits,
    )
    said = await empty_town.say("go")

    assert said == ["I cannot pass you on to echo: we would go round in circles."]
    assert root.ends == [("booking", "tooManyHops", None)]
    assert "did not understand" in (await empty_town.say("hello"))[0]


async def test_bot_may_call_itself_back_for_something_else(empty_town: Town) -> None:
    """root → booking → root → echo is no circle."""
    await start_link(empty_town, "root", Root(), callers=("booking",), skills=("booking", "echo"))
    middle = Root()

    @middle.on_message("go")
    async def back(turn: Turn) -> None:
        await middle.skills.begin(turn, "root", turn.activity.with_(text="echo", id="x"))

    await start_link(empty_town, "booking", middle, callers=("root",), skills=("root",))
    await start_link(empty_town, "echo", Last(), callers=("root",))
    await empty_town.say("booking")

    assert await empty_town.say("go") == ["heard message echo"]


async def test_too_many_hops_are_refused(empty_town: Town) -> None:
    names = ("root", "booking", "stranger", "echo")
    bots = [Witness(), Root(), Root(), Last()]
    for n, name in enumerate(names):
        await start_link(
            empty_town,
            name,
            bots[n],
            callers=names[n - 1 : n] if n else (),
            skills=names[n + 1 : n + 2],
            host={"limits": {"hops": 2}},
        )
    said = await empty_town.say("go")

    assert said == ["I cannot pass you on to echo: we would go round in circles."]
    assert bots[0].ends == [("booking", "tooManyHops", None)]  # type: ignore[attr-defined]
    assert "did not understand" in (await empty_town.say("hello"))[0]


async def test_trail_is_told_to_skills_and_believed_of_bots_only(empty_town: Town) -> None:
    """A user's channel says nothing about bots; what it says in the header counts for nothing."""
    await start_link(empty_town, "root", Root(), skills=("echo",))
    await start_link(empty_town, "echo", Last(), callers=("root",))
    await empty_town.say("go")
    sent = [request for request in empty_town.send.sent if "baggage" in request.headers]
    (trail,) = {hops_in(request.headers["baggage"]) for request in sent}
    headers = empty_town.channel_bearer() | {"baggage": baggage_of(trail)}
    body = empty_town.console.activity("go", user="ann", conversation="c1")
    answer: Response = await empty_town.send(
        Request("POST", f"{ADDRESSES['root']}/api/messages", headers, encode(body), 20)
    )

    assert len(trail) == 1
    assert answer.status == 200
    assert empty_town.said()[-1] == "heard message go"

"""Everybody who may not come in, each for one reason; and nothing is delivered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from skills_host.auth.denials import DENIALS
from skills_host.errors import CODES
from tests.conftest import open_town
from tests.world import CONSOLE, IDS, ROOT, SKILLS, Lab, Town, until

# Refusals leave nothing behind, so one town is enough for all of them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGES = f"{ROOT}/api/messages"
SAID = b'{"type":"message","text":"I was here"}'


class Watch:
    """What was delivered anywhere until now."""

    def __init__(self, town: Town, own: str = ROOT) -> None:
        self._town = town
        self._own = own
        self._before = self._delivered()

    def _delivered(self) -> Any:
        sent = [request.url for request in self._town.send.sent]
        posts = [url for url in sent if not url.startswith((ROOT, self._own))]
        records = [self._town.records("inbound", of=name) for name in ("root", *SKILLS)]
        return self._town.said(), posts, records

    def saw_nothing(self) -> bool:
        """True if neither users nor skills nor the store got anything since."""
        return bool(self._delivered() == self._before)


@pytest_asyncio.fixture(loop_scope="module")
async def talk(shared_town: Town) -> Town:
    """Ann is talking to the echo skill."""
    await shared_town.say("echo")
    return shared_town


def skill_host(town: Town, handle: str = "") -> str:
    """Where the echo skill sends its replies."""
    return f"{ROOT}/api/skills/v3/conversations/{handle or town.handle('echo')}/activities"


async def cancelled(town: Town) -> None:
    """Ann cancels the echo skill, and the skill has been told."""
    await town.say("cancel")
    await until(lambda: town.to_skill("echo")[-1].type == "endOfConversation")
    await town.quiet()


def message(town: Town, **members: Any) -> bytes:
    """A message of Ann, as the channel posts it."""
    activity = town.console.activity("I was here", user="ann", conversation="c1")
    return json.dumps(activity | members).encode()


async def refused(
    town: Town, url: str, headers: dict[str, str], code: str, body: bytes = SAID
) -> bool:
    """True if the request is refused with this code and its status, and nothing comes of it."""
    watch = Watch(town, own=url)
    status = DENIALS[code].status if code in DENIALS else CODES[code].status

    assert await town.call("POST", url, headers, body) == (status, code)
    return watch.saw_nothing()


# At a root's /api/messages


async def test_channel_token_for_another_bot(talk: Town) -> None:
    """audience"""
    headers = talk.channel_bearer(audience="echo")

    assert await refused(talk, MESSAGES, headers, "audience", message(talk))


async def test_channel_token_that_has_expired(talk: Town) -> None:
    """expired"""
    headers = talk.channel_bearer(lifetime=-301)

    assert await refused(talk, MESSAGES, headers, "expired", message(talk))


async def test_activity_from_another_service_url(talk: Town) -> None:
    """service-url"""
    body = message(talk, serviceUrl="https://elsewhere.example/")

    assert await refused(talk, MESSAGES, talk.channel_bearer(), "service-url", body)


async def test_activity_without_service_url(talk: Town) -> None:
    """A missing address does not skip the check."""
    body = message(talk, serviceUrl="")

    assert await refused(talk, MESSAGES, talk.channel_bearer(), "service-url", body)


async def test_activity_of_a_channel_that_the_key_does_not_speak_for(talk: Town) -> None:
    """endorsement"""
    body = message(talk, channelId="fax")

    assert await refused(talk, MESSAGES, talk.channel_bearer(), "endorsement", body)


async def test_skill_that_poses_as_a_parent(talk: Town) -> None:
    """An allowed skill is not an allowed caller."""
    headers = talk.bearer("echo")

    assert await refused(talk, MESSAGES, headers, "caller-not-allowed", message(talk))


async def test_stranger_at_messages(talk: Town) -> None:
    """A good token of an app that is on no list."""
    headers = talk.bearer("stranger")

    assert await refused(talk, MESSAGES, headers, "caller-not-allowed", message(talk))


async def test_own_token_for_the_channel_replayed(talk: Town) -> None:
    """What the root proves itself with to the channel opens nothing at the root."""
    headers = talk.bearer("root", audience="https://api.botframework.com", version="1.0")

    assert await refused(talk, MESSAGES, headers, "audience", message(talk))


async def test_own_token_sent_to_the_channel_replayed(talk: Town) -> None:
    """The same with the very token that went over the wire."""
    sent = [r for r in talk.send.sent if r.url.startswith(CONSOLE)]
    assert sent
    headers = {"Authorization": sent[-1].headers["Authorization"]}
    headers["Content-Type"] = "application/json"

    assert await refused(talk, MESSAGES, headers, "audience", message(talk))


async def test_token_for_oneself(talk: Town) -> None:
    """A bot is not its own caller, as the Emulator would be."""
    headers = talk.bearer("root")

    assert await refused(talk, MESSAGES, headers, "emulator-off", message(talk))


# At a skill's /api/messages


async def test_stranger_at_a_skill(talk: Town) -> None:
    """Only the root may call the skill."""
    url = f"{SKILLS['echo']}/api/messages"
    headers = talk.bearer("stranger", audience="echo")

    assert await refused(talk, url, headers, "caller-not-allowed", message(talk))


async def test_sibling_at_a_skill(talk: Town) -> None:
    """Skills of one root are not callers of each other."""
    url = f"{SKILLS['echo']}/api/messages"
    headers = talk.bearer("booking", audience="echo")

    assert await refused(talk, url, headers, "caller-not-allowed", message(talk))


# At the skill host


async def test_skill_token_for_another_root(talk: Town) -> None:
    """audience"""
    headers = talk.bearer("echo", audience="booking")

    assert await refused(talk, skill_host(talk), headers, "audience")


async def test_skill_token_that_has_expired(talk: Town) -> None:
    """expired"""
    headers = talk.bearer("echo", lifetime=-301)

    assert await refused(talk, skill_host(talk), headers, "expired")


async def test_stranger_at_the_skill_host(talk: Town) -> None:
    """A good token of an app that is no skill."""
    assert await refused(talk, skill_host(talk), talk.bearer("stranger"), "skill-not-allowed")


async def test_skill_in_the_conversation_of_another(talk: Town) -> None:
    """Both are skills, but the conversation was given to one of them."""
    headers = talk.bearer("booking")

    assert await refused(talk, skill_host(talk), headers, "not-conversation-owner")


async def test_skill_that_ends_the_conversation_of_another(talk: Town) -> None:
    """The other skill keeps the floor."""
    headers, end = talk.bearer("booking"), b'{"type":"endOfConversation"}'

    assert await refused(talk, skill_host(talk), headers, "not-conversation-owner", end)
    assert await talk.say("still there?") == ["Echo: still there?"]


async def test_channel_token_at_the_skill_host(talk: Town) -> None:
    """Channels have nothing to say there."""
    assert await refused(talk, skill_host(talk), talk.channel_bearer(), "not-a-skill")


async def test_user_token_at_the_skill_host(talk: Town) -> None:
    """A token that acts for a user has scopes."""
    headers = talk.bearer("echo", scp="user_impersonation")

    assert await refused(talk, skill_host(talk), headers, "user-token")


def last_changed(handle: str) -> str:
    """The handle with its last character replaced by the next."""
    return handle[:-1] + chr(ord(handle[-1]) + 1 if handle[-1] not in "zZ9_-" else ord("A"))


FORGED: dict[str, Callable[[str], str]] = {
    "made up": lambda handle: "A" * len(handle),
    "changed at its end": last_changed,
    "changed inside": lambda handle: (
        handle[:10] + ("A" if handle[10] != "A" else "B") + handle[11:]
    ),
    "too short": lambda handle: handle[:-1],
    "the user's": lambda handle: "c1",
    "with a tail": lambda handle: handle + "%2F..",
}


@pytest.mark.parametrize("how", FORGED)
async def test_forged_handle(talk: Town, how: str) -> None:
    """unknown-conversation"""
    url = skill_host(talk, FORGED[how](talk.handle("echo")))

    assert await refused(talk, url, talk.bearer("echo"), "unknown-conversation")


async def test_handle_of_another_host(talk: Town, tmp_path: Path, lab: Lab) -> None:
    """Handles of a root with other keys lead nowhere."""
    other = await open_town(Town(tmp_path, lab))
    watch = Watch(other)

    answer = await other.callback("echo", talk.handle("echo"), {"type": "message", "text": "x"})
    await other.close()

    assert answer == (404, "unknown-conversation")
    assert watch.saw_nothing()


async def test_handle_of_an_ended_conversation(talk: Town) -> None:
    """conversation-ended"""
    await talk.say("end")

    assert await refused(talk, skill_host(talk), talk.bearer("echo"), "conversation-ended")


async def test_callback_after_cancel(talk: Town) -> None:
    """Who was cancelled is not heard any more."""
    await cancelled(talk)

    assert await refused(talk, skill_host(talk), talk.bearer("echo"), "conversation-ended")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_changes_after_cancel(talk: Town, method: str) -> None:
    """What was said stays said."""
    sent = talk.console.conversation("c1").transcript.entries[-1].activity_id
    handle = talk.handle("echo")
    await cancelled(talk)
    watch = Watch(talk)

    body = None if method == "DELETE" else {"type": "message", "text": "changed"}
    answer = await talk.callback("echo", handle, body, method=method, to=f"/{sent}")
    assert answer == (404, "conversation-ended")
    assert watch.saw_nothing()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_changes_in_the_conversation_of_another(talk: Town, method: str) -> None:
    """not-conversation-owner"""
    sent = talk.console.conversation("c1").transcript.entries[-1].activity_id
    watch = Watch(talk)

    body = None if method == "DELETE" else {"type": "message", "text": "changed"}
    answer = await talk.callback("booking", talk.handle("echo"), body, method=method, to=f"/{sent}")
    assert answer == (403, "not-conversation-owner")
    assert watch.saw_nothing()


# In a lab


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Forwarded-Host"])
@pytest.mark.parametrize("door", ["messages", "skill host"])
async def test_forwarded_request_in_the_lab(talk: Town, door: str, header: str) -> None:
    """Who trusts a lab is not to be reached through a proxy."""
    url, headers = MESSAGES, talk.channel_bearer()
    if door == "skill host":
        url, headers = skill_host(talk), talk.bearer("echo")

    headers[header] = "for=192.0.2.1"
    assert await refused(talk, url, headers, "forwarded-in-lab", message(talk))


async def test_skill_that_left_the_list(talk: Town) -> None:
    """A conversation that is still open does not keep the door open for its skill."""
    handle = talk.handle("echo")
    await talk.stop(ROOT)
    await talk.start_root(echo={"app_id": IDS["stranger"]})

    assert await refused(talk, skill_host(talk, handle), talk.bearer("echo"), "skill-not-allowed")
    await talk.stop(ROOT)
    await talk.start_root()

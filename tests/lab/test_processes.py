"""A world of real processes: killed bots come back and go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from skills_host.consumer.manifest.readers import read
from skills_host.lab.chat import Chat, LabClient, opened_chat
from skills_host.lab.world import Inhabitant, ProcessWorld, free_port
from skills_host.transport import Client, Request, allow_loopback

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).parent.parent.parent
ROOT_ID = "a0000000-0000-4000-8000-000000000001"
BOOKING_ID = "b0000000-0000-4000-8000-000000000002"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[ProcessWorld, Chat]]:
    """Lab, root and booking skill, and a chat with the root."""
    taken: set[int] = set()
    root = Inhabitant("root", "root", ROOT_ID, free_port(0, taken=taken))
    file = REPOSITORY / "skills" / "booking.py"
    port = free_port(0, taken=taken)
    booking = Inhabitant("booking", "skill", BOOKING_ID, port, file, ("book a trip",))
    async with AsyncExitStack() as stack:
        send = Client(guard=allow_loopback)
        stack.push_async_callback(send.close)
        world = await stack.enter_async_context(
            ProcessWorld(tmp_path, send=send, root=root, skills=[booking])
        )
        await world.start_lab(free_port(0, taken=taken))
        await world.start_bots(REPOSITORY / "manifests")
        lab = LabClient(send, lab_url=world.lab_url, mint_secret=world.mint_secret)
        chat = await stack.enter_async_context(
            opened_chat(
                lab, bot_url=root.url, bot_app_id=root.app_id, port=0, send=send, user="ann"
            )
        )
        yield world, chat


async def said(chat: Chat, text: str) -> list[tuple[str, str]]:
    """Who answers, and what."""
    exchange = await chat.say(text)
    assert exchange.status == 200
    return [(answer.bot, answer.text) for answer in exchange.answers]


async def test_booking_goes_on_after_a_kill(running: tuple[ProcessWorld, Chat]) -> None:
    """Root and skill are killed in the middle; neither user nor booking notices."""
    world, chat = running
    await said(chat, "book a trip")
    await said(chat, "Lisbon")

    await world.stop("root", kill=True)
    await world.start_bot(world.root)
    assert (await said(chat, "2031-05-17"))[0][1].startswith("How many")

    await world.stop("booking", kill=True)
    await world.start_bot(world.skills[0])
    assert (await said(chat, "2"))[0][1].startswith("Lisbon on 2031-05-17 for 2")
    assert await said(chat, "yes") == [
        ("booking", "Booked: Lisbon on 2031-05-17. Have a good trip!")
    ]


async def test_a_skills_process_serves_its_manifest(running: tuple[ProcessWorld, Chat]) -> None:
    """Filled in with where it really is, to whoever asks, and not again to who has it."""
    world, _ = running
    (booking,) = world.skills
    send = Client(guard=allow_loopback)
    address = f"{booking.url}/manifests/booking.json"
    try:
        answer = await send(Request("GET", address))
        head = await send(Request("HEAD", address))
        tag = {"If-None-Match": answer.headers["etag"]}
        again = await send(Request("GET", address, tag))
    finally:
        await send.close()

    manifest = read(answer.body, dev=True).manifest
    assert manifest is not None
    (endpoint,) = manifest.endpoints
    assert (endpoint.url, endpoint.app_id) == (f"{booking.url}/api/messages", BOOKING_ID)
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")

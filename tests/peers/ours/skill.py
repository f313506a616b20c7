"""The words of the peers' skills, on this package alone: what a consumer peer calls.

An invoke `tell` takes the place of the other peers' hook: it speaks up where someone said
`proactive`, and answers with what `POST /tell` answers.
"""

from skills_host import Activity, Bot, Turn
from skills_host.bot.turn import Place
from skills_host.errors import SkillsHostError

bot = Bot()
later: dict[str, bytes] = {}


def action(value: str) -> dict[str, str]:
    """A button that says `value` for the user."""
    return {"type": "imBack", "title": value, "value": value}


async def counted(turn: Turn) -> int:
    """How many messages came in this conversation, this one included."""
    count: int = 1 + await turn.state.get("count", 0)
    turn.state.set("count", count)
    return count


@bot.on_message
async def echo(turn: Turn) -> None:
    """Any text."""
    await counted(turn)
    await turn.send(f"Echo: {turn.text}")


@bot.on_message("count")
async def say_count(turn: Turn) -> None:
    """How many messages came."""
    await turn.send(f"{await counted(turn)} messages")


@bot.on_message("end")
async def end(turn: Turn) -> None:
    """End with the count."""
    count = await counted(turn)
    turn.state.delete("count")
    await turn.end({"turns": count})


@bot.on_message("card")
async def card(turn: Turn) -> None:
    """A card, an image and suggested actions."""
    await counted(turn)
    hero = {"title": "Title", "buttons": [action("go")]}
    await turn.send(
        Activity.make(
            "message",
            text="card",
            attachments=[
                {"contentType": "application/vnd.microsoft.card.hero", "content": hero},
                {
                    "contentType": "image/png",
                    "contentUrl": "https://example.test/a.png",
                    "name": "a.png",
                },
            ],
            suggested_actions={"to": [], "actions": [action("yes"), action("no")]},
        )
    )


@bot.on_message("data")
async def data(turn: Turn) -> None:
    """What came in channelData and entities."""
    await counted(turn)
    kept = {name: turn.activity.raw(name) for name in ("channelData", "entities")}
    await turn.send(Activity.make("message", text="data").with_raw(kept))


@bot.on_message("update")
async def update(turn: Turn) -> None:
    """Say something and replace it."""
    await counted(turn)
    sent = await turn.send("first")
    try:
        await turn.update(sent, "second")
    except SkillsHostError as error:
        await turn.send(f"update failed: {error.status}")


@bot.on_message("delete")
async def delete(turn: Turn) -> None:
    """Say something and take it back."""
    await counted(turn)
    sent = await turn.send("gone")
    try:
        await turn.delete(sent)
    except SkillsHostError as error:
        await turn.send(f"delete failed: {error.status}")


@bot.on_message("members")
async def members(turn: Turn) -> None:
    """Who is in the conversation."""
    await counted(turn)
    try:
        ids = sorted(member.id or "" for member in await turn.members())
    except SkillsHostError as error:
        await turn.send(f"members failed: {error.status}")
    else:
        await turn.send(f"members: {','.join(ids)}")


@bot.on_message("member")
async def member(turn: Turn) -> None:
    """Who spoke, as the channel says."""
    await counted(turn)
    try:
        found = await turn.member(turn.activity.from_.id or "")
    except SkillsHostError as error:
        await turn.send(f"member failed: {error.status}")
    else:
        await turn.send(f"member: {found.id}")


@bot.on_message("proactive")
async def say_later(turn: Turn) -> None:
    """Remember where this is."""
    await counted(turn)
    later[turn.session] = turn.place.encode()
    await turn.send("later")


@bot.on_invoke("tell")
async def tell(turn: Turn) -> None:
    """Speak up in every conversation that said `proactive`; forget those that failed."""
    failed = []
    for session, place in list(later.items()):
        try:
            await bot.continue_conversation(Place.parse(place), speak_up)
        except SkillsHostError as error:
            del later[session]
            failed.append(error.status)
    turn.respond(200, {"told": len(later), "failed": failed})


async def speak_up(turn: Turn) -> None:
    """What nobody asked for."""
    await turn.send("proactive hello")


@bot.on_message("typing")
async def typing(turn: Turn) -> None:
    """Type, then say so."""
    await counted(turn)
    await turn.send(Activity.make("typing"))
    await turn.send("typed")


@bot.on_message("long")
async def long(turn: Turn) -> None:
    """Two messages in order."""
    await counted(turn)
    await turn.send("one")
    await turn.send("two")


@bot.on_event("ping")
async def ping(turn: Turn) -> None:
    """An event for an event, with its value, and a message."""
    await turn.send(Activity.make("event", name="pong", value=turn.activity.value))
    await turn.send("pong")


@bot.on_invoke("lookup")
async def lookup(turn: Turn) -> None:
    """Find the value."""
    turn.respond(200, {"found": turn.activity.value})


@bot.on_end
async def forget(turn: Turn) -> None:
    """The consumer wants no more."""
    turn.state.delete("count")

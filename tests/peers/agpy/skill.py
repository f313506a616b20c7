"""A skill with many words on the Agents SDK for Python.

Environment: PORT, APP_ID, APP_PASSWORD, ALLOWED_CALLERS (app ids, by commas).
"""

import os

from microsoft_agents.activity import (
    Activity,
    Attachment,
    CardAction,
    HeroCard,
    InvokeResponse,
    SuggestedActions,
)
from microsoft_agents.hosting.core import (
    ActivityHandler,
    CardFactory,
    ChannelAdapter,
    ConversationState,
    MemoryStorage,
)
from microsoft_agents.hosting.core.connector import ConnectorClientBase
from peer import Peer, status_of, told


def action(value):
    """A button that says `value` for the user."""
    return CardAction(type="imBack", title=value, value=value)


class Skill(ActivityHandler):
    """Does what a word says; echoes every other text; counts the messages of a conversation.

    One object per turn: the SDK's state objects remember the turn that they were loaded in.
    """

    def __init__(self, storage, proactive):
        self.state = ConversationState(storage)
        self.count = self.state.create_property("count")
        self.proactive = proactive
        self.words = {
            "end": self.say_end,
            "count": self.say_count,
            "card": self.say_card,
            "data": self.say_data,
            "update": self.say_and_update,
            "delete": self.say_and_delete,
            "members": self.say_members,
            "member": self.say_member,
            "proactive": self.say_later,
            "typing": self.say_typing,
            "long": self.say_long,
        }

    async def on_turn(self, turn_context):
        """One turn, with the state saved after it."""
        await super().on_turn(turn_context)
        await self.state.save(turn_context)

    async def on_message_activity(self, turn_context):
        """One message from the user."""
        count = (await self.count.get(turn_context) or 0) + 1
        await self.count.set(turn_context, count)
        say = self.words.get(turn_context.activity.text, self.say_echo)
        await say(turn_context)

    async def on_event_activity(self, turn_context):
        """`ping` is answered with `pong` and its value."""
        if turn_context.activity.name == "ping":
            value = turn_context.activity.value
            await turn_context.send_activity(Activity(type="event", name="pong", value=value))
            await turn_context.send_activity("pong")

    async def on_invoke_activity(self, turn_context):
        """`lookup` finds its value."""
        if turn_context.activity.name != "lookup":
            return InvokeResponse(status=501)
        return InvokeResponse(status=200, body={"found": turn_context.activity.value})

    async def on_end_of_conversation_activity(self, turn_context):
        """The consumer wants no more: forget the conversation."""
        await self.count.delete(turn_context)

    async def say_echo(self, turn_context):
        await turn_context.send_activity(f"Echo: {turn_context.activity.text}")

    async def say_end(self, turn_context):
        value = {"turns": await self.count.get(turn_context)}
        await self.count.delete(turn_context)
        await turn_context.send_activity(
            Activity(type="endOfConversation", code="completedSuccessfully", value=value)
        )

    async def say_count(self, turn_context):
        await turn_context.send_activity(f"{await self.count.get(turn_context)} messages")

    async def say_card(self, turn_context):
        image = "https://example.test/a.png"
        hero = CardFactory.hero_card(HeroCard(title="Title", buttons=[action("go")]))
        picture = Attachment(content_type="image/png", content_url=image, name="a.png")
        await turn_context.send_activity(
            Activity(
                type="message",
                text="card",
                attachments=[hero, picture],
                suggested_actions=SuggestedActions(to=[], actions=[action("yes"), action("no")]),
            )
        )

    async def say_data(self, turn_context):
        received = turn_context.activity
        await turn_context.send_activity(
            Activity(
                type="message",
                text="data",
                channel_data=received.channel_data,
                entities=received.entities,
            )
        )

    async def say_and_update(self, turn_context):
        sent = await turn_context.send_activity("first")
        try:
            await turn_context.update_activity(Activity(type="message", id=sent.id, text="second"))
        except Exception as error:
            await turn_context.send_activity(f"update failed: {status_of(error)}")

    async def say_and_delete(self, turn_context):
        sent = await turn_context.send_activity("gone")
        try:
            await turn_context.delete_activity(sent.id)
        except Exception as error:
            await turn_context.send_activity(f"delete failed: {status_of(error)}")

    async def say_members(self, turn_context):
        try:
            members = await conversations(turn_context).get_conversation_members(
                turn_context.activity.conversation.id
            )
        except Exception as error:
            await turn_context.send_activity(f"members failed: {status_of(error)}")
        else:
            ids = ",".join(sorted(member.id for member in members))
            await turn_context.send_activity(f"members: {ids}")

    async def say_member(self, turn_context):
        received = turn_context.activity
        try:
            member = await conversations(turn_context).get_conversation_member(
                received.conversation.id, received.from_property.id
            )
        except Exception as error:
            await turn_context.send_activity(f"member failed: {status_of(error)}")
        else:
            await turn_context.send_activity(f"member: {member.id}")

    async def say_later(self, turn_context):
        received = turn_context.activity
        self.proactive[received.conversation.id] = (
            received.get_conversation_reference(),
            turn_context.identity,
            turn_context.turn_state[ChannelAdapter.OAUTH_SCOPE_KEY],
        )
        await turn_context.send_activity("later")

    async def say_typing(self, turn_context):
        await turn_context.send_activity(Activity(type="typing"))
        await turn_context.send_activity("typed")

    async def say_long(self, turn_context):
        await turn_context.send_activity("one")
        await turn_context.send_activity("two")


class PerTurn:
    """Makes a skill for every turn over one storage."""

    def __init__(self, adapter):
        self.adapter = adapter
        self.storage = MemoryStorage()
        self.proactive = {}

    async def on_turn(self, turn_context):
        """One turn."""
        await Skill(self.storage, self.proactive).on_turn(turn_context)

    async def tell(self):
        """Speak up in every conversation that said `proactive`."""

        async def say(conversation):
            reference, identity, audience = conversation
            await self.adapter.continue_conversation_with_claims(
                identity,
                reference.get_continuation_activity(),
                lambda turn_context: turn_context.send_activity("proactive hello"),
                audience,
            )

        return await told(self.proactive, say)


def conversations(turn_context):
    """The connector's operations on conversations; there are none where replies are expected."""
    return turn_context.services.get(ConnectorClientBase).conversations


def main():
    """Serve the skill."""
    peer = Peer(os.environ["ALLOWED_CALLERS"].split(","))
    bot = PerTurn(peer.adapter)
    peer.serve(bot, tell=bot.tell)


main()

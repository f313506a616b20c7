"""A skill with many words on the published Python SDK.

Environment: PORT, APP_ID, APP_PASSWORD, LAB, LAB_HTTP, ALLOWED_CALLERS (app ids, by commas).
"""

import os

from aiohttp import web
from botbuilder.core import (
    ActivityHandler,
    BotAdapter,
    CardFactory,
    ConversationState,
    InvokeResponse,
    MemoryStorage,
    TurnContext,
)
from botbuilder.schema import (
    Activity,
    Attachment,
    CardAction,
    HeroCard,
    SuggestedActions,
)
from peer import Adapter, authentication, listener, serve, status_of, told


def action(value):
    """A button that says `value` for the user."""
    return CardAction(type="imBack", title=value, value=value)


class Skill(ActivityHandler):
    """Does what a word says; echoes every other text; counts the messages of a conversation."""

    def __init__(self, state):
        self.state = state
        self.count = state.create_property("count")
        self.proactive = {}
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
        await self.state.save_changes(turn_context)

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

    async def tell(self, adapter):
        """Speak up in every conversation that said `proactive`."""

        async def say(conversation):
            reference, identity, audience = conversation
            await adapter.continue_conversation(
                reference,
                lambda turn_context: turn_context.send_activity("proactive hello"),
                claims_identity=identity,
                audience=audience,
            )

        return await told(self.proactive, say)

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
                suggested_actions=SuggestedActions(actions=[action("yes"), action("no")]),
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
        conversations = turn_context.turn_state[BotAdapter.BOT_CONNECTOR_CLIENT_KEY].conversations
        try:
            members = await conversations.get_conversation_members(
                turn_context.activity.conversation.id
            )
        except Exception as error:
            await turn_context.send_activity(f"members failed: {status_of(error)}")
        else:
            ids = ",".join(sorted(member.id for member in members))
            await turn_context.send_activity(f"members: {ids}")

    async def say_member(self, turn_context):
        conversations = turn_context.turn_state[BotAdapter.BOT_CONNECTOR_CLIENT_KEY].conversations
        received = turn_context.activity
        try:
            member = await conversations.get_conversation_member(
                received.conversation.id, received.from_property.id
            )
        except Exception as error:
            await turn_context.send_activity(f"member failed: {status_of(error)}")
        else:
            await turn_context.send_activity(f"member: {member.id}")

    async def say_later(self, turn_context):
        received = turn_context.activity
        self.proactive[received.conversation.id] = (
            TurnContext.get_conversation_reference(received),
            turn_context.turn_state[BotAdapter.BOT_IDENTITY_KEY],
            turn_context.turn_state[BotAdapter.BOT_OAUTH_SCOPE_KEY],
        )
        await turn_context.send_activity("later")

    async def say_typing(self, turn_context):
        await turn_context.send_activity(Activity(type="typing"))
        await turn_context.send_activity("typed")

    async def say_long(self, turn_context):
        await turn_context.send_activity("one")
        await turn_context.send_activity("two")


def main():
    """Serve the skill."""
    adapter = Adapter(authentication(os.environ["ALLOWED_CALLERS"].split(",")))
    bot = Skill(ConversationState(MemoryStorage()))
    app = web.Application()
    app.router.add_post("/api/messages", lambda request: adapter.process(request, bot))
    serve(app, listener()[0], tell=lambda: bot.tell(adapter))


main()

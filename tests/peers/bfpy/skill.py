"""An echo skill on the published Python SDK.

Environment: PORT, APP_ID, APP_PASSWORD, LAB, LAB_HTTP, ALLOWED_CALLERS (app ids, by commas).
"""

import os

from aiohttp import web
from botbuilder.core import ActivityHandler, ConversationState, MemoryStorage
from botbuilder.integration.aiohttp import CloudAdapter
from botbuilder.schema import Activity, DeliveryModes, ExpectedReplies
from peer import authentication, listener, serve


class Adapter(CloudAdapter):
    """The SDK's adapter, able to answer expectReplies."""

    def _process_turn_results(self, context):
        response = super()._process_turn_results(context)
        if context.activity.delivery_mode == DeliveryModes.expect_replies:
            # DEFECT: serialized here already, and serialized again by `process`, which fails: 500.
            response.body = ExpectedReplies(activities=context.buffered_reply_activities)
        return response


class Echo(ActivityHandler):
    """Echoes; `count` says how many messages came, this one included; `end` ends."""

    def __init__(self, state):
        self.state = state
        self.count = state.create_property("count")

    async def on_turn(self, turn_context):
        """One turn, with the state saved after it."""
        await super().on_turn(turn_context)
        await self.state.save_changes(turn_context)

    async def on_message_activity(self, turn_context):
        """One message from the user."""
        count = (await self.count.get(turn_context) or 0) + 1
        await self.count.set(turn_context, count)
        text = turn_context.activity.text
        if text == "end":
            await self.count.delete(turn_context)
            await turn_context.send_activity(
                Activity(
                    type="endOfConversation",
                    code="completedSuccessfully",
                    value={"turns": count},
                )
            )
        elif text == "count":
            await turn_context.send_activity(f"{count} messages")
        else:
            await turn_context.send_activity(f"Echo: {text}")

    async def on_end_of_conversation_activity(self, turn_context):
        """The consumer wants no more: forget the conversation."""
        await self.count.delete(turn_context)


def main():
    """Serve the skill."""
    adapter = Adapter(authentication(os.environ["ALLOWED_CALLERS"].split(",")))
    bot = Echo(ConversationState(MemoryStorage()))
    app = web.Application()
    app.router.add_post("/api/messages", lambda request: adapter.process(request, bot))
    serve(app, listener()[0])


main()

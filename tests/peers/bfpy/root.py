"""A minimal consumer on the published Python SDK: every message goes to one skill.

Environment: PORT, APP_ID, APP_PASSWORD, LAB, LAB_HTTP, SKILL_APP_ID, SKILL_ENDPOINT,
HOST_URL (default: /api/skills of this process), DELIVERY (normal or expectReplies).
"""

import json
import os
from copy import deepcopy

from aiohttp import web
from botbuilder.core import ActivityHandler, BotAdapter, ConversationState, MemoryStorage
from botbuilder.core.skills import (
    BotFrameworkSkill,
    SkillConversationIdFactory,
    SkillConversationIdFactoryOptions,
)

# DEFECT: not exported by the package that holds it.
from botbuilder.core.skills.cloud_skill_handler import CloudSkillHandler
from botbuilder.integration.aiohttp import (
    CloudAdapter,
    aiohttp_channel_service_routes,
    aiohttp_error_middleware,
)
from botbuilder.schema import ActivityTypes, ExpectedReplies
from peer import APP_ID, authentication, listener, serve

DELIVERY = os.environ.get("DELIVERY", "normal")
SKILL = BotFrameworkSkill(
    id="skill", app_id=os.environ["SKILL_APP_ID"], skill_endpoint=os.environ["SKILL_ENDPOINT"]
)


class Root(ActivityHandler):
    """Hands messages to the skill under one skill conversation id until the skill ends."""

    def __init__(self, state, ids, client, host_url):
        self.state = state
        self.skill_conversation = state.create_property("skill_conversation")
        self.ids = ids
        self.client = client
        self.host_url = host_url

    async def on_message_activity(self, turn_context):
        """Forward one message, and its replies where they come in the answer."""
        conversation_id = await self._conversation_id(turn_context)
        # The end may come back while the call is open, and must find the state.
        await self.state.save_changes(turn_context)
        activity = deepcopy(turn_context.activity)
        activity.delivery_mode = DELIVERY
        response = await self.client.post_activity(
            APP_ID,
            SKILL.app_id,
            SKILL.skill_endpoint,
            self.host_url,
            conversation_id,
            activity,
        )
        if not 200 <= response.status < 300:
            await turn_context.send_activity(f"Skill failed: {response.status}")
        elif DELIVERY == "expectReplies":
            await self._relay(turn_context, conversation_id, response.body)

    async def on_end_of_conversation_activity(self, turn_context):
        """The skill's end, as a callback: the handler has deleted the reference already."""
        await self._ended(turn_context, turn_context.activity.value)

    async def _conversation_id(self, turn_context):
        known = await self.skill_conversation.get(turn_context)
        if known is None:
            known = await self.ids.create_skill_conversation_id(
                SkillConversationIdFactoryOptions(
                    from_bot_oauth_scope=turn_context.turn_state[BotAdapter.BOT_OAUTH_SCOPE_KEY],
                    from_bot_id=APP_ID,
                    activity=turn_context.activity,
                    bot_framework_skill=SKILL,
                )
            )
            await self.skill_conversation.set(turn_context, known)
        return known

    async def _relay(self, turn_context, conversation_id, body):
        replies = ExpectedReplies().deserialize(body).activities or []
        ends = [r for r in replies if r.type == ActivityTypes.end_of_conversation]
        for reply in replies:
            if reply not in ends:
                await turn_context.send_activity(reply)
        for end in ends[:1]:
            await self.ids.delete_conversation_reference(conversation_id)
            await self._ended(turn_context, end.value)

    async def _ended(self, turn_context, value):
        await self.skill_conversation.delete(turn_context)
        await self.state.save_changes(turn_context)
        text = json.dumps(value, separators=(",", ":"))
        await turn_context.send_activity(f"Skill ended: {text}")


def main():
    """Serve the consumer."""
    sock, port = listener()
    host_url = os.environ.get("HOST_URL") or f"http://127.0.0.1:{port}/api/skills"
    auth = authentication([SKILL.app_id])
    adapter = CloudAdapter(auth)
    storage = MemoryStorage()
    ids = SkillConversationIdFactory(storage)
    bot = Root(ConversationState(storage), ids, auth.create_bot_framework_client(), host_url)
    app = web.Application(middlewares=[aiohttp_error_middleware])
    app.router.add_post("/api/messages", lambda request: adapter.process(request, bot))
    handler = CloudSkillHandler(adapter, bot, ids, auth)
    app.router.add_routes(aiohttp_channel_service_routes(handler, "/api/skills"))
    serve(app, sock)


main()

"""A consumer on the published Python SDK with one skill; with parents it is a skill as well.

Environment: PORT, APP_ID, APP_PASSWORD, LAB, LAB_HTTP, SKILL_APP_ID, SKILL_ENDPOINT,
HOST_URL (default: /api/skills of this process), DELIVERY (normal or expectReplies),
ALLOWED_CALLERS (app ids of parents, by commas; default: none).
"""

import json
import os
from copy import deepcopy

from aiohttp import web
from botbuilder.core import (
    BotAdapter,
    ConversationState,
    InvokeResponse,
    MemoryStorage,
    TurnContext,
)
from botbuilder.core.skills import (
    BotFrameworkSkill,
    SkillConversationIdFactory,
    SkillConversationIdFactoryOptions,
    SkillHandler,
)

# DEFECT: not exported by the package that holds it.
from botbuilder.core.skills.cloud_skill_handler import CloudSkillHandler
from botbuilder.integration.aiohttp import (
    aiohttp_channel_service_routes,
    aiohttp_error_middleware,
)
from botbuilder.schema import Activity, ExpectedReplies
from peer import APP_ID, CHANNEL, Adapter, authentication, listener, serve

DELIVERY = os.environ.get("DELIVERY", "normal")
ALLOWED_CALLERS = [app_id for app_id in os.environ.get("ALLOWED_CALLERS", "").split(",") if app_id]
SKILL = BotFrameworkSkill(
    id="skill", app_id=os.environ["SKILL_APP_ID"], skill_endpoint=os.environ["SKILL_ENDPOINT"]
)
END = "endOfConversation"


class Root:
    """Hands what it gets to the skill under one skill conversation id until the skill ends."""

    def __init__(self, state, ids, client, host_url):
        self.state = state
        self.skill_conversation = state.create_property("skill_conversation")
        self.ids = ids
        self.client = client
        self.host_url = host_url

    async def on_turn(self, turn_context):
        """One activity of the user, of the parent, or of the skill as a callback."""
        received = turn_context.activity
        if SkillHandler.SKILL_CONVERSATION_REFERENCE_KEY in turn_context.turn_state:
            await self._told_by_skill(turn_context, received)
        elif received.type == END:
            await self._stop(turn_context)
        elif received.type == "message" and received.text == "cancel":
            await self._stop(turn_context)
            await turn_context.send_activity("cancelled")
        elif received.type in ("message", "event", "invoke"):
            await self._forward(turn_context)

    async def _told_by_skill(self, turn_context, told):
        if told.type == "event":
            text = json_of(told.value)
            await turn_context.send_activity(f"Skill event: {told.name} {text}")
        elif told.type == END:
            # The handler, or `_relay`, has deleted the reference already.
            await self._ended(turn_context, told.value)

    async def _forward(self, turn_context):
        """Forward one activity, and its replies where they come in the answer."""
        conversation_id = await self._conversation_id(turn_context)
        # The end may come back while the call is open, and must find the state.
        await self.state.save_changes(turn_context)
        activity = deepcopy(turn_context.activity)
        activity.delivery_mode = DELIVERY
        response = await self._post(conversation_id, activity)
        succeeded = 200 <= response.status < 300
        if DELIVERY == "expectReplies" and succeeded:
            await self._relay(turn_context, conversation_id, response.body)
        elif activity.type == "invoke":
            await respond(turn_context, response.status, response.body)
        elif not succeeded:
            await turn_context.send_activity(f"Skill failed: {response.status}")

    async def _post(self, conversation_id, activity):
        return await self.client.post_activity(
            APP_ID, SKILL.app_id, SKILL.skill_endpoint, self.host_url, conversation_id, activity
        )

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
        for reply in ExpectedReplies().deserialize(body).activities or []:
            if reply.type in ("event", END):
                if reply.type == END:
                    await self.ids.delete_conversation_reference(conversation_id)
                await self._told_by_skill(turn_context, reply)
            elif reply.type == "invokeResponse":
                value = reply.value if isinstance(reply.value, dict) else {"status": 500}
                await respond(turn_context, value.get("status"), value.get("body"))
            else:
                await turn_context.send_activity(reply)

    async def _stop(self, turn_context):
        """End the skill's conversation from this side, as the SDK's own dialog does."""
        conversation_id = await self.skill_conversation.get(turn_context)
        if conversation_id is None:
            return
        await self.skill_conversation.delete(turn_context)
        await self.state.save_changes(turn_context)
        here = TurnContext.get_conversation_reference(turn_context.activity)
        end = TurnContext.apply_conversation_reference(Activity(type=END), here, is_incoming=True)
        await self._post(conversation_id, end)
        await self.ids.delete_conversation_reference(conversation_id)

    async def _ended(self, turn_context, value):
        await self.skill_conversation.delete(turn_context)
        await self.state.save_changes(turn_context)
        await turn_context.send_activity(f"Skill ended: {json_of(value)}")
        if has_parent(turn_context):
            await turn_context.send_activity(
                Activity(type=END, code="completedSuccessfully", value=value)
            )


async def respond(turn_context, status, body):
    """Answer the invoke of this turn."""
    value = InvokeResponse(status=status, body=body)
    await turn_context.send_activity(Activity(type="invokeResponse", value=value))


def has_parent(turn_context):
    """True if what is said in this turn goes to a bot, not to a channel."""
    state = turn_context.turn_state
    reference = state.get(SkillHandler.SKILL_CONVERSATION_REFERENCE_KEY)
    scope = reference.oauth_scope if reference else state[BotAdapter.BOT_OAUTH_SCOPE_KEY]
    return scope != CHANNEL


def json_of(value):
    """A value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def main():
    """Serve the consumer."""
    sock, port = listener()
    host_url = os.environ.get("HOST_URL") or f"http://127.0.0.1:{port}/api/skills"
    auth = authentication([SKILL.app_id, *ALLOWED_CALLERS])
    adapter = Adapter(auth)
    storage = MemoryStorage()
    ids = SkillConversationIdFactory(storage)
    bot = Root(ConversationState(storage), ids, auth.create_bot_framework_client(), host_url)
    app = web.Application(middlewares=[aiohttp_error_middleware])
    app.router.add_post("/api/messages", lambda request: adapter.process(request, bot))
    handler = CloudSkillHandler(adapter, bot, ids, auth)
    app.router.add_routes(aiohttp_channel_service_routes(handler, "/api/skills"))
    serve(app, sock)


main()

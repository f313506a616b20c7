"""A consumer on the Agents SDK for Python with one skill; with parents it is a skill as well.

Environment: PORT, APP_ID, APP_PASSWORD, SKILL_APP_ID, SKILL_ENDPOINT,
HOST_URL (default: /api/skills of this process), DELIVERY (normal or expectReplies),
ALLOWED_CALLERS (app ids of parents, by commas; default: none).
"""

import json
import os
from uuid import uuid4

from aiohttp import web
from microsoft_agents.activity import Activity, ExpectedReplies, ResourceResponse
from microsoft_agents.hosting.aiohttp import channel_service_route_table
from microsoft_agents.hosting.core import ChannelAdapter, ConversationState, MemoryStorage
from microsoft_agents.hosting.core.client import (
    AgentConversationReference,
    ConversationIdFactory,
    ConversationIdFactoryOptions,
    HttpAgentChannelFactory,
)
from peer import APP_ID, Peer

DELIVERY = os.environ.get("DELIVERY", "normal")
ALLOWED_CALLERS = [app_id for app_id in os.environ.get("ALLOWED_CALLERS", "").split(",") if app_id]
SKILL_APP_ID, SKILL_ENDPOINT = os.environ["SKILL_APP_ID"], os.environ["SKILL_ENDPOINT"]
FROM_SKILL = "from skill"
END = "endOfConversation"
COPIED = (
    "type text code name relates_to reply_to_id value entities locale local_timestamp timestamp "
    "channel_data"
).split()


class Ids(ConversationIdFactory):
    """DEFECT: the SDK's factory cannot read back what it wrote; only its storage is replaced."""

    def __init__(self):
        self._references = {}

    async def create_conversation_id(self, options):
        conversation_id = str(uuid4())
        self._references[conversation_id] = AgentConversationReference(
            conversation_reference=options.activity.get_conversation_reference(),
            oauth_scope=options.from_oauth_scope,
        )
        return conversation_id

    async def get_agent_conversation_reference(self, agent_conversation_id):
        return self._references.get(agent_conversation_id)

    async def delete_conversation_reference(self, agent_conversation_id):
        self._references.pop(agent_conversation_id, None)


class Root:
    """Hands what it gets to the skill under one skill conversation id until the skill ends."""

    def __init__(self, channel, host_url):
        self.storage = MemoryStorage()
        self.ids = Ids()
        self.identities = {}
        self.channel = channel
        self.host_url = host_url

    async def on_turn(self, turn_context):
        """One activity of the user, of the parent, or of the skill as a callback."""
        received = turn_context.activity
        if FROM_SKILL in turn_context.turn_state:
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
            await turn_context.send_activity(f"Skill event: {told.name} {json_of(told.value)}")
        elif told.type == END:
            await self._ended(turn_context, told.value)

    async def _forward(self, turn_context):
        """Forward one activity, and its replies where they come in the answer."""
        conversation_id = await self._conversation_id(turn_context)
        activity = turn_context.activity.model_copy(deep=True)
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
        return await self.channel.post_activity(
            SKILL_APP_ID,
            f"api://{SKILL_APP_ID}",
            SKILL_ENDPOINT,
            self.host_url,
            conversation_id,
            activity,
        )

    async def _conversation_id(self, turn_context):
        known = await self._known(turn_context)
        if known is not None:
            return known
        known = await self.ids.create_conversation_id(
            ConversationIdFactoryOptions(
                from_oauth_scope=turn_context.turn_state[ChannelAdapter.OAUTH_SCOPE_KEY],
                from_agent_id=APP_ID,
                activity=turn_context.activity,
                agent=None,
            )
        )
        # A callback is relayed as whom the skill was called for: a user's channel, or a parent.
        self.identities[known] = turn_context.identity
        await self._remember(turn_context, known)
        return known

    async def _known(self, turn_context):
        return await self._property(turn_context)[1].get(turn_context)

    async def _remember(self, turn_context, conversation_id):
        state, known = self._property(turn_context)
        await known.set(turn_context, conversation_id)
        # The end may come back while the call is open, and must find the state.
        await state.save(turn_context)

    def _property(self, turn_context):
        # Anew for each access: the SDK's state objects remember the turn they were loaded in.
        turn_context.turn_state.pop(ConversationState.CONTEXT_SERVICE_KEY, None)
        state = ConversationState(self.storage)
        return state, state.create_property("skill_conversation")

    async def _relay(self, turn_context, conversation_id, body):
        for reply in ExpectedReplies.model_validate(without_nulls(body)).activities or []:
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
        """End the skill's conversation from this side."""
        conversation_id = await self._known(turn_context)
        if conversation_id is None:
            return
        await self._remember(turn_context, None)
        here = turn_context.activity.get_conversation_reference()
        end = Activity(type=END).apply_conversation_reference(here, is_incoming=True)
        await self._post(conversation_id, end)
        await self.ids.delete_conversation_reference(conversation_id)

    async def _ended(self, turn_context, value):
        await self._remember(turn_context, None)
        await turn_context.send_activity(f"Skill ended: {json_of(value)}")
        if turn_context.identity.is_agent_claim():
            await turn_context.send_activity(
                Activity(type=END, code="completedSuccessfully", value=value)
            )


class Host:
    """What a callback of the skill does; the SDK has the routes and leaves this to its user."""

    def __init__(self, adapter, root):
        self.adapter = adapter
        self.root = root

    def __getattr__(self, name):
        # Operations that nobody wrote, the members among them.
        raise web.HTTPNotImplemented

    async def on_send_to_conversation(self, claims_identity, conversation_id, activity):
        """An activity of the skill."""
        return await self.on_reply_to_activity(claims_identity, conversation_id, None, activity)

    async def on_reply_to_activity(self, claims_identity, conversation_id, activity_id, activity):
        """An activity of the skill, as a reply."""
        sent = ResourceResponse(id=str(uuid4()))

        async def callback(turn_context):
            nonlocal sent
            turn_context.activity.id = activity_id
            if activity.type == END:
                await self.root.ids.delete_conversation_reference(conversation_id)
            if activity.type in (END, "event"):
                for name in COPIED:
                    setattr(turn_context.activity, name, getattr(activity, name))
                await self.root.on_turn(turn_context)
            else:
                sent = await turn_context.send_activity(activity)

        await self._continue(conversation_id, callback)
        return sent

    async def on_update_activity(self, claims_identity, conversation_id, activity_id, activity):
        """Replaces what the skill sent."""
        activity.id = activity_id
        await self._continue(conversation_id, lambda turn: turn.update_activity(activity))
        return ResourceResponse(id=activity_id)

    async def on_delete_activity(self, claims_identity, conversation_id, activity_id):
        """Takes back what the skill sent."""
        await self._continue(conversation_id, lambda turn: turn.delete_activity(activity_id))

    async def _continue(self, conversation_id, callback):
        reference = await self.root.ids.get_agent_conversation_reference(conversation_id)
        if reference is None:
            raise web.HTTPNotFound

        async def from_skill(turn_context):
            turn_context.turn_state[FROM_SKILL] = reference
            await callback(turn_context)

        await self.adapter.continue_conversation_with_claims(
            self.root.identities[conversation_id],
            reference.conversation_reference.get_continuation_activity(),
            from_skill,
            reference.oauth_scope,
        )


async def respond(turn_context, status, body):
    """Answer the invoke of this turn."""
    value = {"status": status, "body": body}
    await turn_context.send_activity(Activity(type="invokeResponse", value=value))


def without_nulls(body):
    """DEFECT: the SDK writes `id: null` into replies and refuses to read it."""
    replies = (body or {}).get("activities") or []
    return {"activities": [{k: v for k, v in r.items() if v is not None} for r in replies]}


def json_of(value):
    """A value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def main():
    """Serve the consumer."""
    peer = Peer([SKILL_APP_ID, *ALLOWED_CALLERS])
    host_url = os.environ.get("HOST_URL") or f"http://127.0.0.1:{peer.port}/api/skills/"
    channel = HttpAgentChannelFactory().create_channel(peer.connections.get_default_connection())
    root = Root(channel, host_url)
    peer.app.router.add_routes(channel_service_route_table(Host(peer.adapter, root), "/skills"))
    peer.serve(root)


main()

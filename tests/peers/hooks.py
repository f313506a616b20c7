"""What tests ask a Python peer about itself, on loopback and without a token.

`GET /seen`: the bodies of the last 50 requests to /api/messages, as they came; `GET /ends`: how
many of them ended a conversation; `POST /tell`: speak up where someone asked for it.
"""

import json
from collections import deque

from aiohttp import web

LATEST = 50
MESSAGES = "/api/messages"


class Hooks:
    """The three routes; `tell` is a bot's way to speak up, if it has one."""

    def __init__(self, tell=None):
        self.ends = 0
        self.tell = tell
        self._seen = deque(maxlen=LATEST)

    def add_to(self, app):
        """Watch the messages of `app` and serve the routes."""
        app.middlewares.append(self._watch())
        app.router.add_get("/seen", self._answer_seen)
        app.router.add_get("/ends", self._answer_ends)
        app.router.add_post("/tell", self._answer_tell)

    def _watch(self):
        @web.middleware
        async def watch(request, handler):
            if request.path != MESSAGES:
                return await handler(request)
            body = await request.read()
            self._seen.append(without_tokens(body))
            response = await handler(request)
            if response.status < 300 and kind_of(body) == "endOfConversation":
                self.ends += 1
            return response

        return watch

    async def _answer_seen(self, _):
        body = b"[" + b",".join(self._seen) + b"]"
        return web.Response(body=body, content_type="application/json")

    async def _answer_ends(self, _):
        return web.json_response({"ends": self.ends})

    async def _answer_tell(self, _):
        if self.tell is None:
            return web.json_response({"error": "this peer does not speak up"}, status=404)
        return web.json_response(await self.tell())


async def told(conversations, say):
    """Call `say` for each of `conversations`: how many worked, and the statuses of the others."""
    failed = []
    for key in list(conversations):
        try:
            await say(conversations[key])
        except Exception as error:
            del conversations[key]
            failed.append(status_of(error))
    return {"told": len(conversations), "failed": failed}


def status_of(error):
    """The HTTP status in an exception of an SDK's client, or the exception's name."""
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None) or getattr(error, "status", type(error).__name__)


def kind_of(body):
    """The type of an activity's JSON, or None."""
    try:
        return json.loads(body).get("type")
    except (ValueError, AttributeError):
        return None


def without_tokens(body):
    """JSON as it came, unless a member is named `token`; `null` for what is no JSON."""
    try:
        document = json.loads(body)
    except ValueError:
        return b"null"
    return json.dumps(_removed(document)).encode() if b'"token"' in body else body


def _removed(value):
    if isinstance(value, list):
        return [_removed(inner) for inner in value]
    if isinstance(value, dict):
        return {k: "<removed>" if k == "token" else _removed(v) for k, v in value.items()}
    return value

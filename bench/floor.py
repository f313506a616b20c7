"""The floor: the four requests of a turn with nothing around them.

The same server (Quart on hypercorn), client (`transport.Client`) and codec (`wire`) as the host,
but no tokens, no store, no lanes, no checks. Run as `python -m bench.floor root|skill --port N …`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from typing import Any
from urllib.parse import quote

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, request

from bench.processes import new_loop
from skills_host import wire
from skills_host.transport import Client, Request, Send

__all__ = ["create_root", "create_skill"]

JSON = {"Content-Type": "application/json; charset=utf-8"}


def create_root(send: Send, *, public_url: str, skill_url: str) -> Quart:
    """A root that forwards what users say to one skill, and what the skill says to the channel.

    Its second door asks the skill for its replies in the answer.
    """
    app = Quart(__name__)
    conversations: dict[str, dict[str, Any]] = {}
    callback_url = f"{public_url}/api/skills/"

    def forwarded(activity: dict[str, Any]) -> dict[str, Any]:
        handle = "h" + activity["conversation"]["id"]
        conversations[handle] = activity
        return activity | {
            "conversation": activity["conversation"] | {"id": handle},
            "serviceUrl": callback_url,
            "recipient": activity["recipient"] | {"role": "skill"},
            "relatesTo": {
                "activityId": activity["id"],
                "channelId": activity["channelId"],
                "conversation": activity["conversation"],
                "serviceUrl": activity["serviceUrl"],
            },
        }

    async def relayed(activity: dict[str, Any], user: dict[str, Any], reply_to_id: str) -> bytes:
        restored = activity | {
            "conversation": user["conversation"],
            "serviceUrl": user["serviceUrl"],
            "from": user["recipient"],
            "recipient": user["from"],
            "replyToId": reply_to_id,
        }
        return await post(send, reply_url(user), restored)

    @app.post("/api/messages")
    async def messages() -> tuple[str, int]:
        await post(send, skill_url, forwarded(wire.decode(await received())))
        return "", 200

    @app.post("/api/replies")
    async def replies() -> tuple[str, int]:
        user = wire.decode(await received())
        answer = await post(send, skill_url, forwarded(user) | {"deliveryMode": "expectReplies"})
        for activity in wire.decode(answer)["activities"]:
            await relayed(activity, user, user["id"])
        return "", 200

    @app.post("/api/skills/v3/conversations/<handle>/activities/<activity_id>")
    async def callback(handle: str, activity_id: str) -> tuple[bytes, int, dict[str, str]]:
        activity = wire.decode(await received())
        return await relayed(activity, conversations[handle], activity_id), 200, JSON

    return app


def create_skill(send: Send) -> Quart:
    """A skill that answers each message with its text: by a call to the root, or in the answer."""
    app = Quart(__name__)

    @app.post("/api/messages")
    async def messages() -> tuple[bytes, int, dict[str, str]]:
        activity = wire.decode(await received())
        reply = {
            "type": "message",
            "text": f"Echo: {activity['text']}",
            "channelId": activity["channelId"],
            "serviceUrl": activity["serviceUrl"],
            "conversation": activity["conversation"],
            "from": activity["recipient"],
            "recipient": activity["from"],
            "replyToId": activity["id"],
        }
        if activity.get("deliveryMode") == "expectReplies":
            return wire.encode({"activities": [reply]}), 200, JSON
        await post(send, reply_url(activity), reply)
        return b"", 200, JSON

    return app


def reply_url(activity: dict[str, Any]) -> str:
    """Where a reply to the activity is posted."""
    conversation = quote(activity["conversation"]["id"], safe="")
    base = activity["serviceUrl"].rstrip("/")
    return f"{base}/v3/conversations/{conversation}/activities/{quote(activity['id'], safe='')}"


async def received() -> bytes:
    """The body of the request that is being answered."""
    return await request.get_data(cache=False, as_text=False, parse_form_data=False)


async def post(send: Send, url: str, activity: dict[str, Any]) -> bytes:
    """Post an activity; the answer's body."""
    answer = await send(Request("POST", url, JSON, wire.encode(activity)))
    if not answer.ok:
        raise RuntimeError(f"{url} answered {answer.status}")
    return answer.body


async def run(arguments: argparse.Namespace) -> None:
    """Serve one of the two until SIGTERM."""
    send = Client()
    public_url = f"http://127.0.0.1:{arguments.port}"
    if arguments.part == "root":
        app = create_root(send, public_url=public_url, skill_url=arguments.skill_url)
    else:
        app = create_skill(send)
    config = Config()
    config.bind = [f"127.0.0.1:{arguments.port}"]
    # As the host does: by default hypercorn closes a connection after 1,000 requests.
    config.keep_alive_max_requests = 1_000_000
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await serve(app, config, shutdown_trigger=stopped.wait)
    await send.close()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("root", "skill"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--skill-url", default="")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(run(arguments))


if __name__ == "__main__":
    main()

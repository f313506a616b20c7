"""Who is in the world of the interop tests, whom each may call, and our hosts' settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from skills_host.lab.world import Inhabitant, free_port

__all__ = [
    "COMMANDS",
    "CONSUMERS",
    "DELIVERIES",
    "OVER_PLAIN",
    "PEERS",
    "ROOTS",
    "Consumer",
    "bots_of_all",
    "crossing",
    "peer_root",
    "settings_of",
    "skill_name",
    "stranger",
    "told",
    "via",
]

PEERS = ("bfpy", "bfjs", "agpy", "agjs")
DELIVERIES = ("normal", "expectReplies")
ROOTS = ("root", "plain")
COMMANDS = {
    "root": ["run", "tests/interop/root.py"],
    "plain": ["serve"],
    "ours": ["run", "tests/peers/ours/skill.py"],
}
# Peers' consumers of our second root, which then is in the middle.
OVER_PLAIN = tuple(f"{peer}-over-plain" for peer in PEERS)


@dataclass(frozen=True, slots=True)
class Consumer:
    """A peer's consumer of one skill; our roots may call it, so that it is in the middle."""

    name: str
    skill: str = "ours"
    delivery: str = "normal"
    is_shipped: bool = False

    @property
    def peer(self) -> str:
        """The SDK that it is built on."""
        return self.name.partition("-")[0]


def skill_name(peer: str, delivery: str) -> str:
    """What our roots call a peer's skill in this delivery mode."""
    return peer if delivery == "normal" else f"{peer}-replies"


def told(skill: str) -> str:
    """What our root calls one of these skills where the grant passes context on to it."""
    return f"{skill}-told"


def peer_root(peer: str, delivery: str) -> str:
    """The name of a peer's consumer of our skill."""
    return f"{peer}-root" if delivery == "normal" else f"{peer}-root-replies"


def stranger(peer: str) -> str:
    """The name of a peer's consumer that our skill does not know."""
    return f"{peer}-stranger"


def via(consumer: str) -> str:
    """What our root calls a peer's consumer."""
    return f"via-{consumer}"


def crossing(consumer: str) -> str:
    """What our root calls it where it calls in one delivery mode, and the consumer in the other."""
    return f"crossing-{consumer}"


CONSUMERS: Mapping[str, Consumer] = {
    consumer.name: consumer
    for consumer in (
        *(Consumer(peer_root(p, mode), delivery=mode) for p in PEERS for mode in DELIVERIES),
        *(Consumer(stranger(peer)) for peer in PEERS),
        *(Consumer(name, skill="plain") for name in OVER_PLAIN),
        Consumer("bfjs-over-bfpy", skill="bfpy"),
        Consumer("agpy-over-agjs", skill="agjs"),
        Consumer("agjs-as-shipped", is_shipped=True),
    )
}


def bots_of_all() -> dict[str, Inhabitant]:
    """Everybody whom the lab knows, with a port each; the teller is nothing but a caller."""
    kinds = {
        **dict.fromkeys(ROOTS, "root"),
        **dict.fromkeys(("ours", *PEERS), "skill"),
        **dict.fromkeys((*CONSUMERS, "teller"), "root"),
    }
    taken: set[int] = set()
    return {
        name: Inhabitant(name, kind, str(uuid5(NAMESPACE_DNS, name)), free_port(0, taken=taken))
        for name, kind in kinds.items()
    }


def settings_of(
    bot: Inhabitant, bots: Mapping[str, Inhabitant], *, lab: str, url: Callable[[str], str]
) -> dict[str, Any]:
    """The settings of one of our hosts; `url` says where others reach a bot."""
    given: dict[str, Any] = {
        "kind": bot.kind,
        "app_id": bot.app_id,
        "credential": {"secret": f"${{{bot.variable}}}"},
        "allowed_callers": [bots[name].app_id for name in _callers_of(bot.name)],
    }
    settings: dict[str, Any] = {
        "host": {"bind": f"127.0.0.1:{bot.port}", "public_url": url(bot.name)},
        "store": {"url": f"sqlite:///{bot.name}.db"},
        "cloud": {
            "login_url": lab,
            "entra_metadata": f"{lab}/common/v2.0/.well-known/openid-configuration",
            "channel_metadata": f"{lab}/v1/.well-known/openidconfiguration",
        },
        "bots": {bot.name: given},
    }
    if bot.kind == "root":
        settings["skills"] = {
            name: {"endpoint": f"{url(to)}/api/messages", "app_id": bots[to].app_id, **modes}
            for name, (to, modes) in _skills_of(bot.name).items()
        }
    return settings


def _callers_of(name: str) -> list[str]:
    strangers = [*map(stranger, PEERS)]
    callers = [one.name for one in CONSUMERS.values() if one.skill == name]
    return [caller for caller in [*callers, "teller"] if caller not in strangers]


def _skills_of(root: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """The skills of one of our roots by name: which bot, and how its answers come back.

    `plain` leaves to the defaults how invokes are answered; `root` does as with all else.
    """
    called = {skill_name(peer, mode): (peer, mode) for peer in PEERS for mode in DELIVERIES}
    if root == "plain":
        return {name: (to, {"delivery": mode}) for name, (to, mode) in called.items()}
    granted = [(told(name), to, mode) for name, (to, mode) in called.items()]
    passing = {
        name: (to, {"delivery": mode, "context": ["reason", "locale"]})
        for name, to, mode in granted
    }
    called |= {f"{peer}-stream": (peer, "stream") for peer in PEERS}
    called |= {via(name): (name, one.delivery) for name, one in CONSUMERS.items()}
    called |= {crossing(name): (name, _other(one.delivery)) for name, one in CONSUMERS.items()}
    return {
        name: (to, {"delivery": mode, "invoke_delivery": mode})
        for name, (to, mode) in called.items()
    } | passing


def _other(delivery: str) -> str:
    return DELIVERIES[1 - DELIVERIES.index(delivery)]

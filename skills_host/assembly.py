"""One bot of a host, put together: its adapter, its inbox, for a root its skills, and its doors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from skills_host.auth.tokens import TokenSource
from skills_host.bot.adapter import Adapter
from skills_host.bot.handlers import Bot, Handler
from skills_host.bot.inbox import Inbox
from skills_host.bot.rates import RateLimit
from skills_host.bot.sealing import Sealing
from skills_host.bot.tasks import Tasks
from skills_host.channels.connector import Connector
from skills_host.channels.outbox import Outbox
from skills_host.consumer.breaker import Breakers
from skills_host.consumer.calls import OpenCalls
from skills_host.consumer.client import SkillClient
from skills_host.consumer.conversations import Conversations, Patience
from skills_host.consumer.delivery import Deliveries
from skills_host.consumer.dialog import SkillDialogs
from skills_host.consumer.ends import Ends
from skills_host.consumer.fanout import FanOut
from skills_host.consumer.hops import Trails
from skills_host.consumer.host import SkillHost
from skills_host.consumer.notices import Notices
from skills_host.consumer.orchestrator import Orchestrator, Root
from skills_host.consumer.proxy import ChannelProxy
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.relays import Relays
from skills_host.consumer.routes import Routes
from skills_host.consumer.routing.chain import routers_of
from skills_host.consumer.routing.model import ModelRouter
from skills_host.consumer.watch import Ender, Watch
from skills_host.registered import RegisteredSkills
from skills_host.settings import Callbacks, Rate, Settings
from skills_host.store.coordination import Coordination
from skills_host.store.leases import Leases
from skills_host.store.records import Store
from skills_host.store.seal import Keys
from skills_host.telemetry import Telemetry
from skills_host.transport import Send
from skills_host.web.front import Door
from skills_host.web.guard import Guard
from skills_host.web.messages import messages
from skills_host.web.skills import skill_host

__all__ = ["Shared", "doors"]


@dataclass(frozen=True, slots=True)
class Shared:
    """What all bots of a host use: settings, clock, chance, network, store, others, tasks, keys.

    `rounds` is what the host does every second;
    `measures` sets the gauges of its telemetry.
    """

    settings: Settings
    now: Callable[[], float]
    random: Callable[[int], bytes]
    new_id: Callable[[], str]
    send: Send
    store: Store
    coordination: Coordination
    tasks: Tasks
    registered: RegisteredSkills
    keys: Keys = field(repr=False)
    guard: Guard
    lab: bool
    leases: Leases
    rounds: list[Callable[[], Awaitable[None]]]
    watch: Watch
    telemetry: Telemetry
    measures: list[Callable[[], Awaitable[None]]]


def doors(shared: Shared, name: str, bot: Bot, tokens: TokenSource) -> list[tuple[str, Door]]:
    """A bot's doors with the prefixes they are reached at; the default bot has short ones too."""
    settings = shared.settings
    prefixes = [f"/bots/{name}", *([""] if name == settings.default_bot else [])]
    if isinstance(bot, Root):
        host_url = f"{settings.host.public_url.rstrip('/')}{prefixes[-1]}/api/skills"
        built = _root_doors(shared, name, bot, tokens, host_url)
    else:
        built = [_messages(shared, name, _adapter(shared, name, bot, bot.run, tokens))]
    return [(prefix, door) for door in built for prefix in prefixes]


def _root_doors(
    shared: Shared, name: str, root: Root, tokens: TokenSource, host_url: str
) -> list[Door]:
    app_id = shared.settings.bots[name].app_id
    conversations = _conversations(shared, app_id)
    calls = OpenCalls(_relays(shared))
    client = _client(shared, tokens, app_id)
    deliveries = _deliveries(shared, root, conversations, calls, client, host_url, app_id)
    dialogs = SkillDialogs(
        skills=shared.registered.skills,
        conversations=conversations,
        calls=calls,
        deliveries=deliveries,
        texts=root.texts,
        now=shared.now,
    )
    root.serve_with(dialogs)
    orchestrator = _orchestrator(shared, root, conversations, dialogs, deliveries, client, host_url)
    adapter = _adapter(shared, name, root, orchestrator.run, tokens)
    ends = _ends(shared, adapter, conversations, deliveries)
    host = SkillHost(
        adapter,
        conversations=conversations,
        skills=shared.registered.skills,
        store=shared.store,
        tasks=shared.tasks,
        deliveries=deliveries,
        ends=ends,
        new_id=shared.new_id,
        now=shared.now,
        at_once=shared.settings.host.callbacks is Callbacks.ACCEPTED,
        barred=lambda name: _why(shared, name),
    )
    proxy = ChannelProxy(
        adapter,
        host,
        conversations=conversations,
        skills=shared.registered.skills,
        store=shared.store,
        tasks=shared.tasks,
        host_url=host_url,
        now=shared.now,
        lifetime=shared.settings.host.limits.session_seconds,
    )
    ender = _ender(shared, adapter, conversations, deliveries, ends)
    shared.watch.enders[app_id] = ender.look_at
    door = skill_host(name, guard=shared.guard, host=host, proxy=proxy, bot_app_id=app_id)
    return [door, _messages(shared, name, adapter)]


def _orchestrator(
    shared: Shared,
    root: Root,
    conversations: Conversations,
    dialogs: SkillDialogs,
    deliveries: Deliveries,
    client: SkillClient,
    host_url: str,
) -> Orchestrator:
    fan_out = FanOut(
        conversations=conversations,
        client=client,
        deliveries=deliveries,
        dialogs=dialogs,
        host_url=host_url,
        seconds=lambda skill: skill.seconds or shared.settings.host.limits.skill_seconds,
    )
    routes = Routes(
        root,
        skills=shared.registered.skills,
        conversations=conversations,
        dialogs=dialogs,
        deliveries=deliveries,
        fan_out=fan_out,
        now=shared.now,
    )
    return Orchestrator(
        root,
        skills=shared.registered.skills,
        conversations=conversations,
        dialogs=dialogs,
        deliveries=deliveries,
        known=shared.registered.known,
        routers=routers_of(shared.settings.routing, root.router, _model(shared)),
        routes=routes,
        now=shared.now,
        log_text=shared.settings.routing.log_text,
    )


def _conversations(shared: Shared, app_id: str) -> Conversations:
    return Conversations(
        shared.store,
        keys=shared.keys,
        host_app_id=app_id,
        skills=shared.registered.skills,
        now=shared.now,
        random=shared.random,
        lifetime=shared.settings.host.limits.session_seconds,
        patience=_patience(shared),
    )


def _ends(
    shared: Shared, adapter: Adapter, conversations: Conversations, deliveries: Deliveries
) -> Ends:
    return Ends(
        adapter,
        store=shared.store,
        leases=shared.leases,
        conversations=conversations,
        deliveries=deliveries,
    )


def _ender(
    shared: Shared,
    adapter: Adapter,
    conversations: Conversations,
    deliveries: Deliveries,
    ends: Ends,
) -> Ender:
    return Ender(
        adapter,
        store=shared.store,
        conversations=conversations,
        deliveries=deliveries,
        ends=ends,
        skills=shared.registered.skills,
        patience=_patience(shared),
        now=shared.now,
    )


def _relays(shared: Shared) -> Relays:
    seconds = shared.settings.host.limits.skill_seconds
    return Relays(shared.store, by=shared.new_id(), now=shared.now, seconds=seconds)


def _patience(shared: Shared) -> Patience:
    limits = shared.settings.host.limits
    return Patience(limits.idle_seconds, limits.total_seconds)


def _model(shared: Shared) -> ModelRouter | None:
    settings = shared.settings.routing.model
    return None if settings is None else ModelRouter(shared.send, settings, now=shared.now)


def _client(shared: Shared, tokens: TokenSource, app_id: str) -> SkillClient:
    limits = shared.settings.host.limits
    breakers = Breakers(
        app_id,
        coordination=shared.coordination,
        now=shared.now,
        most=limits.breaker_failures,
        seconds=limits.breaker_seconds,
    )
    client = SkillClient(
        shared.send,
        tokens,
        breakers,
        timeout=limits.skill_seconds,
        telemetry=shared.telemetry,
    )
    shared.measures.append(client.measure)
    return client


def _deliveries(
    shared: Shared,
    root: Root,
    conversations: Conversations,
    calls: OpenCalls,
    client: SkillClient,
    host_url: str,
    app_id: str,
) -> Deliveries:
    notices = Notices(
        root,
        texts=root.texts,
        skills=shared.registered.skills,
        conversations=conversations,
        client=client,
        tasks=shared.tasks,
        host_url=host_url,
        former=lambda name: _former(shared, name),
    )
    return Deliveries(
        root,
        skills=shared.registered.skills,
        conversations=conversations,
        client=client,
        calls=calls,
        notices=notices,
        host_url=host_url,
        now=shared.now,
        trails=Trails(shared.keys, app_id, shared.settings.host.limits.hops, conversations),
        intercept=lambda: root.intercept,
    )


def _why(shared: Shared, name: str) -> str:
    """The code with which a skill that may not be used is refused."""
    found = shared.registered.now.barred.get(name)
    return "skill-not-allowed" if found is None else found.barred


def _former(shared: Shared, name: str) -> Skill | None:
    found = shared.registered.now.barred.get(name)
    return None if found is None else found.skill


def _limit(shared: Shared, name: str, rate: Rate) -> RateLimit:
    return RateLimit(rate, bot=name, coordination=shared.coordination, now=shared.now)


def _messages(shared: Shared, name: str, adapter: Adapter) -> Door:
    limits = shared.settings.host.limits
    rate = shared.settings.bots[name].rate
    inbox = Inbox(
        adapter,
        store=shared.store,
        leases=shared.leases,
        coordination=shared.coordination,
        tasks=shared.tasks,
        now=shared.now,
        new_id=shared.new_id,
        limits=limits,
        telemetry=shared.telemetry,
        sealing=_sealing(shared, b"inbound record"),
        rate=_limit(shared, name, rate) if rate else None,
    )
    shared.rounds.append(inbox.take_up)
    shared.measures.append(inbox.measure)
    app_id = shared.settings.bots[name].app_id
    return messages(
        name,
        guard=shared.guard,
        inbox=inbox,
        bot_app_id=app_id,
        answer_seconds=limits.answer_seconds,
    )


def _sealing(shared: Shared, purpose: bytes) -> Sealing:
    return Sealing(shared.keys, shared.settings.host.sealed, purpose=purpose)


def _adapter(shared: Shared, name: str, bot: Bot, handle: Handler, tokens: TokenSource) -> Adapter:
    cloud, limits = shared.settings.cloud, shared.settings.host.limits
    outbox = Outbox(
        name,
        store=shared.store,
        keys=shared.keys,
        connect=lambda audience: Connector(
            shared.send,
            tokens,
            audience,
            timeout=limits.channel_seconds,
            names_speaker=shared.lab,
        ),
        tasks=shared.tasks,
        leases=shared.leases,
        telemetry=shared.telemetry,
        new_id=shared.new_id,
        now=shared.now,
        seconds=limits.outbox_seconds,
    )
    shared.rounds.append(outbox.look)
    shared.measures.append(outbox.measure)
    adapter = Adapter(
        bot,
        name=name,
        handle=handle,
        store=shared.store,
        connect=outbox.channel,
        channel_scope=cloud.channel_scope,
        caller_id=cloud.caller_id,
        sealing=_sealing(shared, b"effect record"),
        new_id=shared.new_id,
        now=shared.now,
        call_seconds=max(limits.session_seconds, limits.total_seconds),
    )
    bot.speak_through(adapter.continue_conversation)
    return adapter

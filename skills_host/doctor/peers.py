"""Who answers where: skills, our own callback address; and what stands behind our own doors."""

from __future__ import annotations

from collections.abc import Iterable

from skills_host.auth.tokens import TokenSource
from skills_host.consumer.registry.compile import Skill
from skills_host.doctor.row import Health, Row
from skills_host.errors import (
    BadInput,
    SettingsError,
    SkillsHostError,
    TokenUnavailable,
    TransportFailed,
)
from skills_host.settings import Settings
from skills_host.store.address import shown_url
from skills_host.store.coordination import Coordination
from skills_host.store.records import Store
from skills_host.transport import Request, Response, Send
from skills_host.wire import decode

__all__ = ["callback_row", "coordination_row", "list_rows", "skill_row", "store_row"]

# Nothing acts on it: an activity without a type is refused, or passed over.
NOTHING = b"{}"
JSON = {"Content-Type": "application/json; charset=utf-8"}
SECONDS = 10.0


async def skill_row(root: str, skill: Skill, source: TokenSource | None, send: Send) -> Row:
    """Whether a skill lets our root in, and nobody else: asked twice, to do nothing."""
    where = f"skill {skill.name} for {root}"
    try:
        plain = await _posted(send, skill.endpoint, JSON)
        if (found := _unsigned(where, skill, plain)) is not None:
            return found
        if source is None:
            return Row(where, Health.SKIPPED, "", "the root's credential has to be mended first")
        token = await source.token(skill.app_id)
        bearer = {"Authorization": f"Bearer {token}"}
        return _signed(where, root, await _posted(send, skill.endpoint, JSON | bearer))
    except TokenUnavailable:
        return Row(where, Health.SKIPPED, "", "there is no token for it")
    except TransportFailed as exc:
        detail, fix = f"{skill.endpoint}: {exc}", "start it, or mend its endpoint"
        return Row(where, Health.FAILED, "skill-unreachable", detail, fix)


def _unsigned(where: str, skill: Skill, answer: Response) -> Row | None:
    """What an answer to a request without a token shows to be wrong."""
    if answer.status in (404, 405):
        detail = f"{skill.endpoint} answers {answer.status}"
        fix = "mend its endpoint: most skills have /api/messages"
        return Row(where, Health.FAILED, "skill-wrong-endpoint", detail, fix)
    if answer.ok:
        detail = f"it answers {answer.status} to a request without a token"
        fix = "switch the skill's authentication on: anybody can call it"
        return Row(where, Health.FAILED, "skill-without-authentication", detail, fix)
    return None


def _signed(where: str, root: str, answer: Response) -> Row:
    if answer.status == 401:
        detail = "it does not believe the root's token, or does not list the root"
        fix = "check its app id, its tenant's issuers, and its allowed callers"
        return Row(where, Health.FAILED, "skill-refuses-token", detail, fix)
    if answer.status == 403:
        fix = f"add the app id of {root} to the skill's allowed callers"
        return Row(where, Health.FAILED, "skill-refuses-caller", "the root is not listed", fix)
    # A bad request, and even a failure, come after the token was taken.
    return Row(where)


async def callback_row(name: str, settings: Settings, send: Send) -> Row:
    """Whether the address that skills are given leads to this very host."""
    where = f"callback address of {name}"
    prefix = "" if name == settings.default_bot else f"/bots/{name}"
    base = settings.host.public_url.rstrip("/")
    try:
        await send(Request("GET", f"http://{settings.host.bind}/healthz", timeout=SECONDS))
    except TransportFailed:
        detail = f"the host does not run at {settings.host.bind}"
        return Row(where, Health.SKIPPED, "", detail, "start it and ask again")
    url = f"{base}{prefix}/api/skills/v3/conversations/doctor/activities"
    try:
        answer = await _posted(send, url, JSON)
    except TransportFailed as exc:
        fix = "mend host.public_url, or what leads from there to this host"
        return Row(where, Health.FAILED, "callback-unreachable", f"{base}: {exc}", fix)
    if answer.status == 401 and _code(answer) == "no-header":
        return Row(where)
    detail = f"{base} answers {answer.status} in the words of something else"
    fix = "mend host.public_url: it leads elsewhere, or something stands before this host"
    return Row(where, Health.FAILED, "callback-wrong-host", detail, fix)


async def store_row(store: Store, url: str) -> Row:
    """Whether what the host remembers can be read and written."""
    where = "store"
    try:
        await store.open()
        try:
            await store.probe()
        finally:
            await store.close()
    except SettingsError as exc:
        return Row(where, Health.FAILED, "store-failed", str(exc), "mend store.url")
    except SkillsHostError as exc:
        fix = "look whether it is there, has room, and may be written"
        return Row(where, Health.FAILED, "store-failed", f"{shown_url(url)}: {exc}", fix)
    return Row(where)


async def coordination_row(coordination: Coordination) -> Row:
    """Whether other processes are reached; the host goes on without, only slower."""
    where = "coordination"
    await coordination.open()
    try:
        await coordination.probe()
    except SkillsHostError as exc:
        return Row(where, Health.WARNING, exc.code, str(exc), "look whether Redis runs there")
    finally:
        await coordination.close()
    return Row(where)


def list_rows(settings: Settings, skills: Iterable[Skill]) -> list[Row]:
    """A row for each bot: whether the right ones, and only they, may come in."""
    return [_list_row(name, settings, tuple(skills)) for name in settings.bots]


def _list_row(name: str, settings: Settings, skills: tuple[Skill, ...]) -> Row:
    bot, where = settings.bots[name], f"lists of {name}"
    if bot.allow_any_caller:
        fix = "list the app ids of those who call it"
        return Row(where, Health.WARNING, "anybody-may-call", "any bot may call it", fix)
    if bot.allow_emulator:
        fix = "leave allow_emulator out where others can reach the bot"
        return Row(where, Health.WARNING, "emulator-on", "an emulator may call it", fix)
    if bot.kind == "skill" and not bot.allowed_callers:
        fix = "list the app ids of its consumers in allowed_callers"
        return Row(where, Health.FAILED, "nobody-may-call", "no bot may call it", fix)
    if bot.kind == "root" and not skills:
        fix = "name its skills in [skills.NAME]"
        return Row(where, Health.WARNING, "no-skills", "it has no skills", fix)
    return Row(where)


async def _posted(send: Send, url: str, headers: dict[str, str]) -> Response:
    return await send(Request("POST", url, headers, NOTHING, SECONDS))


def _code(answer: Response) -> str:
    try:
        document = decode(answer.body)
        return str(document["error"]["code"])
    except (BadInput, KeyError, TypeError):
        return ""

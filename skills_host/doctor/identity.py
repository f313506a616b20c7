"""Who we are, and whom we believe: credentials, tokens, tenants, keys, clocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime

from skills_host.auth.certificates import EXPIRY_STEPS
from skills_host.auth.credentials import AnyCredential, ClientCertificate
from skills_host.auth.denials import DENIALS, Denied
from skills_host.auth.keys import SigningKeys
from skills_host.auth.pairing import pairing, party_of, peer_of
from skills_host.auth.tokens import TokenSource
from skills_host.configured import World, credential_in
from skills_host.consumer.registry.compile import Skill
from skills_host.doctor.row import Health, Row
from skills_host.errors import SettingsError, TokenUnavailable, TransportFailed
from skills_host.settings import Delivery, Settings
from skills_host.transport import Request, Send

__all__ = ["clock_row", "credential_rows", "keys_row", "pairing_rows", "token_row"]

CLOCK_WARNING = 60.0
CLOCK_BOUND = 300.0

# What the authority's numbers mean for whoever reads them here.
TOKEN_FIXES = {
    "7000215": "the secret is wrong: take its value, not its id, and mind its expiry",
    "7000222": "the secret has expired: make a new one",
    "700027": "upload the certificate to the app registration",
    "700016": "the app is not known in this tenant: check app_id and tenant",
    "90002": "there is no such tenant: check tenant",
    "500011": "the peer is not known in this tenant, or is a managed identity: see its pairing",
    "700213": "add the federated credential's subject to the app registration",
    "700211": "add the federated credential's issuer to the app registration",
}


def credential_rows(settings: Settings, world: World) -> tuple[list[Row], dict[str, AnyCredential]]:
    """A row for each bot's credential, and those that can be used."""
    rows: list[Row] = []
    usable: dict[str, AnyCredential] = {}
    for name, bot in settings.bots.items():
        where = f"credential of {name}"
        try:
            credential = credential_in(name, bot, settings, world, None)
        except SettingsError as exc:
            fix = "mend the setting that is named"
            rows.append(Row(where, Health.FAILED, "credential-unusable", str(exc), fix))
            continue
        usable[name] = credential
        rows.append(_expiry_row(where, credential, world.now()))
    return rows, usable


def _expiry_row(where: str, credential: AnyCredential, now: float) -> Row:
    if not isinstance(credential, ClientCertificate) or credential.certificate is None:
        return Row(where)
    days = credential.certificate.days_left(now)
    if days >= EXPIRY_STEPS[-1]:
        return Row(where)
    detail = f"the certificate expires in {days:.1f} days"
    fix = "make a new one (skills-host cert new), upload it, and replace the file"
    return Row(where, Health.WARNING, "credential-expires", detail, fix)


async def token_row(name: str, source: TokenSource, scope: str, *, what: str) -> Row:
    """Whether the bot `name` gets a token for `what`."""
    where = f"token of {name} for {what}"
    try:
        await source.token(scope)
    except TokenUnavailable as exc:
        if exc.reason is None:
            fix = "check cloud.login_url and the way to it"
            return Row(where, Health.FAILED, "authority-unreachable", str(exc), fix)
        fix = next(
            (text for number, text in TOKEN_FIXES.items() if f"AADSTS{number})" in exc.reason),
            "look the number up in Entra's table of errors",
        )
        return Row(where, Health.FAILED, "token-refused", exc.reason, fix)
    return Row(where)


def pairing_rows(settings: Settings, skills: Iterable[Skill]) -> list[Row]:
    """A row for each root and skill: whether their kinds of app can talk."""
    ours = {bot.app_id: party_of(bot) for bot in settings.bots.values()}
    shared = settings.cloud.shared_tenants
    rows = []
    for name, bot in settings.bots.items():
        for skill in skills if bot.kind == "root" else ():
            peer = ours.get(skill.app_id) or peer_of(skill.tenants, shared=shared)
            calls_back = skill.delivery is Delivery.NORMAL
            found = pairing(party_of(bot), peer, calls_back=calls_back)
            where = f"pairing of {name} and {skill.name}"
            health = Health.FAILED if found.code else Health.OK
            rows.append(Row(where, health, found.code, found.why, found.fix))
    return rows


async def keys_row(keys: SigningKeys, what: str, url: str) -> Row:
    """Whether an authority's signing keys can be had, and used."""
    where = f"signing keys of {what}"
    try:
        await keys.warm(url)
    except Denied as exc:
        code = DENIALS[exc.code]
        return Row(where, Health.FAILED, exc.code, f"{url}: {code.meaning}", code.fix)
    except SettingsError as exc:
        return Row(where, Health.FAILED, exc.code, str(exc), "name a public authority in [cloud]")
    return Row(where)


async def clock_row(send: Send, url: str, world: World) -> Row:
    """How far our clock is from that of the authority, as its answers say."""
    where = "clock"
    try:
        answer = await send(Request("GET", url, timeout=5.0))
        theirs = _date(answer.headers)
    except (TransportFailed, ValueError, TypeError):
        return Row(where, Health.SKIPPED, "", "the authority does not say what time it is")
    apart = abs(world.now() - theirs)
    if apart < CLOCK_WARNING:
        return Row(where)
    health = Health.FAILED if apart >= CLOCK_BOUND else Health.WARNING
    detail = f"this machine and the authority are {apart:.0f} s apart; tokens allow 300"
    return Row(where, health, "clock-wrong", detail, "let this machine take its time from NTP")


def _date(headers: Mapping[str, str]) -> float:
    return parsedate_to_datetime(headers.get("date", "")).timestamp()

"""Every way in which a token or a caller can be wrong, over the real doors, each with its code.

No answer is a 500, and nothing that a token says is in an answer or a log.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from skills_host.auth.denials import DENIALS
from skills_host.transport import Request
from tests.world import CONSOLE, IDS, ROOT, SKILLS, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARK = "marked-claim-7f3a"
"""A value that no answer and no log may show."""

FOREIGN = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FAR = "c0000000-0000-4000-8000-0000000000ff"
MESSAGES = f"{ROOT}/api/messages"
ECHO = f"{SKILLS['echo']}/api/messages"
Make = Callable[[Town], dict[str, str]]


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def skill_token(**claims: Any) -> Make:
    """A token of the echo skill for the root, signed by the lab, with these claims changed."""
    return lambda town: town.bearer("echo", sub=MARK, **claims)


def channel_token(**claims: Any) -> Make:
    return lambda town: town.channel_bearer(sub=MARK, **claims)


def claims_of(town: Town) -> dict[str, Any]:
    token = town.authority.app_token(client_id=IDS["echo"], audience=IDS["root"], sub=MARK)
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def headed(key: Any = None, **header: Any) -> Make:
    """A good token but for its header; signed with the lab's key unless another is given."""

    def make(town: Town) -> dict[str, str]:
        ring = town.authority._entra
        kid, own = ring._keys[1]
        algorithm = header.get("alg", "RS256")
        given = {"kid": kid} | {name: value for name, value in header.items() if name != "alg"}
        whole = {name: value for name, value in given.items() if value is not None}
        return bearer(jwt.encode(claims_of(town), key or own, algorithm=algorithm, headers=whole))

    return make


def raw(header: object, claims: object = None, signature: str = "AAAA") -> Make:
    """A token that no library would make."""

    def make(town: Town) -> dict[str, str]:
        kid = town.authority._entra.kid
        first = {"kid": kid} | header if isinstance(header, dict) else header
        second = claims_of(town) if claims is None else claims
        return bearer(f"{encoded(first)}.{encoded(second)}.{signature}")

    return make


def signed(**claims: Any) -> Make:
    """A good token but for claims that no library would sign."""

    def make(town: Town) -> dict[str, str]:
        kid, key = town.authority._entra._keys[1]
        payload = json.dumps(claims_of(town) | claims).encode()
        return bearer(jwt.api_jws.encode(payload, key, "RS256", headers={"kid": kid}))

    return make


def symmetric(town: Town) -> dict[str, str]:
    """A token whose signature is made with the public key as a secret."""
    ring = town.authority._entra
    head = encoded({"alg": "HS256", "kid": ring.kid, "typ": "JWT"})
    signed = f"{head}.{encoded(claims_of(town))}"
    modulus = json.dumps(ring.jwks()[1]).encode()
    mac = hmac.digest(modulus, signed.encode(), hashlib.sha256)
    return bearer(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def changed(town: Town) -> dict[str, str]:
    """A good token whose claims were changed afterwards."""
    token = town.bearer("stranger")["Authorization"].split()[1]
    head, _, signature = token.split(".")
    return bearer(f"{head}.{encoded(claims_of(town))}.{signature}")


def header(value: str | None) -> Make:
    given = {} if value is None else {"Authorization": value}
    return lambda _: {**given, "Content-Type": "application/json"}


@dataclass(frozen=True)
class Fault:
    """What is sent where, and the code it is refused with."""

    code: str
    make: Make
    url: str = "skill host"
    body: dict[str, Any] | None = None


SEVEN: Any = 7
FAULTS: dict[str, Fault] = {
    "no header": Fault("no-header", header(None)),
    "an empty header": Fault("no-header", header("")),
    "a password": Fault("bad-scheme", header("Basic bWFya2VkLWNsYWltLTdmM2E=")),
    "a token without its scheme": Fault("bad-scheme", header("a.b.c")),
    "two tokens": Fault("bad-scheme", header("Bearer a.b.c d.e.f")),
    "a token of 17 KB": Fault("token-too-long", header("Bearer " + "a" * 17 * 1024)),
    "two parts": Fault("malformed-token", header("Bearer a.b")),
    "no JSON in its header": Fault("malformed-token", header("Bearer a.b.c")),
    "a list for a header": Fault("malformed-token", raw([])),
    "a list for its claims": Fault("malformed-token", raw({"alg": "RS256"}, [])),
    "no key id": Fault("malformed-token", headed(kid=None)),
    "a key id of another type": Fault("malformed-token", raw({"alg": "RS256", "kid": 7})),
    "a key id of a kilobyte": Fault("malformed-token", headed(kid="k" * 1024)),
    "no algorithm": Fault("algorithm", raw({"alg": "none"}, signature="")),
    "no algorithm, in another case": Fault("algorithm", raw({"alg": "nOnE"}, signature="")),
    "the public key as a secret": Fault("algorithm", symmetric),
    "a longer digest": Fault("algorithm", headed(alg="RS512")),
    "another padding": Fault("algorithm", headed(alg="PS256")),
    "an algorithm that is no text": Fault("algorithm", raw({"alg": ["RS256"]})),
    "a critical extension": Fault("critical-header", headed(crit=["b64"], b64=True)),
    "a key that nobody published": Fault("unknown-key", headed(FOREIGN, kid="strange")),
    "a channel's key id": Fault(
        "unknown-key",
        lambda town: headed(FOREIGN, kid=town.authority._channel.kid)(town),
    ),
    "a signature of another key": Fault("signature", headed(FOREIGN)),
    "claims that were changed": Fault("signature", changed),
    "no signature": Fault("signature", raw({"alg": "RS256"}, signature="")),
    "expired": Fault("expired", skill_token(lifetime=-301)),
    "expired long ago": Fault("expired", skill_token(exp=0)),
    "not valid before tomorrow": Fault("not-yet-valid", skill_token(nbf=4_000_000_000)),
    "no end": Fault("bad-claim", skill_token(exp=None)),
    "an end that is text": Fault("bad-claim", skill_token(exp="4000000000")),
    "a beginning that is a list": Fault("bad-claim", skill_token(nbf=[0])),
    "an issuer that nobody knows": Fault("issuer", skill_token(iss=f"https://{MARK}/")),
    "an issuer with one slash more": Fault(
        "issuer",
        lambda town: town.bearer("echo", iss=claims_of(town)["iss"] + "/", sub=MARK),
    ),
    "an issuer of a tenant that is not believed": Fault("issuer", skill_token(tenant=FAR)),
    "no issuer": Fault("issuer", skill_token(iss=None)),
    "an issuer that is a number": Fault("bad-claim", signed(iss=7)),
    "a tenant that is not the issuer's": Fault("tenant-binding", skill_token(tid=FAR)),
    "no tenant": Fault("tenant-binding", skill_token(tid=None)),
    "another bot's token": Fault("audience", skill_token(aud=IDS["booking"])),
    "no audience": Fault("audience", skill_token(aud=None)),
    "an audience with a scheme": Fault("audience", skill_token(aud=f"api://{IDS['root']}")),
    "the channels' audience": Fault("audience", skill_token(aud="https://api.botframework.com")),
    "two audiences": Fault("several-audiences", skill_token(aud=[IDS["root"], MARK])),
    "an audience that is a number": Fault("bad-claim", skill_token(aud=SEVEN)),
    "no version": Fault("version", skill_token(ver=None)),
    "an unknown version": Fault("version", skill_token(ver="3.0")),
    "a version that is a number": Fault("bad-claim", skill_token(ver=SEVEN)),
    "no app id": Fault("no-app-id", skill_token(azp=None)),
    "an app id in the other version's claim": Fault(
        "no-app-id", skill_token(azp=None, appid=IDS["echo"])
    ),
    "an app id that is no UUID": Fault("no-app-id", skill_token(azp=MARK)),
    "an app id that is a list": Fault("bad-claim", skill_token(azp=[IDS["echo"]])),
    "the name of no authentication": Fault("anonymous-off", skill_token(azp="AnonymousSkill")),
    "a user's token": Fault("user-token", skill_token(scp=MARK)),
    "a token that says it is a user's": Fault("user-token", skill_token(idtyp="user")),
    "the root's own token": Fault("not-a-skill", skill_token(azp=IDS["root"])),
    "a channel's token at the skill host": Fault("not-a-skill", channel_token()),
    "a stranger at the skill host": Fault("skill-not-allowed", lambda t: t.bearer("stranger")),
    "a stranger at a root": Fault("caller-not-allowed", lambda t: t.bearer("stranger"), MESSAGES),
    "a skill at a root": Fault("caller-not-allowed", lambda t: t.bearer("echo"), MESSAGES),
    "a stranger at a skill": Fault(
        "caller-not-allowed", lambda t: t.bearer("stranger", audience="echo"), ECHO
    ),
    "the root's own token at the root": Fault("emulator-off", lambda t: t.bearer("root"), MESSAGES),
    "a channel's token for another bot": Fault(
        "audience", channel_token(audience="echo"), MESSAGES
    ),
    "a channel's token that expired": Fault("expired", channel_token(lifetime=-301), MESSAGES),
    "a channel's token of a user": Fault("user-token", channel_token(scp=MARK), MESSAGES),
    "a channel's token without an address": Fault(
        "service-url", channel_token(serviceurl=None), MESSAGES, {"serviceUrl": CONSOLE}
    ),
    "a channel's token for another address": Fault(
        "service-url", channel_token(), MESSAGES, {"serviceUrl": f"https://{MARK}.example"}
    ),
    "an address that is not there": Fault("service-url", channel_token(), MESSAGES, {}),
    "a channel that the key does not speak for": Fault(
        "endorsement",
        channel_token(),
        MESSAGES,
        {"serviceUrl": CONSOLE, "channelId": "fax"},
    ),
    "another skill's conversation": Fault("not-conversation-owner", lambda t: t.bearer("booking")),
}

# What neither token nor header nor the first activity can cause; each has a test elsewhere.
ELSEWHERE = {
    "not-activity-owner": "tests/test_refusals.py",
    "operation-refused": "tests/consumer",
    "other-tenant": "tests/consumer",
    "forwarded-in-lab": "tests/test_refusals.py",
    "keys-unavailable": "tests/auth/test_verify.py",
    "metrics-token": "tests/web/test_metrics.py",
    "skill-revoked": "tests/consumer/registry/test_live.py",
    "skill-draining": "tests/consumer/registry/test_live.py",
    "skill-suspended": "tests/consumer/registry/test_live.py",
    "activity-not-declared": "tests/consumer/registry/test_live.py",
    "admin-token": "tests/admin/test_principals.py",
    "admin-token-expired": "tests/admin/test_principals.py",
    "admin-token-revoked": "tests/admin/test_principals.py",
    "admin-throttled": "tests/admin/test_principals.py",
    "admin-role": "tests/web/admin/test_roles.py",
}


def said(town: Town, members: dict[str, Any] | None) -> bytes:
    if members is None:
        return json.dumps({"type": "message", "text": MARK}).encode()
    usual = town.console.activity(MARK, user="ann", conversation="c1")
    del usual["serviceUrl"]
    return json.dumps(usual | members).encode()


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_refused_with_its_code(
    shared_town: Town, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    town, fault = shared_town, FAULTS[name]
    await town.say("echo", conversation="faults")
    host = f"{ROOT}/api/skills/v3/conversations/{town.handle('echo')}/activities"
    await town.say("cancel", conversation="faults")
    await town.say("echo", conversation="faults")
    host = f"{ROOT}/api/skills/v3/conversations/{town.handle('echo')}/activities"
    headers = fault.make(town)
    caplog.clear()
    url = host if fault.url == "skill host" else fault.url
    answer = await town.send(Request("POST", url, headers, said(town, fault.body), 20))
    error = json.loads(answer.body)["error"]
    shown = f"{answer.body.decode()} {dict(answer.headers)} {caplog.text}"

    assert (error["code"], answer.status) == (fault.code, DENIALS[fault.code].status)
    assert MARK not in shown
    for secret in headers.get("Authorization", "").split()[1:]:
        assert not [part for part in secret.split(".") if len(part) > 8 and part in shown]


async def test_every_code_is_caused_by_a_fault() -> None:
    assert {fault.code for fault in FAULTS.values()} == DENIALS.keys() - ELSEWHERE.keys()
    assert len(FAULTS) >= 40

"""What this host would decide about a token, rule by rule, by the rules that decide.

For an operator's own terminal: findings hold claims, never the token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from skills_host.auth.claims import Identity
from skills_host.auth.denials import DECIDED_BY, DENIALS, Denied
from skills_host.auth.keys import SigningKey
from skills_host.auth.verify import (
    Door,
    ParsedToken,
    Verifier,
    bearer_token,
    check_signature,
    parsed_token,
)

__all__ = ["Finding", "explained"]

Verdict = Literal["passed", "refused", "not checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule and what came of it; `code` is the refusal's, and empty where there is none."""

    rule: str
    verdict: Verdict
    code: str = ""
    expected: str = ""
    seen: str = ""

    @property
    def setting(self) -> str:
        """The setting that decides, if there is one."""
        return DECIDED_BY.get(self.code, "")

    @property
    def fix(self) -> str:
        """What can be done about a refusal."""
        return DENIALS[self.code].fix if self.code else ""


async def explained(
    verifier: Verifier, token: str, *, door: Door, bot_app_id: str, with_keys: bool = True
) -> tuple[Finding, ...]:
    """Every rule about a token for our bot at a door, in the order in which they decide.

    The rules about claims are all tried, whatever came of those before. Without `with_keys` no
    authority is asked, and the signature is not checked.
    """
    findings: list[Finding] = []
    header = await _tried(findings, "header", lambda: bearer_token(f"Bearer {token}"))
    parsed = await _tried(findings, "form", lambda: parsed_token(token)) if header else None
    if not isinstance(parsed, ParsedToken):
        return tuple(findings)
    channel = await _tried(findings, "rule set", lambda: verifier.is_channel(parsed.claims, door))
    is_channel = channel is True
    key = await _signed(findings, verifier, token, parsed, is_channel, with_keys)
    rules = verifier.rules(parsed.claims, is_channel=is_channel, bot_app_id=bot_app_id)
    before = len(findings)
    for rule in rules:
        await _tried(findings, rule.name, rule.check)
    if any(finding.verdict == "refused" for finding in findings[before:]):
        findings.append(Finding("list", "not checked"))
    else:
        await _tried(findings, "list", lambda: verifier.identified(parsed, key, door, bot_app_id))
    return tuple(findings)


async def _signed(
    findings: list[Finding],
    verifier: Verifier,
    token: str,
    parsed: ParsedToken,
    is_channel: bool,
    with_keys: bool,
) -> SigningKey | None:
    if not with_keys:
        findings += [Finding("signing key", "not checked"), Finding("signature", "not checked")]
        return None

    async def found() -> SigningKey:
        return await verifier.signing_key(parsed, is_channel=is_channel)

    key = await _tried(findings, "signing key", found)
    if not isinstance(key, SigningKey):
        findings.append(Finding("signature", "not checked"))
        return None
    await _tried(findings, "signature", lambda: check_signature(token, key))
    return key


async def _tried(
    findings: list[Finding], rule: str, check: Callable[[], Any | Awaitable[Any]]
) -> Any:
    """What the check gives, noted; None where it refuses."""
    try:
        found = check()
        if isinstance(found, Awaitable):
            found = await found
    except Denied as exc:
        findings.append(Finding(rule, "refused", exc.code, exc.expected, exc.seen))
        return None
    findings.append(Finding(rule, "passed", seen=_words(found)))
    return found


def _words(found: Any) -> str:
    """What a rule found, where that says something and is no secret."""
    match found:
        case bool():
            return "channel" if found else "skill"
        case Identity():
            return found.kind if found.kind != "skill" else f"skill {found.app_id}"
        case SigningKey():
            return found.kid
        case float():
            return f"until {found:.0f}"
        case tuple():
            return " ".join(map(str, found))
    return ""

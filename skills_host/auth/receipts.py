"""What an operator is told of a refusal: a receipt, found by the id that the caller was given."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields

from skills_host.auth.denials import DECIDED_BY, DENIALS, UNSIGNED, Denied
from skills_host.wire import decode, encode

__all__ = ["KINDS", "Receipt", "is_receipt_id", "kind_of", "receipt_id", "receipt_of", "shown"]

ID = re.compile(r"[0-9]{13}-[0-9a-f]{8}")
KINDS = ("denial", "denial-unsigned")
"""The kinds of record that receipts are: of those who proved who they are, and of anybody."""

SHOWN = 200
TOKEN_LIKE = re.compile(r"eyJ[A-Za-z0-9_.-]*|[A-Za-z0-9_-]{40,}")

# In these, what was seen is the app id of a caller whose signature is good.
_NAMES_CALLER = ("caller-not-allowed", "skill-not-allowed")


@dataclass(frozen=True, slots=True)
class Receipt:
    """One refusal: `at` in seconds since the epoch, `caller` an app id or an address.

    `expected` and `seen` are the operator's alone, and never hold a token. `repeated` counts the
    refusals of the same caller with the same code that have no receipt of their own.
    """

    id: str
    at: float
    code: str
    door: str
    caller: str
    expected: str = ""
    seen: str = ""
    repeated: int = 0

    @property
    def status(self) -> int:
        """The HTTP status that the caller was answered with."""
        return DENIALS[self.code].status

    @property
    def setting(self) -> str:
        """The setting that decides, or what stands in its place."""
        return DECIDED_BY.get(self.code, "none: it holds for everybody")

    @property
    def beyond(self) -> int | None:
        """By how many seconds two clocks differ more than is allowed; None for other codes."""
        bound = self.expected.rpartition(" ")[2]
        if self.code not in ("expired", "not-yet-valid") or not (
            bound.isdigit() and self.seen.isdigit()
        ):
            return None
        return abs(int(self.seen) - int(bound))

    def encode(self) -> bytes:
        """The receipt as it is stored, under its id."""
        return encode(asdict(self))

    @classmethod
    def parse(cls, body: bytes) -> Receipt:
        """The receipt from its own `encode()`; members of another version are left."""
        stored = decode(body)
        return cls(**{field.name: stored[field.name] for field in fields(cls)})


def receipt_id(at: float, random: str) -> str:
    """The id of a receipt: milliseconds since the epoch and 8 hex digits, so that ids sort."""
    return f"{int(at * 1000):013d}-{random[:8]}"


def is_receipt_id(text: str) -> bool:
    """True for what `receipt_id` gives. Pure."""
    return ID.fullmatch(text) is not None


def kind_of(code: str) -> str:
    """The kind of record that a receipt with this code is."""
    return KINDS[code in UNSIGNED]


def receipt_of(error: Denied, *, id: str, at: float, door: str, caller: str) -> Receipt:
    """The receipt of a refusal at `door` of a `caller`: an app id, or an address."""
    caller = error.seen if error.code in _NAMES_CALLER and error.seen else caller
    return Receipt(
        id, at, error.code, door, shown(caller), shown(error.expected), shown(error.seen)
    )


def shown(text: str) -> str:
    """Text of a caller as it may be kept and printed: short, in one line, and without a token."""
    plain = TOKEN_LIKE.sub("(hidden)", text[: 2 * SHOWN])
    return "".join(c if c.isprintable() else "?" for c in plain)[:SHOWN]

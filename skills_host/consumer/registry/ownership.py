"""Whose a manifest and an app id are: what an approver has to let pass, and what nobody may."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from skills_host.consumer.registry.intake import same_origin
from skills_host.consumer.registry.ledger import Ledger, claim_key
from skills_host.consumer.registry.lifecycle import is_usable
from skills_host.consumer.registry.records import CLAIM, Operating, Revision, Waiver
from skills_host.errors import RegistryRefused
from skills_host.store.records import Change, Put

__all__ = ["check_ownership", "check_waivers", "claims_of", "needed_waivers"]

_WAIVED: Mapping[Waiver, str] = MappingProxyType(
    {
        Waiver.ORIGIN: "the manifest is from another origin than the endpoint",
        Waiver.APP_ID: "another skill in use has the same app id",
    }
)


async def check_ownership(ledger: Ledger, revision: Revision, *, own: frozenset[str]) -> None:
    """Raise `RegistryRefused` for an app id of ours (`own-app-id`), and for a manifest id that
    belongs to another publisher's skill (`manifest-conflict`)."""
    if revision.binding is None or revision.manifest is None:
        return
    if revision.binding.app_id in own:
        raise RegistryRefused(code="own-app-id")
    claims = await ledger.claims("id", revision.manifest.id)
    others = {name for name, publisher in claims.items() if name != revision.skill}
    strangers = {name for name in others if claims[name] != revision.manifest.publisher}
    holding = await ledger.some(sorted(strangers))
    taken = [
        record.name for record in holding.values() if record.operating is not Operating.RETIRED
    ]
    if taken:
        raise RegistryRefused(f"$id: it is that of {taken[0]}", code="manifest-conflict")


async def needed_waivers(ledger: Ledger, revision: Revision) -> tuple[Waiver, ...]:
    """What an approver of this revision has to let pass."""
    binding = revision.binding
    if binding is None:
        return ()
    needed = [] if same_origin(revision.source, binding.url) else [Waiver.ORIGIN]
    claims = await ledger.claims("app", binding.app_id)
    others = await ledger.some(sorted(name for name in claims if name != revision.skill))
    if any(map(is_usable, others.values())):
        needed.append(Waiver.APP_ID)
    return tuple(needed)


def check_waivers(needed: tuple[Waiver, ...], given: tuple[Waiver, ...]) -> None:
    """Raise `RegistryRefused` (`waiver-needed`) where one is not given."""
    missing = [f"{waiver}: {_WAIVED[waiver]}" for waiver in needed if waiver not in given]
    if missing:
        raise RegistryRefused("; ".join(missing), code="waiver-needed")


def claims_of(revision: Revision) -> list[Change]:
    """The changes that note which manifest id and app id a skill has."""
    if revision.binding is None or revision.manifest is None:
        return []
    name, publisher = revision.skill, revision.manifest.publisher
    values = {"id": revision.manifest.id, "app": revision.binding.app_id}
    body = f"{name}\n{publisher}".encode()
    return [Put(CLAIM, claim_key(what, value, name), body) for what, value in values.items()]

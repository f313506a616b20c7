from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from skills_host.consumer.registry.changes import ChangeClass
from skills_host.consumer.registry.lifecycle import Standing, standing_of
from skills_host.consumer.registry.records import (
    ENDING,
    Actor,
    Grant,
    Operating,
    Order,
    Role,
    Trust,
    Waiver,
)
from skills_host.consumer.registry.registry import InvalidManifest
from skills_host.errors import NotRegistered, RegistryRefused, VersionConflict
from skills_host.store.records import Store
from tests.consumer.registry.shelf import (
    APPROVER,
    AUTHOR,
    ECHO,
    OTHER,
    OWN,
    approved,
    endpoint,
    manifest,
    registry_on,
    submission,
)


async def test_a_skill_runs_once_it_is_approved(store: Store) -> None:
    registry = registry_on(store)
    added = await registry.add("echo", submission(), order=AUTHOR)
    submitted = await registry.submit("echo", order=AUTHOR)

    after = await registry.approve("echo", order=APPROVER)

    assert [standing_of(one) for one in (added.skill, submitted)] == [Standing.UNKNOWN] * 2
    assert standing_of(after) is Standing.RUNNING
    assert (after.active, after.version) == (added.revision.digest, 3)
    assert (await registry.ledger.skill("echo")) == after


async def test_the_raw_bytes_are_kept_with_their_digests(store: Store) -> None:
    registry = registry_on(store)
    sent = submission()

    revision = (await registry.add("echo", sent, order=AUTHOR)).revision

    assert await registry.ledger.blob("echo", revision.sha256) == sent.raw
    assert await registry.ledger.revision("echo", revision.digest) == revision


async def test_a_changed_manifest_does_not_change_what_runs(store: Store) -> None:
    registry = registry_on(store)
    first = await approved(registry)

    sent = submission(manifest(endpoints=endpoint(endpointUrl="https://echo.example/other")))
    found = await registry.revise("echo", sent, order=AUTHOR, submit=True)

    assert found.change is ChangeClass.SECURITY
    assert found.skill.active == first
    assert found.skill.revisions[-1].trust is Trust.PENDING


async def test_an_approval_supersedes_and_a_rollback_goes_back(store: Store) -> None:
    registry = registry_on(store)
    first = await approved(registry)
    sent = submission(manifest(description="Another text"))
    second = (await registry.revise("echo", sent, order=AUTHOR, submit=True)).revision.digest
    await registry.approve("echo", order=APPROVER)

    after = await registry.rollback("echo", order=APPROVER)

    assert after.active == first
    trusts = {state.digest: state.trust for state in after.revisions}
    assert trusts == {first: Trust.APPROVED, second: Trust.SUPERSEDED}


async def test_a_revoked_revision_never_runs_again(store: Store) -> None:
    registry = registry_on(store)
    digest = await approved(registry)
    after = await registry.revoke("echo", order=APPROVER)

    with pytest.raises(RegistryRefused) as rolled:
        await registry.rollback("echo", digest, order=APPROVER)
    with pytest.raises(RegistryRefused) as again:
        await registry.revise("echo", submission(manifest()), order=AUTHOR)

    assert standing_of(after) is Standing.REVOKED
    assert [rolled.value.code, again.value.code] == ["wrong-state"] * 2
    assert len(await store.claim(ENDING, until=2000, limit=9)) == 1


async def test_a_manifest_with_errors_is_not_registered(store: Store) -> None:
    with pytest.raises(InvalidManifest) as refused:
        await registry_on(store).add("echo", submission(manifest(endpoints=[])), order=AUTHOR)

    assert refused.value.code == "manifest-invalid"
    assert refused.value.findings


async def test_a_revision_with_errors_is_kept_and_cannot_be_submitted(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)
    sent = submission(manifest(endpoints=[]))

    found = await registry.revise("echo", sent, order=AUTHOR, submit=True)

    assert found.skill.revisions[-1].trust is Trust.INVALID
    with pytest.raises(RegistryRefused):
        await registry.submit("echo", found.revision.digest, order=AUTHOR)


async def test_bytes_that_are_not_the_expected_ones_are_refused(store: Store) -> None:
    with pytest.raises(RegistryRefused) as refused:
        await registry_on(store).add("echo", submission(), order=AUTHOR, sha256="00")

    assert refused.value.code == "digest-mismatch"


async def test_a_manifest_from_elsewhere_needs_a_waiver_that_is_recorded(store: Store) -> None:
    registry = registry_on(store)
    sent = submission(source="https://elsewhere.example/manifest.json")
    await registry.add("echo", sent, order=AUTHOR, submit=True)

    with pytest.raises(RegistryRefused) as refused:
        await registry.approve("echo", order=APPROVER)
    after = await registry.approve("echo", order=APPROVER, waivers=[Waiver.ORIGIN])

    assert (refused.value.code, "origin" in str(refused.value)) == ("waiver-needed", True)
    approval = after.revisions[0].approval
    assert approval is not None and approval.waivers == (Waiver.ORIGIN,)
    assert (await registry.ledger.entries())[-1].details["waivers"] == "origin"


async def test_a_shared_app_id_needs_a_waiver(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)
    sent = submission(manifest("other"), source="upload")
    await registry.add("other", sent, order=AUTHOR, submit=True)

    with pytest.raises(RegistryRefused) as refused:
        await registry.approve("other", order=APPROVER)

    assert (refused.value.code, "app-id" in str(refused.value)) == ("waiver-needed", True)
    assert await registry.approve("other", order=APPROVER, waivers=[Waiver.APP_ID])


async def test_two_approvals_at_once_do_not_share_an_app_id_unseen(store: Store) -> None:
    registry = registry_on(store)
    for name in ("one", "two"):
        sent = submission(manifest(name), source="upload")
        await registry.add(name, sent, order=AUTHOR, submit=True)

    found = await asyncio.gather(
        *(registry.approve(name, order=APPROVER) for name in ("one", "two")),
        return_exceptions=True,
    )

    refused = [one for one in found if isinstance(one, RegistryRefused)]
    assert [one.code for one in refused] == ["waiver-needed"]


async def test_an_id_of_another_publisher_is_refused(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)
    changed = manifest(publisherName="somebody", endpoints=endpoint(msAppId=OTHER))

    with pytest.raises(RegistryRefused) as refused:
        await registry.add("mine", submission(changed), order=AUTHOR)

    assert refused.value.code == "manifest-conflict"


async def test_an_app_id_of_our_own_bots_is_refused(store: Store) -> None:
    with pytest.raises(RegistryRefused) as refused:
        await registry_on(store).add(
            "echo", submission(manifest(endpoints=endpoint(msAppId=OWN))), order=AUTHOR
        )

    assert refused.value.code == "own-app-id"


@pytest.mark.parametrize(
    "registration",
    [
        {"endpoint": "https://evil.example"},
        {"app_id": ECHO},
        {"manifest": "/etc/passwd"},
        {"no_such_member": 1},
        {"seconds": -1},
    ],
)
async def test_a_registration_that_is_not_sound_is_refused(
    store: Store, registration: dict[str, Any]
) -> None:
    with pytest.raises(RegistryRefused) as refused:
        await registry_on(store).add("echo", submission(**registration), order=AUTHOR)

    assert refused.value.code == "bad-registration"


async def test_who_submitted_may_not_approve_with_four_eyes(store: Store) -> None:
    registry = registry_on(store, four_eyes=True)
    await registry.add("echo", submission(), order=AUTHOR, submit=True)

    with pytest.raises(RegistryRefused) as refused:
        await registry.approve("echo", order=AUTHOR)

    assert refused.value.code == "four-eyes"
    assert await registry.approve("echo", order=APPROVER)


async def test_a_verb_needs_its_role(store: Store) -> None:
    registry = registry_on(store)
    author = Order(Actor("eve", frozenset({Role.AUTHOR})))
    await registry.add("echo", submission(), order=author, submit=True)

    with pytest.raises(RegistryRefused) as refused:
        await registry.approve("echo", order=author)

    assert refused.value.code == "role-refused"


async def test_two_who_approve_different_revisions_at_once_do_not_both_win(store: Store) -> None:
    registry = registry_on(store)
    digests = [await approved(registry)]
    for text in ("one", "two"):
        sent = submission(manifest(description=text))
        revised = await registry.revise("echo", sent, order=AUTHOR, submit=True)
        digests.append(revised.revision.digest)
    seen = replace(APPROVER, expects=(await registry.ledger.skill("echo")).version)

    found = await asyncio.gather(
        *(registry.approve("echo", digest, order=seen) for digest in digests[1:]),
        return_exceptions=True,
    )

    conflicts = [one for one in found if isinstance(one, VersionConflict)]
    assert [one.code for one in conflicts] == ["version-conflict"]
    assert (await registry.ledger.verify()).epoch == 5


async def test_changes_to_different_skills_at_once_all_happen(store: Store) -> None:
    registry, second = registry_on(store), registry_on(store)
    names = [f"skill-{n}" for n in range(6)]
    sent = {name: submission(manifest(name), source="upload") for name in names}

    await asyncio.gather(
        *(
            one.add(name, sent[name], order=AUTHOR)
            for one, name in zip([registry, second] * 3, names, strict=True)
        )
    )

    assert [record.name for record in await registry.ledger.skills()] == names
    assert (await registry.ledger.verify()).epoch == 6


async def test_a_dry_run_checks_and_changes_nothing(store: Store) -> None:
    registry = registry_on(store)
    dry = replace(AUTHOR, dry_run=True)

    found = await registry.add("echo", submission(), order=dry, submit=True)

    assert found.skill.revisions[0].trust is Trust.PENDING
    assert await registry.ledger.skills() == []
    assert (await registry.ledger.head()).epoch == 0
    with pytest.raises(RegistryRefused):
        await registry.add("echo", submission(manifest(endpoints=[])), order=dry)


async def test_a_skill_in_use_is_not_removed_and_then_leaves_nothing_but_the_trail(
    store: Store,
) -> None:
    registry = registry_on(store)
    digest = await approved(registry)

    with pytest.raises(RegistryRefused):
        await registry.remove("echo", order=AUTHOR)
    await registry.retire("echo", order=AUTHOR)
    await registry.remove("echo", order=AUTHOR)

    assert await registry.ledger.skills() == []
    assert await registry.ledger.revisions([("echo", digest)]) == []
    assert await registry.ledger.claims("app", ECHO) == {}
    assert [entry.verb for entry in await registry.ledger.entries()] == [
        "add",
        "approve",
        "retire",
        "remove",
    ]


async def test_retired_is_for_good_and_draining_is_not(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)

    drained = await registry.drain("echo", order=AUTHOR)
    enabled = await registry.enable("echo", order=AUTHOR)
    await registry.retire("echo", order=AUTHOR)

    assert [standing_of(drained), standing_of(enabled)] == [Standing.DRAINING, Standing.RUNNING]
    assert enabled.operating is Operating.ENABLED
    with pytest.raises(RegistryRefused):
        await registry.enable("echo", order=AUTHOR)


async def test_a_quarantine_ends_only_by_a_release(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)
    held = await registry.quarantine("echo", order=replace(AUTHOR, reason="odd answers"))
    enabled = await registry.enable("echo", order=AUTHOR)

    released = await registry.release("echo", order=AUTHOR)

    assert held.quarantine == "odd answers"
    assert [standing_of(one) for one in (held, enabled)] == [Standing.SUSPENDED] * 2
    assert standing_of(released) is Standing.RUNNING


async def test_the_last_grant_stays(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)
    grant = Grant(channels=("msteams",))
    await registry.grant("echo", grant, order=AUTHOR)

    with pytest.raises(RegistryRefused) as refused:
        await registry.ungrant("echo", grant, order=AUTHOR)
    await registry.grant("echo", Grant(), order=AUTHOR)
    after = await registry.ungrant("echo", grant, order=AUTHOR)

    assert refused.value.code == "last-grant"
    assert after.grants == (Grant(),)


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    registry = registry_on(store)

    for verb in (registry.enable, registry.submit, registry.approve, registry.remove):
        with pytest.raises(NotRegistered) as missing:
            await verb("nothing", order=AUTHOR)
        assert (missing.value.code, missing.value.status) == ("not-registered", 404)


async def test_a_name_is_registered_once(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)

    with pytest.raises(RegistryRefused) as refused:
        await registry.add("echo", submission(), order=AUTHOR)

    assert refused.value.code == "already-registered"


async def test_what_is_done_again_is_no_deed(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)
    before = (await registry.ledger.head()).epoch

    await registry.enable("echo", order=AUTHOR)
    await registry.revise("echo", submission(manifest()), order=AUTHOR)

    assert (await registry.ledger.head()).epoch == before

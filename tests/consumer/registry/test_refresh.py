"""Manifests sent in from an address, and looked at again there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest

from skills_host.consumer.manifest.fetch import Fetcher
from skills_host.consumer.manifest.lu import LanguageText
from skills_host.consumer.manifest.readers import read
from skills_host.consumer.registry.bundle import bundle_of, submissions_in
from skills_host.consumer.registry.changes import ChangeClass
from skills_host.consumer.registry.live import LiveCatalogue
from skills_host.consumer.registry.records import Revision, Trust
from skills_host.consumer.registry.refresh import Published
from skills_host.consumer.registry.registry import Registry
from skills_host.errors import RegistryRefused, TransportFailed
from skills_host.registry_settings import RegistrySettings
from skills_host.settings import Settings
from skills_host.store.records import Store
from tests.consumer.manifest.test_fetch import Server, said, serving
from tests.consumer.registry.shelf import (
    APPROVER,
    AUTHOR,
    OWN,
    endpoint,
    manifest,
    registry_on,
    submission,
)

HOST = Settings.model_validate(
    {"bots": {"root": {"kind": "root", "app_id": OWN, "credential": {"secret": "s"}}}}
)
AT_HOME = endpoint(endpointUrl="http://localhost:1/api/messages")


def answer(etag: str = '"1"', **changes: Any) -> bytes:
    """A manifest as its server gives it."""
    body = json.dumps(manifest(**({"endpoints": AT_HOME} | changes))).encode()
    return said("200 OK", body, Content_Type="application/json", ETag=etag)


@asynccontextmanager
async def registered(
    store: Store, *answers: bytes, **policy: Any
) -> AsyncIterator[tuple[Registry, Published, Server]]:
    """A skill that runs, as the first of these answers describes it."""
    reading, fetcher = partial(read, dev=True), Fetcher(dev=True)
    registry = registry_on(store, read=reading)
    rules = RegistrySettings(**policy)
    published = Published(registry, fetcher, policy=rules, now=lambda: 1000.0, read=reading)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(fetcher.close)
        server = await stack.enter_async_context(serving(answers))
        sent = await published.submission(server.url())
        await registry.add("echo", sent, order=AUTHOR, submit=True)
        await registry.approve("echo", order=APPROVER, waivers=("origin",))  # type: ignore[arg-type]
        yield registry, published, server


async def test_an_unchanged_source_changes_nothing(store: Store) -> None:
    async with registered(store, answer(), said("304 Not Modified")) as (registry, published, at):
        before = await registry.ledger.head()
        found = await published.refresh("echo", order=AUTHOR)

        assert (found.change, found.note) == (None, "")
        assert 'If-None-Match: "1"' in at.heads[-1]
        assert await registry.ledger.head() == before


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        ({"version": "2.0"}, ChangeClass.DESCRIPTIVE),
        ({"description": "Something else"}, ChangeClass.ROUTING),
        ({"endpoints": endpoint(endpointUrl="http://localhost:2/x")}, ChangeClass.SECURITY),
        ({"activities": {"x": {"type": "event", "name": "x"}}}, ChangeClass.SECURITY),
    ],
)
async def test_what_has_changed_waits_for_approval(
    store: Store, changes: dict[str, Any], change: ChangeClass
) -> None:
    async with registered(store, answer(), answer('"2"', **changes)) as (registry, published, _):
        running = (await registry.ledger.skill("echo")).active

        found = await published.refresh("echo", order=AUTHOR)

    assert (found.change, found.skill.active) == (change, running)
    assert found.skill.revisions[-1].trust is Trust.PENDING


async def test_other_bytes_of_the_same_content_are_only_that(store: Store) -> None:
    body = json.dumps(manifest(endpoints=AT_HOME), indent=2).encode()
    other = said("200 OK", body, Content_Type="application/json")
    policy = {"auto_approve": ("bytes",)}
    async with registered(store, answer(), other, **policy) as (registry, published, _):
        running = (await registry.ledger.skill("echo")).active

        found = await published.refresh("echo", order=AUTHOR)

        assert found.change is ChangeClass.BYTES
        assert found.skill.active != running
        assert (await registry.ledger.entries())[-1].actor == "policy"


async def test_a_policy_approves_only_what_it_lists(store: Store) -> None:
    policy = {"auto_approve": ("bytes", "descriptive")}
    changed = answer('"2"', description="Something else")
    async with registered(store, answer(), changed, **policy) as (_, published, _at):
        found = await published.refresh("echo", order=AUTHOR)

    assert found.skill.revisions[-1].trust is Trust.PENDING


async def test_drift_that_matters_for_security_can_quarantine(store: Store) -> None:
    changed = answer('"2"', endpoints=endpoint(endpointUrl="http://localhost:2/x"))
    policy = {"quarantine_drift": True}
    async with registered(store, answer(), changed, **policy) as (_, published, _at):
        found = await published.refresh("echo", order=AUTHOR)

    assert found.skill.quarantine == "refreshed: security"


async def test_a_source_that_is_gone_is_a_note_and_nothing_else(store: Store) -> None:
    async with registered(store, answer(), said("404 Not Found")) as (registry, published, _):
        before = await registry.ledger.skill("echo")

        found = await published.refresh("echo", order=AUTHOR)

        assert found.skill == before == await registry.ledger.skill("echo")
        assert "404" in found.note
        assert "404" in (await registry.ledger.health("echo")).source_note


async def test_language_files_are_kept_and_belong_to_the_revision(store: Store) -> None:
    models = {"en": [{"name": "echo", "contentType": "application/lu", "url": "echo.lu"}]}
    named = answer(dispatchModels={"languages": models})
    first, second = (
        said("200 OK", text, Content_Type="text/plain")
        for text in (b"# Echo\n- hi", b"# Echo\n- yo")
    )
    async with registered(store, named, first, named, second) as (registry, published, _):
        (file,) = (await registry.show("echo"))[1][0].languages
        kept = await registry.ledger.blob("echo", file.sha256)
        found = await published.refresh("echo", order=AUTHOR)
        live = LiveCatalogue(registry.ledger, HOST)
        await live.load()

    assert live.now.skills["echo"].languages == {"en": (LanguageText("# Echo\n- hi"),)}
    assert (file.locale, kept) == ("en", b"# Echo\n- hi")
    assert found.change is ChangeClass.ROUTING


MODELS = {
    "languages": {"en": [{"name": "echo", "contentType": "application/lu", "url": "lu/echo.lu"}]}
}


def text(body: bytes) -> bytes:
    """A language file as its server gives it."""
    return said("200 OK", body, Content_Type="text/plain")


async def test_files_that_a_language_file_leads_to_are_kept_with_it(store: Store) -> None:
    """From its own folder, each once; the ones in it belong to the revision like itself."""
    main = text(b"[import](./more.lu)\n# Echo\n- hi\n- [x](other.lu#Say)")
    more, other = text(b"[import](echo.lu)\n# More\n- hey"), text(b"# Say\n- yo\n# Not\n- no")
    files = [main, more, other, main]
    changed = [main, more, text(b"# Say\n- yoyo"), main]
    named = answer(dispatchModels=MODELS)
    async with registered(store, named, *files, named, *changed) as (registry, published, at):
        live = LiveCatalogue(registry.ledger, HOST)
        await live.load()
        (file,) = live.now.skills["echo"].languages["en"]
        (revision,) = (await registry.show("echo"))[1]
        bundled = submissions_in(await bundle_of(registry.ledger))["echo"].languages
        found = await published.refresh("echo", order=AUTHOR)

    paths = [head.split(" ")[1] for head in at.heads[:5]]
    assert paths == ["/m.json", "/lu/echo.lu", "/lu/more.lu", "/lu/other.lu", "/lu/echo.lu"]
    assert file.utterances() == ["hi", "yo", "hey"]
    assert tuple(one for one, _ in bundled) == revision.languages
    assert found.change is ChangeClass.ROUTING


async def test_what_is_not_beside_a_language_file_is_left_out_and_said(store: Store) -> None:
    """Neither from another folder nor from another host."""
    links = (
        "../up.lu",
        "https://elsewhere.example/evil.lu",
        "/etc/passwd",
        "a/b.lu",
        "%2e%2e/x.lu",
    )
    main = text("".join(f"[import]({link})\n" for link in links).encode() + b"# Echo\n- hi")
    async with registered(store, answer(dispatchModels=MODELS), main) as (registry, _, at):
        (revision,) = (await registry.show("echo"))[1]

    notes = [note for note in revision.findings if note.code == "SKM215"]
    assert len(at.heads) == 2
    assert [note.message.rpartition(": ")[2] for note in notes] == list(links)
    assert {(n.severity, n.pointer) for n in notes} == {
        ("warning", "/dispatchModels/languages/en/0")
    }


async def test_a_file_that_is_imported_and_gone_is_refused_like_any_other(store: Store) -> None:
    with pytest.raises(TransportFailed) as refused:
        async with registered(
            store, answer(dispatchModels=MODELS), text(b"[import](x.lu)"), said("404 Not Found")
        ):
            pass

    assert refused.value.code == "bad-status"


def left_out(revision: Revision) -> list[tuple[str, str]]:
    """(pointer, first file) of what was too much for a language file."""
    notes = [note for note in revision.findings if note.code == "SKM216"]
    return [(note.pointer, note.message.rpartition(": ")[2]) for note in notes]


async def test_imports_deeper_than_three_are_not_followed_and_that_is_said(store: Store) -> None:
    deep = [text(f"[import](d{n}.lu)".encode()) for n in range(9)]
    async with registered(store, answer(dispatchModels=MODELS), *deep) as (registry, _, at):
        (revision,) = (await registry.show("echo"))[1]

    assert len(at.heads) == 1 + 4
    assert left_out(revision) == [("/dispatchModels/languages/en/0", "d3.lu")]


@pytest.mark.parametrize(("links", "said"), [(20, []), (21, ["w20.lu"]), (40, ["w20.lu"])])
async def test_so_many_imports_of_one_file_are_followed_and_that_is_said(
    store: Store, links: int, said: list[str]
) -> None:
    """Once, whatever is left out; what has been read already is not."""
    wide = text("".join(f"[import](w{n}.lu)\n" for n in range(links)).encode())
    again = text(b"[import](w0.lu)\n# X\n- x")
    named = answer(dispatchModels=MODELS)
    async with registered(store, named, wide, again) as (registry, _, at):
        (revision,) = (await registry.show("echo"))[1]

    assert len(revision.languages) == len(at.heads) - 1 == 1 + 20
    assert [name for _, name in left_out(revision)] == said


async def test_three_steps_back_to_where_it_began_leave_nothing_out(store: Store) -> None:
    ring = [text(f"[import](d{n}.lu)".encode()) for n in (0, 1, 2, 0)]
    async with registered(store, answer(dispatchModels=MODELS), *ring) as (registry, _, at):
        (revision,) = (await registry.show("echo"))[1]

    assert (len(at.heads), left_out(revision)) == (1 + 4, [])


async def test_more_files_than_a_manifest_may_lead_to_are_refused(store: Store) -> None:
    models = [
        {"name": f"m{n}", "contentType": "application/lu", "url": f"{n}/x.lu"} for n in range(3)
    ]
    wide = text("".join(f"[import](w{n}.lu)\n" for n in range(20)).encode())
    named = answer(dispatchModels={"languages": {"en": models}})
    with pytest.raises(RegistryRefused, match="more than 50 files") as refused:
        async with registered(store, named, wide):
            pass

    assert refused.value.code == "manifest-invalid"


async def test_an_uploaded_manifest_without_its_language_files_says_so(store: Store) -> None:
    registry = registry_on(store, read=partial(read, dev=True))
    for name, models in (("echo", MODELS), ("other", {})):
        given = manifest(name, endpoints=AT_HOME, dispatchModels=models)
        await registry.add(name, submission(given, source="upload"), order=AUTHOR)

    (echo,), (other,) = [(await registry.show(name))[1] for name in ("echo", "other")]
    assert [(n.code, n.severity, n.pointer) for n in echo.findings if n.code == "SKM214"] == [
        ("SKM214", "warning", "/dispatchModels/languages")
    ]
    assert "SKM214" not in [note.code for note in other.findings]


async def test_what_was_uploaded_cannot_be_refreshed(store: Store) -> None:
    async with registered(store, answer()) as (registry, published, _):
        other = submission(manifest("other", endpoints=AT_HOME), source="upload")
        await registry.add("other", other, order=AUTHOR)

        with pytest.raises(RegistryRefused, match="not fetched from an address"):
            await published.refresh("other", order=AUTHOR)

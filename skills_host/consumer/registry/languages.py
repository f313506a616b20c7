"""The language files that a manifest names, and those that they lead to, from where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from skills_host.consumer.manifest.fetch import Fetched, Fetcher
from skills_host.consumer.manifest.lu import DEEP, IMPORTS, NAME, linked
from skills_host.consumer.manifest.model import LanguageModel, Manifest
from skills_host.consumer.registry.intake import UNDERSTOOD, note_of
from skills_host.consumer.registry.records import LanguageFile, Note
from skills_host.errors import RegistryRefused

__all__ = ["LanguageFiles"]

MOST_FILES = 50
"""Of one manifest, with all that they lead to."""

Kept = tuple[LanguageFile, bytes]
"""A file, and its bytes."""


class LanguageFiles:
    """Fetches the language files of one manifest, which is at `url`.

    What such a file imports or refers to is fetched only from its own folder; what is elsewhere is
    left out, and noted (`SKM215`), and so is what is too much (`SKM216`). Every file goes through
    the same `Fetcher`.
    """

    def __init__(self, fetcher: Fetcher, *, url: str) -> None:
        self._fetcher = fetcher
        self._url = url
        self._kept: list[Kept] = []
        self._notes: list[Note] = []

    async def of(self, manifest: Manifest) -> tuple[tuple[Kept, ...], tuple[Note, ...]]:
        """The files, and what was left out. Raises `TransportFailed`, `RegistryRefused`."""
        for locale, models in manifest.languages.items():
            for number, model in enumerate(models):
                if model.content_type == UNDERSTOOD:
                    await self._take(locale, number, model)
        return tuple(self._kept), tuple(self._notes)

    async def _take(self, locale: str, number: int, model: LanguageModel) -> None:
        """A file that the manifest names, then what it leads to, each once."""
        found = await self._fetched(model.url, self._url)
        self._keep(LanguageFile(locale, model.name, model.url, ""), found)
        place = locale.replace("~", "~0").replace("/", "~1")
        pointer = f"/dispatchModels/languages/{place}/{number}"
        seen: set[str] = set()
        level = [found]
        for _ in range(DEEP):
            level = [
                await self._beside(name, at, LanguageFile(locale, name, "", "", model.url))
                for at in level
                for name in await self._new(at, pointer, seen)
            ]
        beyond = [name for at in level for name in await self._new(at, pointer, seen)]
        self._leave(beyond[:1], pointer)

    async def _new(self, at: Fetched, pointer: str, seen: set[str]) -> Sequence[str]:
        """The names of the files that one leads to for the first time."""
        new = []
        # In a thread: it may be two megabytes, and turns go on meanwhile.
        for link in await asyncio.to_thread(linked, at.body):
            name = link.removeprefix("./")
            if name in seen:
                continue
            if len(seen) == IMPORTS:
                self._leave([name], pointer)
                break
            seen.add(name)
            if NAME.fullmatch(link):
                new.append(name)
            else:
                self._notes.append(note_of("SKM215", pointer, link[:100]))
        return new

    def _leave(self, names: Sequence[str], pointer: str) -> None:
        """Note that a file leads to too much, once; `names` has the first that is not read."""
        if not any((note.code, note.pointer) == ("SKM216", pointer) for note in self._notes):
            self._notes += [note_of("SKM216", pointer, name[:100]) for name in names]

    async def _beside(self, name: str, at: Fetched, file: LanguageFile) -> Fetched:
        found = await self._fetched(name, at.url)
        self._keep(file, found)
        return found

    async def _fetched(self, url: str, base: str) -> Fetched:
        if len(self._kept) == MOST_FILES:
            raise RegistryRefused(
                f"the manifest leads to more than {MOST_FILES} files", code="manifest-invalid"
            )
        return await self._fetcher.file(url, manifest_url=base)

    def _keep(self, file: LanguageFile, found: Fetched) -> None:
        digest = sha256(found.body).hexdigest()
        url = found.url if file.within else file.url
        self._kept.append((replace(file, url=url, sha256=digest), found.body))

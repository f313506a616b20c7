"""The language files that a manifest names, and those that they lead to, from where they are."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from skills_host.consumer.manifest.fetch import FILE_BYTES, Fetched, Fetcher
from skills_host.consumer.manifest.lu import DEEP, IMPORTS, NAME, linked
from skills_host.consumer.manifest.model import Manifest
from skills_host.consumer.registry.intake import UNDERSTOOD, note_of
from skills_host.consumer.registry.records import LanguageFile, Note
from skills_host.errors import RegistryRefused

__all__ = ["Kept", "Languages", "fetched_languages", "languages_beside"]

MOST_FILES = 50
"""Of one manifest, with all that they lead to."""

Kept = tuple[LanguageFile, bytes]
"""A file, and its bytes."""

Languages = tuple[tuple[Kept, ...], tuple[Note, ...]]
"""The files of a manifest, and what is to be said of those that were left out."""


async def fetched_languages(manifest: Manifest, fetcher: Fetcher, *, url: str) -> Languages:
    """The language files of the manifest at `url`, each by the same `Fetcher`.

    Raises `TransportFailed` for one that cannot be had, `RegistryRefused` for too many.
    """
    files = _Files(manifest, url)
    while (wanted := files.next()) is not None:
        found = await fetcher.file(wanted.url, manifest_url=wanted.base)
        # In a thread: it may be two megabytes, and turns go on meanwhile.
        await asyncio.to_thread(files.take, wanted, found)
    return tuple(files.kept), tuple(files.notes)


def languages_beside(manifest: Manifest, path: Path) -> Languages:
    """The language files beside the manifest's own file; those that are not there are noted.

    Raises `OSError` for one that cannot be read or is too large, `RegistryRefused` for too many.
    """
    files = _Files(manifest, "")
    while (wanted := files.next()) is not None:
        body = _content(path.parent, wanted.url)
        files.take(wanted, None if body is None else Fetched(wanted.url, body))
    return tuple(files.kept), tuple(files.notes)


def _content(folder: Path, name: str) -> bytes | None:
    """The content of a file of a folder; None for whatever is not in it, links out of it too."""
    if not NAME.fullmatch(name):
        return None
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        return None
    if file.stat().st_size > FILE_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(file))
    return file.read_bytes()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file that is to be had at `url`, which is relative to `base`.

    `pointer` leads to the language model that it belongs to, over `steps` files.
    """

    url: str
    base: str
    file: LanguageFile
    pointer: str
    steps: int = 0


class _Files:
    """Which language files of one manifest are wanted, one after the other, and what was had.

    What such a file imports or refers to is wanted only from its own folder; what is elsewhere is
    left out, and noted (`SKM215`), and so are what is too much (`SKM216`) and what nobody has
    (`SKM214`).
    """

    def __init__(self, manifest: Manifest, url: str) -> None:
        self.kept: list[Kept] = []
        self.notes: list[Note] = []
        self._named = deque(_named(manifest, url))
        self._linked: deque[_Wanted] = deque()
        self._seen: set[str] = set()

    def next(self) -> _Wanted | None:
        """The next file: all that one leads to come before the next that the manifest names."""
        if not self._linked and not self._named:
            return None
        if len(self.kept) == MOST_FILES:
            raise RegistryRefused(
                f"the manifest leads to more than {MOST_FILES} files", code="manifest-invalid"
            )
        if self._linked:
            return self._linked.popleft()
        self._seen.clear()
        return self._named.popleft()

    def take(self, wanted: _Wanted, found: Fetched | None) -> None:
        """Keep a file that was found, and look at what it leads to."""
        if found is None:
            self._leave("SKM214", wanted.pointer, wanted.url)
            return
        file = wanted.file
        url = found.url if file.within else file.url
        self.kept.append(
            (replace(file, url=url, sha256=sha256(found.body).hexdigest()), found.body)
        )
        for link in linked(found.body):
            name = link.removeprefix("./")
            if name in self._seen:
                continue
            if wanted.steps == DEEP or len(self._seen) == IMPORTS:
                self._leave_rest(wanted.pointer, link)
                break
            self._seen.add(name)
            if NAME.fullmatch(link):
                new = LanguageFile(file.locale, name, "", "", file.within or file.url)
                further = _Wanted(name, found.url, new, wanted.pointer, wanted.steps + 1)
                self._linked.append(further)
            else:
                self._leave("SKM215", wanted.pointer, link)

    def _leave_rest(self, pointer: str, link: str) -> None:
        """Note once for a file that it leads to too much; `link` is the first that is not read."""
        if not any((note.code, note.pointer) == ("SKM216", pointer) for note in self.notes):
            self._leave("SKM216", pointer, link)

    def _leave(self, code: str, pointer: str, name: str) -> None:
        self.notes.append(note_of(code, pointer, name[:100]))


def _named(manifest: Manifest, url: str) -> Iterator[_Wanted]:
    """The files that a manifest names itself, of those kinds that are read."""
    for locale, models in manifest.languages.items():
        place = locale.replace("~", "~0").replace("/", "~1")
        for number, model in enumerate(models):
            if model.content_type == UNDERSTOOD:
                file = LanguageFile(locale, model.name, model.url, "")
                pointer = f"/dispatchModels/languages/{place}/{number}"
                yield _Wanted(model.url, url, file, pointer)

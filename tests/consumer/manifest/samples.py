"""Real manifests against their index: `scripts/samples DIR`.

`DIR/index.json` has `entries`, each with `file`, `schema_version` (what the file declares) and
`valid_with_format_assertion`: true or false by the declared schema, null where that never had one.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skills_host.consumer.manifest.model import Profile, Reading
from skills_host.consumer.manifest.readers import read

__all__ = ["Sample", "main", "samples_in"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A manifest, what the index says of it, and what two profiles say."""

    file: str
    version: str
    expected: bool | None
    strict: Reading
    compat: Reading

    @property
    def agrees(self) -> bool:
        """True if the strict profile says what the index does."""
        if self.expected is None:
            return [error.code for error in self.strict.errors] == ["SKM108"]
        return (self.strict.manifest is not None) == self.expected


def samples_in(folder: Path) -> Iterator[Sample]:
    """Every manifest that the index of a folder names."""
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    for entry in index["entries"]:
        data = (folder / entry["file"]).read_bytes()
        yield Sample(
            file=entry["file"],
            version=str(entry["schema_version"]),
            expected=entry["valid_with_format_assertion"],
            strict=read(data, profile=Profile.STRICT),
            compat=read(data, profile=Profile.COMPAT),
        )


def main(arguments: list[str]) -> int:
    """Print the table; 0 if all agree, 1 if not, 2 for a folder that has no index."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "index.json").is_file():
        sys.stderr.write("usage: scripts/samples DIR (with an index.json)\n")
        return 2
    samples = list(samples_in(Path(arguments[0])))
    wrong = [sample for sample in samples if not sample.agrees]
    taken = sum(sample.compat.manifest is not None for sample in samples)
    lines = [
        *map(_row, samples),
        f"{len(samples)} manifests: strict agrees with the index on {len(samples) - len(wrong)}",
        f"compat takes {taken} and refuses {len(samples) - taken}",
        *(f"DISAGREES: {sample.file}: {_codes(sample.strict)}" for sample in wrong),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


def _row(sample: Sample) -> str:
    said = {True: "valid", False: "invalid", None: "no schema"}[sample.expected]
    mark = "=" if sample.agrees else "≠"
    verdict = "taken" if sample.compat.manifest else "refused"
    reasons = _codes(sample.compat) or "nothing to say"
    return f"{sample.version:<20.20} {mark} {said:<9} {verdict:<7} {reasons:<50} {sample.file}"


def _codes(reading: Reading) -> str:
    """The codes of a reading with how often each was given, errors first."""
    given: Any = reading.errors or reading.findings
    return " ".join(
        f"{code}×{n}" if n > 1 else code for code, n in Counter(f.code for f in given).items()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

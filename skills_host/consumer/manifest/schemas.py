"""JSON Schemas of skills, made safe to check values against: no network, no blow-up, linear time.

Nobody's schema is given to the validator as it is. Its references are replaced by what they name in
the manifest, within a budget, and only keywords of draft-07 that check something are kept. What the
validator gets has no references, so that it has nothing to look up, and its patterns run in linear
time. A schema that contains itself has no such form, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

from skills_host.consumer.manifest.document import Path, pointer_of

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator

__all__ = ["VALUE_BYTES", "Schema", "SchemaRefused", "Schemas", "validator_of"]

MOST_SCHEMAS = 2000
"""So many schemas may one consist of, with what its references name."""
MOST_IN_ALL = 20_000
"""And so many all of a manifest together."""
DEEPEST = 60
"""So deep may one be, with what its references name."""
PATTERN_COST = 20
"""A pattern counts as so many schemas: it is compiled to see whether it can be."""
PATTERN_CHARACTERS = 1000
PATTERN_BYTES = 1024 * 1024
VALUE_BYTES = 256 * 1024
"""Values of more bytes are not looked at."""

_ONE = frozenset(
    {"items", "not", "if", "then", "else", "contains", "propertyNames"}
    | {"additionalProperties", "additionalItems"}
)
_LISTS = frozenset({"allOf", "anyOf", "oneOf"})
_MAPS = frozenset({"properties", "patternProperties", "dependencies"})
_PLAIN = frozenset(
    {"type", "enum", "const", "format", "required", "uniqueItems", "multipleOf"}
    | {"maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength"}
    | {"maxItems", "minItems", "maxProperties", "minProperties", "pattern"}
)


class SchemaRefused(ValueError):
    """A schema that is not used: a code of the table, and the path in the manifest to its cause."""

    def __init__(self, code: str, path: Path, message: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.path = path


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema that values can be checked against."""

    _validator: Draft7Validator

    def complaint(self, value: Any) -> str | None:
        """What of the schema a value does not satisfy, without the value; None if nothing."""
        for error in self._validator.iter_errors(value):
            return f"it does not satisfy {pointer_of(tuple(error.schema_path))}"
        return None


def validator_of(schema: Mapping[str, Any]) -> Draft7Validator:
    """A validator of draft-07 that asserts formats and has no way to look anything up.

    Raises `ValueError` for a schema that is none.
    """
    # Three megabytes, which a host whose skills declare no schemas need not carry.
    import jsonschema_rs

    try:
        return jsonschema_rs.Draft7Validator(
            dict(schema),
            validate_formats=True,
            retriever=_refuse,
            pattern_options=jsonschema_rs.RegexOptions(
                size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES
            ),
        )
    except jsonschema_rs.ReferencingError as exc:
        raise ValueError(str(exc)) from None


class Schemas:
    """The schemas in one manifest, which is given in Python's values; all share one budget."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self._manifest = manifest
        self._left = MOST_IN_ALL
        self._patterns: set[str] = set()

    @cached_property
    def _form(self) -> Draft7Validator:
        return validator_of({"$ref": "http://json-schema.org/draft-07/schema#"})

    def form_faults(self, path: Path) -> Iterator[tuple[Path, str]]:
        """Where what is at `path` is not of the form of draft-07, and what was expected there."""
        schema: Any = self._manifest
        for part in path:
            schema = schema[part]
        for error in self._form.iter_errors(schema):
            types = error.kind.as_dict().get("types", ())
            wanted = "expected " + " or ".join(types) if types else ""
            yield (*path, *error.instance_path), wanted

    def compiled(self, path: Path) -> Schema:
        """What values can be checked with by the schema at `path`, whose form is in order.

        Raises `SchemaRefused`.
        """
        plain = self.expanded(path)
        schema = plain if isinstance(plain, dict) else {} if plain else {"not": {}}
        try:
            return Schema(validator_of(schema))
        except ValueError:
            raise SchemaRefused("SKM405", path) from None

    def expanded(self, path: Path) -> Any:
        """The schema at `path` without references. Raises `SchemaRefused`."""
        expansion = _Expansion(self._manifest, self._patterns, min(self._left, MOST_SCHEMAS))
        try:
            return expansion.of(_at(self._manifest, path), path)
        finally:
            self._left -= expansion.taken


class _Expansion:
    """One schema with its references replaced, within a budget."""

    def __init__(self, manifest: Mapping[str, Any], patterns: set[str], most: int) -> None:
        self._manifest = manifest
        self._patterns = patterns
        self._most = most
        self._open: list[Path] = []
        self.taken = 0

    def of(self, schema: Any, path: Path) -> Any:
        """A schema that is read at `path`, in the terms of `Schemas.expanded`."""
        self.taken += 1
        if self.taken > self._most:
            raise SchemaRefused("SKM409", path)
        if not isinstance(schema, dict):
            return schema
        if path in self._open:
            raise SchemaRefused("SKM409", path, "it contains itself")
        if len(self._open) > DEEPEST:
            raise SchemaRefused("SKM409", path)
        self._open.append(path)
        if "$ref" in schema:
            # What stands beside a reference has no meaning in draft-07.
            target = _target(schema["$ref"], (*path, "$ref"))
            plain = self.of(_at(self._manifest, target, (*path, "$ref")), target)
        else:
            plain = dict(self._keywords(schema, path))
        self._open.pop()
        return plain

    def _keywords(self, schema: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
        for keyword, value in schema.items():
            here = (*path, keyword)
            if keyword in _LISTS or (keyword == "items" and isinstance(value, list)):
                yield keyword, [self.of(one, (*here, i)) for i, one in enumerate(value)]
            elif keyword in _ONE:
                yield keyword, self.of(value, here)
            elif keyword in _MAPS:
                if keyword == "patternProperties":
                    for pattern in value:
                        self._check(pattern, (*here, pattern))
                yield keyword, {name: self.of(one, (*here, name)) for name, one in value.items()}
            elif keyword in _PLAIN:
                if keyword == "pattern":
                    self._check(value, here)
                yield keyword, value

    def _check(self, pattern: str, path: Path) -> None:
        """Take a pattern if an engine without backtracking can run it. `SchemaRefused`."""
        if pattern in self._patterns:
            return
        self.taken += PATTERN_COST
        if len(pattern) > PATTERN_CHARACTERS:
            raise SchemaRefused("SKM408", path)
        try:
            validator_of({"pattern": pattern})
        except ValueError:
            raise SchemaRefused("SKM408", path) from None
        self._patterns.add(pattern)


def _target(reference: str, path: Path) -> Path:
    """The path that a reference names. Only pointers into the same manifest are followed."""
    if not reference.startswith("#"):
        raise SchemaRefused("SKM406", path)
    pointer = unquote(reference[1:])
    if not pointer.startswith("/"):
        # The manifest itself is no schema, and names of schemas lead nowhere in a manifest.
        raise SchemaRefused("SKM407", path)
    parts = pointer[1:].split("/")
    target = tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)
    if not _is_schema_at(target):
        raise SchemaRefused("SKM407", path)
    return target


def _is_schema_at(path: Path) -> bool:
    """True for the places where a manifest has schemas."""
    if path[0] == "definitions":
        return len(path) > 1
    is_activity = path[0] in ("activities", "activitiesSent")
    return is_activity and path[2:3] in (("value",), ("resultValue",))


def _at(manifest: Any, path: Path, reference: Path | None = None) -> Any:
    """What is at a path; refused at the reference that names it if that is nothing or no schema."""
    found = manifest
    for part in path:
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and str(part).isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise SchemaRefused("SKM407", reference or path)
    if not isinstance(found, dict | bool):
        raise SchemaRefused("SKM407", reference or path)
    return found


def _refuse(uri: str) -> NoReturn:
    raise ValueError("nothing is looked up")

"""Reading sections of the configuration that are arrays of tables, such as [[realm.history]].

Owns: the place of a mistake in them. Never: what they mean.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from fox_shard.config.mistakes import ConfigError, expected, refuse

S = TypeVar("S", bound=Struct)

# The same patterns as in `topics.pattern.Pattern.wamp`, which this layer may not import.
TOPICS: Final = {
    "exact": re.compile(r"#|[^\s.#\0]+(\.[^\s.#\0]+)*(\.#)?"),
    "wildcard": re.compile(r"([^\s.#\0]*\.)*([^\s.#\0]*|#)"),
    "prefix": re.compile(r"([^\s.#\0]+(\.[^\s.#\0]+)*\.?)?"),
}

RESERVED: Final = re.compile(r"\$|(wamp|fox)(\.|$)")
"""How topics begin that are the server's own."""


def sections(raw: object, where: str, section: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the sections of an array of tables, each with its place in the file, for errors."""
    if not isinstance(raw, list) or not raw:
        refuse(where, f"one or more sections {section}", raw, TypeError())
    for index, entry in enumerate(raw):
        if not isinstance(entry, dict):
            refuse(f"{where}[{index}]", f"a section {section}", entry, TypeError())
    return [(f"{where}[{index}]", entry) for index, entry in enumerate(raw)]


def check_keys(entry: Mapping[str, Any], where: str, kind: type[Struct]) -> None:
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in entry:
        if key not in known:
            listed = ", ".join(known)
            raise ConfigError(f"{where}: there is no setting {key}; there are {listed}.")


def struct(entry: Mapping[str, Any], where: str, kind: type[S]) -> S:
    """Convert a section to a struct, field by field, so that an error can name the field."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.name in entry:
            raw = entry[field.name]
            try:
                values[field.name] = msgspec.convert(raw, field.type)
            except msgspec.ValidationError as error:
                refuse(f"{where}.{field.name}", expected(field.type), raw, error)
    return kind(**values)

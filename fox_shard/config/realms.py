"""Reading the realms: sections [[realm]], and within them [[realm.history]].

Owns: what these sections may contain, and the place of a mistake. Never: files, the environment.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from fox_shard.config.mistakes import ConfigError, expected, refuse
from fox_shard.config.settings import Config, History, Realm

# Loose URIs (WAMP #uris), but without "@", because MQTT clients write user@realm.
_REALM_NAME: Final = re.compile(r"[^\s.#@\0]+(\.[^\s.#@\0]+)*")

# The same patterns as in `topics.pattern.Pattern.wamp`, which this layer may not import.
_TOPICS: Final = {
    "exact": re.compile(r"#|[^\s.#\0]+(\.[^\s.#\0]+)*(\.#)?"),
    "wildcard": re.compile(r"([^\s.#\0]*\.)*([^\s.#\0]*|#)"),
    "prefix": re.compile(r"([^\s.#\0]+(\.[^\s.#\0]+)*\.?)?"),
}

S = TypeVar("S", bound=Struct)


def read_realms(raw: object, name: str) -> tuple[Realm, ...]:
    """Return the configured realms, or the default one if the file names none.

    raw: the file's value of `realm`; None: there is none. name: the file's name. Raises
    ConfigError.
    """
    if raw is None:
        return Config().realms
    realms: dict[str, Realm] = {}
    for where, entry in _sections(raw, f"{name}: realm", "[[realm]]"):
        realm = _realm(entry, where)
        if realm.name in realms:
            raise ConfigError(f'{where}.name: there are two realms "{realm.name}".')
        realms[realm.name] = realm
    return tuple(realms.values())


def _sections(raw: object, where: str, section: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the sections of an array of tables, each with its place in the file, for errors."""
    if not isinstance(raw, list) or not raw:
        refuse(where, f"one or more sections {section}", raw, TypeError())
    for index, entry in enumerate(raw):
        if not isinstance(entry, dict):
            refuse(f"{where}[{index}]", f"a section {section}", entry, TypeError())
    return [(f"{where}[{index}]", entry) for index, entry in enumerate(raw)]


def _realm(entry: Mapping[str, Any], where: str) -> Realm:
    entry = {**entry, "history": _rules(entry.get("history"), where)}
    _check_keys(entry, where, Realm)
    value = entry.get("name")
    if not isinstance(value, str) or not _REALM_NAME.fullmatch(value):
        wanted = 'a URI such as "com.example.realm", without spaces, "#" and "@"'
        refuse(f"{where}.name", wanted, value, TypeError())
    return _struct(entry, where, Realm)


def _rules(raw: object, where: str) -> tuple[History, ...]:
    """Return the history rules of one realm. Raises ConfigError."""
    if raw is None:
        return ()
    rules: list[History] = []
    for at, entry in _sections(raw, f"{where}.history", "[[realm.history]]"):
        _check_keys(entry, at, History)
        if not isinstance(entry.get("topic"), str):
            refuse(f"{at}.topic", "a topic or a pattern", entry.get("topic"), TypeError())
        rule = _struct(entry, at, History)
        if not _TOPICS[rule.match].fullmatch(rule.topic):
            wanted = f'a topic or a pattern (match = "{rule.match}")'
            refuse(f"{at}.topic", wanted, rule.topic, ValueError())
        if any((rule.topic, rule.match) == (other.topic, other.match) for other in rules):
            raise ConfigError(f'{at}.topic: there are two rules for "{rule.topic}".')
        rules.append(rule)
    return tuple(rules)


def _check_keys(entry: Mapping[str, Any], where: str, kind: type[Struct]) -> None:
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in entry:
        if key not in known:
            listed = ", ".join(known)
            raise ConfigError(f"{where}: there is no setting {key}; there are {listed}.")


def _struct(entry: Mapping[str, Any], where: str, kind: type[S]) -> S:
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

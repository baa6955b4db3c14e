"""Reading the realms: sections [[realm]], and within them [[realm.history]] and [[realm.reducer]].

Owns: what these sections may contain, and the place of a mistake. Never: files, the environment.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from fox_shard.config.mistakes import ConfigError, expected, refuse
from fox_shard.config.settings import FUNCTIONS, Config, History, Realm, Reducer

# Loose URIs (WAMP #uris), but without "@", because MQTT clients write user@realm.
_REALM_NAME: Final = re.compile(r"[^\s.#@\0]+(\.[^\s.#@\0]+)*")

# The same patterns as in `topics.pattern.Pattern.wamp`, which this layer may not import.
_TOPICS: Final = {
    "exact": re.compile(r"#|[^\s.#\0]+(\.[^\s.#\0]+)*(\.#)?"),
    "wildcard": re.compile(r"([^\s.#\0]*\.)*([^\s.#\0]*|#)"),
    "prefix": re.compile(r"([^\s.#\0]+(\.[^\s.#\0]+)*\.?)?"),
}

_TOPIC: Final = re.compile(r"[^\s.#\0]+(\.[^\s.#\0]+)*")
_RESERVED: Final = re.compile(r"\$|(wamp|fox)(\.|$)")
_PYTHON: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

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
    entry = {
        **entry,
        "history": _rules(entry.get("history"), where),
        "reducer": _reducers(entry.get("reducer"), where),
    }
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


def _reducers(raw: object, where: str) -> tuple[Reducer, ...]:
    """Return the reducers of one realm. Raises ConfigError."""
    if raw is None:
        return ()
    reducers: list[Reducer] = []
    for at, entry in _sections(raw, f"{where}.reducer", "[[realm.reducer]]"):
        _check_keys(entry, at, Reducer)
        for name, wanted in (("pattern", "a topic or a pattern"), ("function", "a function")):
            if not isinstance(entry.get(name), str):
                refuse(f"{at}.{name}", wanted, entry.get(name), TypeError())
        reducer = _struct(entry, at, Reducer)
        _check_reducer(reducer, at)
        if reducer in reducers:
            raise ConfigError(f'{at}.pattern: there are two such reducers of "{reducer.pattern}".')
        reducers.append(reducer)
    return tuple(reducers)


def _check_reducer(reducer: Reducer, at: str) -> None:
    """Raise ConfigError if the reducer cannot be."""
    pattern, destination, function = reducer.pattern, reducer.destination, reducer.function
    if not _TOPICS[reducer.match].fullmatch(pattern) or _RESERVED.match(pattern):
        wanted = (
            f'a topic or a pattern (match = "{reducer.match}") that the server does not reserve'
        )
        refuse(f"{at}.pattern", wanted, pattern, ValueError())
    if destination and (not _TOPIC.fullmatch(destination) or _RESERVED.match(destination)):
        wanted = "a topic that the server does not reserve"
        refuse(f"{at}.destination", wanted, destination, ValueError())
    if not reducer.is_built_in and not _PYTHON.fullmatch(function):
        wanted = f'{", ".join(FUNCTIONS)}, or a Python function such as "totals:add"'
        refuse(f"{at}.function", wanted, function, ValueError())


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

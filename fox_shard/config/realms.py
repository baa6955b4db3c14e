"""Reading the realms: sections [[realm]], and what is within them.

Owns: what these sections may contain, and the place of a mistake. Never: files, the environment;
[[realm.role]] (see `roles`).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from fox_shard.config.jwt import Jwt, contradiction
from fox_shard.config.mistakes import ConfigError, refuse
from fox_shard.config.roles import read_roles
from fox_shard.config.sections import RESERVED, TOPICS, check_keys, sections, struct
from fox_shard.config.settings import FUNCTIONS, Config, History, Realm, Reducer
from fox_shard.config.webhooks import read_webhooks

# Loose URIs (WAMP #uris), but without "@", because MQTT clients write user@realm.
_REALM_NAME: Final = re.compile(r"[^\s.#@\0]+(\.[^\s.#@\0]+)*")

_TOPIC: Final = re.compile(r"[^\s.#\0]+(\.[^\s.#\0]+)*")
_PYTHON: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def read_realms(raw: object, name: str) -> tuple[Realm, ...]:
    """Return the configured realms, or the default one if the file names none.

    raw: the file's value of `realm`; None: there is none. name: the file's name. Raises
    ConfigError.
    """
    if raw is None:
        return Config().realms
    realms: dict[str, Realm] = {}
    for where, entry in sections(raw, f"{name}: realm", "[[realm]]"):
        realm = _realm(entry, where)
        if realm.name in realms:
            raise ConfigError(f'{where}.name: there are two realms "{realm.name}".')
        realms[realm.name] = realm
    for where, entry in sections(raw, f"{name}: realm", "[[realm]]"):
        _check_authenticator(realms[entry["name"]], where, realms)
    return tuple(realms.values())


def _realm(entry: Mapping[str, Any], where: str) -> Realm:
    entry = {
        **entry,
        "history": _rules(entry.get("history"), where),
        "reducer": _reducers(entry.get("reducer"), where),
        "webhook": read_webhooks(entry.get("webhook"), where),
        "role": read_roles(entry.get("role"), where),
        "jwt": _jwt(entry.get("jwt"), f"{where}.jwt"),
    }
    check_keys(entry, where, Realm)
    value = entry.get("name")
    if not isinstance(value, str) or not _REALM_NAME.fullmatch(value):
        wanted = 'a URI such as "com.example.realm", without spaces, "#" and "@"'
        refuse(f"{where}.name", wanted, value, TypeError())
    realm = struct(entry, where, Realm)
    _check_users(realm, where)
    return realm


def _check_users(realm: Realm, where: str) -> None:
    """Raise ConfigError if the realm's users cannot be in these keys, or anyone could make some."""
    pattern = realm.users
    if not pattern:
        return
    head = pattern.removesuffix(".*")
    if head == pattern or "*" in head or not _TOPIC.fullmatch(head) or RESERVED.match(head):
        wanted = 'a topic followed by ".*", such as "com.example.users.*", not a reserved one'
        refuse(f"{where}.users", wanted, pattern, ValueError())
    if not realm.role:
        raise ConfigError(
            f"{where}.users: a realm whose users are in keys needs roles ([[realm.role]]), as "
            "otherwise everybody might read and change them."
        )


def _jwt(raw: object, where: str) -> Jwt | None:
    """Return the section [realm.jwt] of one realm. Raises ConfigError."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        refuse(where, "a section [realm.jwt]", raw, TypeError())
    check_keys(raw, where, Jwt)
    if "algorithms" not in raw:
        raise ConfigError(f'{where}.algorithms is missing, such as ["RS256"].')
    jwt = struct(raw, where, Jwt)
    if wrong := contradiction(jwt):
        raise ConfigError(where + wrong)
    return jwt


def _check_authenticator(realm: Realm, where: str, realms: Mapping[str, Realm]) -> None:
    """Raise ConfigError if the realm's authenticator cannot be."""
    name, at = realm.authenticator, realm.authenticator_realm
    if name and not _PYTHON.fullmatch(name):
        if ":" in name or not _TOPIC.fullmatch(name) or RESERVED.match(name):
            wanted = 'a procedure, or a Python function such as "logins:authenticate"'
            refuse(f"{where}.authenticator", wanted, name, ValueError())
    elif at:
        raise ConfigError(
            f"{where}.authenticator_realm is for an authenticator that is a procedure."
        )
    if at and at not in realms:
        refuse(f"{where}.authenticator_realm", "the name of a [[realm]]", at, ValueError())
    if not realm.authenticator_methods:
        raise ConfigError(f"{where}.authenticator_methods must name at least one method.")


def _rules(raw: object, where: str) -> tuple[History, ...]:
    """Return the history rules of one realm. Raises ConfigError."""
    if raw is None:
        return ()
    rules: list[History] = []
    for at, entry in sections(raw, f"{where}.history", "[[realm.history]]"):
        check_keys(entry, at, History)
        if not isinstance(entry.get("topic"), str):
            refuse(f"{at}.topic", "a topic or a pattern", entry.get("topic"), TypeError())
        rule = struct(entry, at, History)
        if not TOPICS[rule.match].fullmatch(rule.topic):
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
    for at, entry in sections(raw, f"{where}.reducer", "[[realm.reducer]]"):
        check_keys(entry, at, Reducer)
        for name, wanted in (("pattern", "a topic or a pattern"), ("function", "a function")):
            if not isinstance(entry.get(name), str):
                refuse(f"{at}.{name}", wanted, entry.get(name), TypeError())
        reducer = struct(entry, at, Reducer)
        _check_reducer(reducer, at)
        if reducer in reducers:
            raise ConfigError(f'{at}.pattern: there are two such reducers of "{reducer.pattern}".')
        reducers.append(reducer)
    return tuple(reducers)


def _check_reducer(reducer: Reducer, at: str) -> None:
    """Raise ConfigError if the reducer cannot be."""
    pattern, destination, function = reducer.pattern, reducer.destination, reducer.function
    if not TOPICS[reducer.match].fullmatch(pattern) or RESERVED.match(pattern):
        wanted = (
            f'a topic or a pattern (match = "{reducer.match}") that the server does not reserve'
        )
        refuse(f"{at}.pattern", wanted, pattern, ValueError())
    if destination and (not _TOPIC.fullmatch(destination) or RESERVED.match(destination)):
        wanted = "a topic that the server does not reserve"
        refuse(f"{at}.destination", wanted, destination, ValueError())
    if not reducer.is_built_in and not _PYTHON.fullmatch(function):
        wanted = f'{", ".join(FUNCTIONS)}, or a Python function such as "totals:add"'
        refuse(f"{at}.function", wanted, function, ValueError())

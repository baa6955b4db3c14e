"""Reading the roles of a realm: sections [[realm.role]], and within them [[realm.role.rule]].

Owns: what these sections may contain. Never: what a rule means for a request (see
`gateway.authorization`).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from fox_shard.config.mistakes import ConfigError, refuse
from fox_shard.config.sections import TOPICS, check_keys, sections, struct
from fox_shard.config.settings import Role, Rule

MOST_RULES: Final = 2_000
"""The most rules of one role. A pattern is compared with all of them, up to 1 µs each.

This is no setting: whoever writes the rules would write it, too, and a turn has to bear them.
"""

_URIS: Final = {
    **TOPICS,
    "mqtt": re.compile(r"(?!$)(([^+#\0/]*|\+)/)*([^+#\0/]*|\+|#)"),
}
_AUTHORIZER: Final = re.compile(
    r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*|(?!(wamp|fox)(\.|$))[^\s#.:$][^\s#.:]*(\.[^\s#.:]+)*"
)
"""A function, or a procedure that a client can register."""

_SWAP: Final = str.maketrans("/.", "./")


def read_roles(raw: object, where: str) -> tuple[Role, ...]:
    """Return the roles of one realm. where: its place in the file. Raises ConfigError."""
    if raw is None:
        return ()
    roles: dict[str, Role] = {}
    for at, entry in sections(raw, f"{where}.role", "[[realm.role]]"):
        check_keys(entry, at, Role)
        if not isinstance(entry.get("name"), str):
            refuse(f"{at}.name", "the name of a role", entry.get("name"), TypeError())
        rules = _rules(entry.get("rule"), at)
        role = struct({**entry, "rule": rules}, at, Role)
        if role.authorizer and not _AUTHORIZER.fullmatch(role.authorizer):
            wanted = "a procedure, or module:function in Python"
            refuse(f"{at}.authorizer", wanted, role.authorizer, ValueError())
        if role.name in roles:
            raise ConfigError(f'{at}.name: there are two roles "{role.name}".')
        roles[role.name] = role
    return tuple(roles.values())


def _rules(raw: object, where: str) -> tuple[Rule, ...]:
    if raw is None:
        return ()
    rules: dict[object, Rule] = {}
    entries = sections(raw, f"{where}.rule", "[[realm.role.rule]]")
    if len(entries) > MOST_RULES:
        raise ConfigError(f"{where}.rule: a role has {MOST_RULES} rules at most.")
    for at, entry in entries:
        rule = _rule(entry, at)
        covered = _covered(rule)
        if covered in rules:
            raise ConfigError(
                f'{at}.uri: two rules are for the same topics, "{rules[covered].uri}" and '
                f'"{rule.uri}"; let one of them say what is allowed.'
            )
        rules[covered] = rule
    return tuple(rules.values())


def _rule(entry: Mapping[str, Any], at: str) -> Rule:
    check_keys(entry, at, Rule)
    if not isinstance(entry.get("uri"), str):
        refuse(f"{at}.uri", "a topic, a procedure or a pattern", entry.get("uri"), TypeError())
    rule = struct(entry, at, Rule)
    if not _URIS[rule.match].fullmatch(rule.uri):
        wanted = f'a topic, a procedure or a pattern (match = "{rule.match}")'
        refuse(f"{at}.uri", wanted, rule.uri, ValueError())
    if rule.match != "mqtt" and "/" in rule.uri and "." not in rule.uri:
        # It would match nothing that MQTT clients call so, and so forbid nothing.
        raise ConfigError(
            f'{at}.uri: "{rule.uri}" looks like a topic of MQTT: write it with dots, or add '
            'match = "mqtt".'
        )
    return rule


def _covered(rule: Rule) -> object:
    """Return a value that is the same for rules that are for the same topics."""
    uri, match = rule.uri, rule.match
    if match == "prefix":
        return "^", uri
    if match == "mqtt":
        parts = [part if part in ("+", "#") else part.translate(_SWAP) for part in uri.split("/")]
        one = "+"
    else:
        parts, one = uri.split("."), "*"
    if match != "wildcard" and one not in parts and parts[-1] != "#":
        return "=", ".".join(parts)
    blank = ("", one) if match == "wildcard" else (one,)
    return "*", tuple(None if part in blank else part for part in parts)

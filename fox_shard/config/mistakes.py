"""Mistakes in the configuration: the sentences that describe them.

Owns: the wording for expected types and wrong values. Never: where a mistake was found.
"""

import json
from typing import Final, NoReturn

import msgspec

from fox_shard.config.jwt import Algorithms
from fox_shard.config.realm_limits import OptionalBytes, OptionalNumber
from fox_shard.config.settings import Actions, AuthenticatorMethods, OptionalAddress, WebOrigins
from fox_shard.config.web import Networks
from fox_shard.config.webhook import Headers


class ConfigError(Exception):
    """A mistake in the configuration; the message says where it is and what would be right."""


def refuse(where: str, wanted: str, raw: object, cause: Exception) -> NoReturn:
    """Raise ConfigError: the setting at `where` must be what `wanted` describes, not `raw`."""
    raise ConfigError(f"{where} must be {wanted}, not {shown(raw)}.") from cause


_WORDS: Final = (
    (OptionalAddress, 'an address "host:port" with a port from 1 to 65535, or "off"'),
    (WebOrigins, 'a list of origins such as ["https://example.com"], or of "*"'),
    (Networks, 'a list of networks such as ["10.0.0.0/8", "::1"]'),
    (Actions, 'a list of "publish", "subscribe", "call" and "register", or some of them'),
    (Algorithms, 'a list of JWT algorithms such as ["RS256", "ES256", "EdDSA"] (never "none")'),
    (
        AuthenticatorMethods,
        'a list of "ticket", "wampcra", "cryptosign", "tls" and "anonymous", or some of them',
    ),
    (Headers, 'up to 50 texts by name, such as {Authorization = "Bearer …"}'),
    (OptionalNumber, "a whole number from 0 to 1000000000"),
    (OptionalBytes, "a whole number from 0 to 17592186044416"),
)


def expected(kind: object) -> str:
    """Return a type in words, as a description of what should have been written."""
    for known, words in _WORDS:
        if kind == known:
            return words
    match msgspec.inspect.type_info(kind):
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case msgspec.inspect.FloatType(ge=low, le=high):
            return f"a number of seconds from {low:g} to {high:g}"
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case msgspec.inspect.StrType(min_length=None, pattern=str(pattern)):
            return f"text that matches {pattern}"
        case _:
            return "text that is not empty"


def shown(value: object) -> str:
    """Return a value roughly as TOML writes it, shortened to 60 characters."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."

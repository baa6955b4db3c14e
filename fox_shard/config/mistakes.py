"""Mistakes in the configuration: the sentences that answer them.

Owns: how an expected type and a wrong value are put in words. Never: where a mistake was found.
"""

import json
from typing import NoReturn

import msgspec

from fox_shard.config.settings import OptionalAddress


class ConfigError(Exception):
    """A mistake in the configuration: one sentence, where it is and what would be right."""


def refuse(where: str, wanted: str, raw: object, cause: Exception) -> NoReturn:
    """Raise ConfigError: at that place must be what is `wanted`, not `raw`."""
    raise ConfigError(f"{where} must be {wanted}, not {shown(raw)}.") from cause


def expected(kind: object) -> str:
    """Name a type in words: what a person should have written."""
    if kind == OptionalAddress:
        return 'an address "host:port" with a port from 1 to 65535, or "off"'
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
    """A value as TOML might say it, shortened."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."

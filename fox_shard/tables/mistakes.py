"""Mistakes in a schema, and in what is published under one: their places and sentences.

Owns: the form of a JSON path, the two errors. Never: what is right and wrong.
"""

import difflib
import json
import re
from collections.abc import Iterable
from itertools import islice
from typing import Final

from fox_shard.errors import InvalidArgument, InvalidPayload

ROOT: Final = "$"
"""The JSON path of a whole document."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_LONGEST: Final = 60


class SchemaError(InvalidArgument):
    """A schema that cannot be; `path` says where the mistake is, and `sentence` what it is."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(f"the schema is wrong at {path}: {sentence}")
        self.path = path
        self.sentence = sentence

    def in_file(self, name: str) -> str:
        """Return the mistake as a whole sentence with the name of its file."""
        end = "" if self.sentence.endswith("?") else "."
        return f"{name}: {self.path}: {self.sentence}{end}"


class InvalidRow(InvalidPayload):
    """A row or an event that breaks a rule of its schema.

    path: where, as a JSON path into the document. rule: the keyword of the schema.
    """

    def __init__(self, path: str, rule: str, sentence: str) -> None:
        super().__init__(f"{sentence} (at {path}, rule {rule})")
        self.path = path
        self.rule = rule


def at(path: str, *steps: str | int) -> str:
    """Return the JSON path of a value below `path`, such as `$.lines[0].price`."""
    return path + "".join(map(_step, steps))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    plain = len(step) <= _LONGEST and _PLAIN_NAME.fullmatch(step)
    return f".{step}" if plain else f"[{shown(step)}]"


def shown(value: object) -> str:
    """Return a value as JSON writes it, or what it is if that may be long."""
    match value:
        case dict():
            return "an object"
        case list() if len(value) > _LONGEST or not all(map(_is_scalar, value)):
            return "a list"
        case str() if len(value) > _LONGEST:
            return _json(value[: _LONGEST - 3])[:-1] + '..."'
        case int() if not isinstance(value, bool) and abs(value) >= 10**_LONGEST:
            return f"a number of more than {_LONGEST} digits"
        case bytes():
            return f"{len(value)} bytes"
    text = _json(value)
    return "a list" if isinstance(value, list) and len(text) > _LONGEST else text


def _json(value: object) -> str:
    """Return a value as JSON, in which halves of surrogate pairs are written as escapes."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text.encode(errors="backslashreplace").decode()


def _is_scalar(value: object) -> bool:
    return not isinstance(value, dict | list) and shown(value)[-4:] != '..."'


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that refuses a word: what may have been meant, or all.

    Long words are compared with nothing, as that takes the product of both lengths.
    """
    names = list(islice(known, 200))
    short = [name for name in names if len(name) <= _LONGEST]
    if len(word) <= _LONGEST:
        nearest = difflib.get_close_matches(word, short, n=1, cutoff=0.7)
        if nearest:
            return f"; did you mean {nearest[0]}?"
    return f"; there are {', '.join(names)}" if names == short and 0 < len(names) <= 20 else ""

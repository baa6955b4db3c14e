"""Keys of rows: the components of a row's topic, and the values that they stand for.

Owns: the encoding. Never: which fields are a table's key.

Each key field is one component of the row's topic. Of a text, these characters are percent-encoded,
as UTF-8 bytes in upper case: `%`, the characters with a meaning in topics and patterns (`.`, `/`,
`*`, `+`, `#`), white space, control characters, and a leading `~`, which marks the keys of
sequences. The empty text is the component `%`, which no other text gives. A text that begins with
U+0000 is none here: clients with JSON take it for bytes, and could not name its row. Integers are
decimal digits, booleans `true` and `false`. A value has one component only, so a row has one topic.
"""

import re
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from fox_shard.topics.topic import MAX_BYTES

Key: TypeAlias = str | int | bool
"""The value of a key field."""

TEXT: Final = "string"
INTEGER: Final = "integer"
BOOLEAN: Final = "boolean"
KINDS: Final = (TEXT, INTEGER, BOOLEAN)
"""The JSON types that a key field may have."""

LONGEST_INTEGER: Final = 100
"""The digits that an integer in a key may have."""

_EMPTY: Final = "%"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")
_SPECIAL: Final = re.compile(r"[%./*+#\s\x00-\x1f\x7f-\x9f]")
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
_TOO_LARGE: Final = 10**LONGEST_INTEGER


def component_of(value: object, kind: str) -> str:
    """Return the component for a key field's value; ValueError says what the value must be."""
    if kind == TEXT and isinstance(value, str):
        return _text_component(value)
    if kind == BOOLEAN and isinstance(value, bool):
        return "true" if value else "false"
    if kind == INTEGER and not isinstance(value, bool):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int):
            if abs(value) >= _TOO_LARGE:
                raise ValueError(f"an integer of at most {LONGEST_INTEGER} digits")
            return str(value)
    raise ValueError(_WANTED[kind])


_WANTED: Final = {TEXT: "a text", INTEGER: "an integer", BOOLEAN: "true or false"}


def _text_component(text: str) -> str:
    if len(text) <= MAX_BYTES and _PLAIN.fullmatch(text):  # nearly every key, at half the price
        return text
    if not text:
        return _EMPTY
    if len(text) > MAX_BYTES:  # before it is encoded, a character at a time
        raise ValueError(f"a text of at most {MAX_BYTES} bytes")
    if text[0] == "\0":
        raise ValueError("a text that does not begin with U+0000, which means bytes in WAMP's JSON")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a text without halves of surrogate pairs") from None
    encoded = text.translate(_ENCODED)
    return "%7E" + encoded[1:] if encoded[0] == "~" else encoded


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


# By code points; no white space is beyond these.
_ENCODED: Final = {n: _percent(chr(n)) for n in range(0x3001) if _SPECIAL.fullmatch(chr(n))}


def value_of(component: str, kind: str) -> Key:
    """Return the value that has this component; ValueError if no value of this kind has it."""
    value = _read(component, kind)
    if component_of(value, kind) != component:
        raise ValueError("a component in its one form")
    return value


def _read(component: str, kind: str) -> Key:
    if kind == TEXT:
        return "" if component == _EMPTY else unquote_to_bytes(component).decode()
    if kind == BOOLEAN:
        if component not in ("true", "false"):
            raise ValueError(_WANTED[kind])
        return component == "true"
    if len(component) > LONGEST_INTEGER + 1 or not _INTEGER.fullmatch(component):
        raise ValueError(_WANTED[kind])
    return int(component)

"""Values of keys on the command line: from an argument, and as text.

Owns: which one value stands for an event's arguments; JSON and plain text. Never: sessions.
"""

import base64
import binascii
from typing import Any

import msgspec

from fox_shard.client import Event
from fox_shard.printable import printable_json

__all__ = ["as_json", "as_name", "as_plain", "from_text", "value_of", "why_no_json"]


def from_text(text: str) -> object:
    """Return the value that the text is in JSON, or else the text itself."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def why_no_json(text: str) -> str:
    """Return why the text is no JSON; "": it is."""
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return str(error).removeprefix("JSON is malformed: ")
    except UnicodeEncodeError:
        return "it is not UTF-8"
    return ""


def value_of(event: Event) -> Any:  # noqa: ANN401 (JSON)
    """Return one value for the arguments, as MQTT clients get it (docs/semantics.md, Payloads)."""
    if not event.kwargs:
        return event.args[0] if len(event.args) == 1 else event.args
    return {"args": event.args, "kwargs": event.kwargs} if event.args else event.kwargs


def as_json(value: object) -> str:
    """Return the value as JSON on one line, of which a terminal prints each character."""
    return printable_json(msgspec.json.encode(value).decode())


def as_name(topic: str) -> str:
    """Return the topic; as JSON, if it is an MQTT topic that would not stay on one line."""
    return topic if topic.isprintable() else as_json(topic)


def as_plain(value: object) -> bytes:
    """Return text and bytes (WAMP #binary-support-in-json) as they are, other values as JSON.

    A newline follows everything but bytes.
    """
    if not isinstance(value, str):
        return as_json(value).encode() + b"\n"
    if value.startswith("\0"):
        try:
            return base64.b64decode(value[1:], validate=True)
        except binascii.Error:
            pass
    return value.encode("utf-8", "surrogatepass") + b"\n"

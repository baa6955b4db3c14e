"""Attributes of clients that frames carry (`Publish.attributes` and others), in MessagePack.

Owns: reading them. Never: which options of clients become attributes (see `gateway.wamp`).
"""

from typing import Any, Final

from msgspec import msgpack

NO_ATTRIBUTES: Final = b"\x80"
"""An empty dict in MessagePack."""

SCHEME: Final = "ppt_scheme"
"""The attribute that makes payload passthru mode (WAMP #payload-passthru-mode)."""


def read(packed: bytes) -> dict[str, Any]:
    """Return the attributes in a frame."""
    attributes: dict[str, Any] = msgpack.decode(packed)
    return attributes


def is_passthru(packed: bytes) -> bool:
    """Whether these attributes, from a frame, are those of a payload that is passed through."""
    return SCHEME in read(packed)

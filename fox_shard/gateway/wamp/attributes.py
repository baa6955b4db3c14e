"""Attributes of options that the router passes on, in the details of the message that results.

Owns: payload passthru (`ppt_…`, WAMP #payload-passthru-mode), custom attributes (`_…`, `x_…`) and
their limits. Never: the other options (see `options`), which role may use them (see `requests`).
"""

import re
from typing import Any, Final

from msgspec import Struct, msgpack

from fox_shard.backplane.attributes import SCHEME
from fox_shard.documents.nesting import DEPTH_LIMIT, too_deep
from fox_shard.documents.payloads import decode
from fox_shard.errors import InvalidArgument, LimitExceeded

ATTRIBUTE_BYTES: Final = 1 << 14
"""Bytes of all attributes of a message in MessagePack."""

PASSTHRU: Final = (SCHEME, "ppt_serializer", "ppt_cipher", "ppt_keyid")

_CUSTOM: Final = re.compile("_[a-z0-9_]{3,}|x_[a-z0-9_]+")


class Attributes(Struct, frozen=True, gc=False):
    """Attributes that are passed on. packed: as in `frames.Publish.attributes`."""

    packed: bytes
    passthru: bool


def attributes_of(options: dict[str, Any]) -> Attributes | None:
    """Return what is passed on of a message's options; None: nothing.

    Attributes of payload passthru that are empty count as absent: a scheme that is not empty is
    what makes the mode.

    Raises InvalidArgument, LimitExceeded.
    """
    passthru = {name: options[name] for name in PASSTHRU if options.get(name) not in (None, "")}
    for name, value in passthru.items():
        if not isinstance(value, str):
            raise InvalidArgument(f"the option {name}: a string, not {type(value).__name__}")
    if passthru and not passthru.get(SCHEME):
        raise InvalidArgument(f"the option {next(iter(passthru))} needs the option {SCHEME}")
    custom = {name: value for name, value in options.items() if _CUSTOM.fullmatch(name)}
    if not (passthru or custom):
        return None
    if too_deep([*custom.values()]):
        sentence = f"custom attributes: more than {DEPTH_LIMIT} levels"
        raise LimitExceeded(sentence).beyond("nesting")
    try:
        packed = msgpack.encode({**passthru, **custom})
    except (TypeError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"a custom attribute cannot be passed on: {error}") from None
    if len(packed) > ATTRIBUTE_BYTES:
        sentence = f"attributes of {len(packed)} bytes in MessagePack, of at most {ATTRIBUTE_BYTES}"
        raise LimitExceeded(sentence).beyond("option_size")
    return Attributes(packed, bool(passthru))


def check_passthru_payload(encoding: int, args: bytes, kwargs: bytes) -> None:
    """Raise InvalidArgument unless the payload is one item, which the router does not look into.

    The item need not be binary: wampy.js sends a dictionary if no serializer is named, and a string
    where the payload's serializer made one.
    """
    items, named = decode(encoding, args, kwargs)
    if named or len(items) != 1:
        raise InvalidArgument(
            f"with {SCHEME}, the payload is the only argument, and there are no keyword arguments"
        )

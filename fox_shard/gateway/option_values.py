"""Values of options on their way to a shard: in MessagePack, and not too large.

Owns: their encoding, and its limit. Never: what options mean.
"""

from typing import Final

from msgspec import msgpack

from fox_shard.errors import InvalidArgument, LimitExceeded

OPTION_BYTES: Final = 1 << 14
"""Bytes of a condition, a filter, or a list of receivers."""


def packed(value: object, name: str) -> bytes:
    """Encode the value of the option `name` in MessagePack. Raises InvalidArgument."""
    try:
        # Sorted, because equal filters must give their subscription the same id.
        return msgpack.encode(value, order="sorted")
    except (TypeError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"the option {name}: {error}") from None


def packed_document(value: object, name: str) -> bytes:
    """Encode a condition or filter. Raises InvalidArgument, or LimitExceeded if it is too large."""
    encoded = packed(value, name)
    if len(encoded) > OPTION_BYTES:
        raise LimitExceeded(
            f"the option {name}: {len(encoded)} bytes in MessagePack, of at most {OPTION_BYTES}"
        ).beyond("option_size")
    return encoded

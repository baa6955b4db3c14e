"""Ids of subscriptions, registrations and publications.

Owns: their computation. A subscription's id is the same on every gateway, without asking anybody;
a publication's is `64·t + shard`, t in ticks since an epoch (see `shard.clock`).
"""

from hashlib import blake2b

EPOCH = 1704067200
"""2024-01-01 00:00 UTC, in seconds since 1970."""

TICKS = 1 << 17
"""Per second."""

MAX_ID = (1 << 53) - 1
"""The highest id of WAMP (WAMP #ids), beyond every publication, and every number of a frame."""

SHARDS = 64
"""More there are not."""


def pattern_id(realm: str, kind: str, pattern: str) -> int:
    """1..2⁵³-1, a hash. kind: `subscription` or `registration`; pattern: a `Pattern`'s text."""
    data = f"{realm}\0{kind}\0{pattern}".encode()
    return (int.from_bytes(blake2b(data, digest_size=8).digest(), "big") >> 11) or 1

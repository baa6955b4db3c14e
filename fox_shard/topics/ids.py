"""Ids of subscriptions and registrations.

Owns: their computation. A subscription's id is the same on every gateway, without asking anybody.
"""

from hashlib import blake2b


def pattern_id(realm: str, kind: str, pattern: str) -> int:
    """1..2⁵³-1, a hash. kind: `subscription` or `registration`; pattern: a `Pattern`'s text."""
    data = f"{realm}\0{kind}\0{pattern}".encode()
    return (int.from_bytes(blake2b(data, digest_size=8).digest(), "big") >> 11) or 1

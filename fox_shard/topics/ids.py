"""Ids of subscriptions, registrations and publications.

Owns: the computation of the former two, the constants of the latter. Never: giving out publication
ids, which are `64·t + shard` with t in ticks since the epoch (see `shard.clock`).

The id of a subscription is a hash, so all gateways know it without asking each other.
"""

from hashlib import blake2b

EPOCH = 1704067200
"""Beginning of the time in publication ids: 2024-01-01 00:00 UTC, in seconds since 1970."""

TICKS = 1 << 17
"""Ticks of publication ids per second."""

MAX_ID = (1 << 53) - 1
"""The highest WAMP id (WAMP #ids); publication ids and numbers of frames stay below."""

OWN_SUBSCRIPTIONS = MAX_ID + 1
"""The lowest id of subscriptions that no session has, but a gateway itself. Nobody is told of
them."""

SHARDS = 64
"""The maximum number of shards, and the modulus that yields a publication id's shard."""


def pattern_id(realm: str, kind: str, pattern: str) -> int:
    """Return the id of a subscription or registration, a hash from 1 to 2⁵³ - 1.

    kind: `subscription` or `registration`. pattern: a `Pattern`'s text.
    """
    data = f"{realm}\0{kind}\0{pattern}".encode()
    return (int.from_bytes(blake2b(data, digest_size=8).digest(), "big") >> 11) or 1


def reducer_id(realm: str, pattern: str, mission: str, durable: str) -> int:
    """Return the id of a reducer, which is the same everywhere. pattern: a `Pattern`'s text."""
    return pattern_id(realm, "reducer", f"{pattern}\0{mission}\0{durable}")


def webhook_id(realm: str, name: str) -> int:
    """Return the id of a webhook, under which a shard keeps the events that wait for it."""
    return pattern_id(realm, "webhook", name)

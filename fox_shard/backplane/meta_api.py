"""What processes tell of registrations and subscriptions: in inquiries, and in meta events.

Owns: the kinds of inquiry of the meta API, the values of their items, the form of details. Never:
behaviour.

The body of an inquiry about one registration or subscription is its id, in eight bytes.
"""

from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct, msgpack

from fox_shard.topics.pattern import EXACT, PREFIX, WILDCARD, Pattern

REGISTRATIONS: Final = "registrations"
"""The ids of all registrations, as `IdLists`."""

REGISTRATION: Final = "registration"
"""One registration, as a `RegistrationState`."""

BEST_REGISTRATION: Final = "best registration"
"""The id of the registration that is called for a procedure, which is the body."""

CALLEES: Final = "callees"
"""The ids of the sessions that have one registration, in lists."""

SUBSCRIPTIONS: Final = "subscriptions"
"""The ids of all subscriptions, as `IdLists`."""

SUBSCRIPTION: Final = "subscription"
"""One subscription, as a `SubscriptionState`."""

MATCHING_SUBSCRIPTIONS: Final = "matching subscriptions"
"""The ids of the subscriptions that match a topic, which is the body, in lists."""

SUBSCRIBERS: Final = "subscribers"
"""Of a gateway: the ids of its sessions that have one subscription, in lists."""

SUBSCRIBER_COUNT: Final = "subscriber count"
"""Of a gateway: how many of its sessions have one subscription."""


class RegistrationState(Struct, array_like=True, gc=False):
    """A registration. created: seconds since 1970. pattern: its text. callees: how many.

    queued: calls that wait for a callee. running: calls that callees have, at this shard.
    """

    id: int
    created: float
    pattern: str
    invoke: str
    callees: int
    queued: int = 0
    running: int = 0


class SubscriptionState(Struct, array_like=True, gc=False):
    """A subscription.

    created: seconds since 1970. pattern: its text. home: number of the shard that tells this.
    gateways: the names of those that have it.
    """

    id: int
    created: float
    pattern: str
    home: int
    gateways: list[str]


class IdLists(Struct, array_like=True, gc=False):
    """Ids of registrations or subscriptions, by the policy of their patterns."""

    exact: list[int] = []
    prefix: list[int] = []
    wildcard: list[int] = []


def id_lists(ids: list[tuple[int, int]]) -> IdLists:
    """Return ids by policy. ids: each with its pattern's kind."""
    exact = [id_ for id_, kind in ids if kind == EXACT]
    if len(exact) == len(ids):
        return IdLists(exact)
    return IdLists(
        exact,
        [id_ for id_, kind in ids if kind == PREFIX],
        [id_ for id_, kind in ids if kind == WILDCARD],
    )


decode_registration: Final = msgpack.Decoder(RegistrationState).decode
decode_subscription: Final = msgpack.Decoder(SubscriptionState).decode
decode_lists: Final = msgpack.Decoder(IdLists).decode
decode_ids: Final = msgpack.Decoder(list[int]).decode
decode_count: Final = msgpack.Decoder(int).decode


def id_key(id_: int) -> bytes:
    """Return an id, or another number, in eight bytes, which are ordered like the numbers."""
    return id_.to_bytes(8, "big")


def key_id(key: bytes) -> int:
    """Return the id of `id_key`; 0 for b""."""
    return int.from_bytes(key, "big")


def details(id_: int, created: float, text: str) -> dict[str, Any]:
    """Return what registrations and subscriptions have in their details. text: the pattern's."""
    uri, match = Pattern.parse(text).shown
    time = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    return {"id": id_, "created": time.replace("+00:00", "Z"), "uri": uri, "match": match}

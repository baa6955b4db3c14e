"""Conditions: what a publish requires of its key.

Owns: whether a key meets a condition. Never: keys; what becomes of the publish.
"""

from typing import Any, final

from msgspec import msgpack

from fox_shard.backplane.frames import Event, RetainOptions
from fox_shard.documents.filters import MISSING, contains
from fox_shard.errors import InvalidPayload
from fox_shard.shard.keys.documents import Documents


def is_shown(key: Event, session: int) -> bool:
    """Whether the session is shown the key; a private key is shown only to its publisher."""
    retain = key.publish.retain
    return retain is None or not retain.private or key.publish.session == session


@final
class ParsedCondition:
    """The condition of a publish, decoded once for all keys that it is compared with."""

    __slots__ = ("_wanted", "_when_id")

    def __init__(self, retain: RetainOptions) -> None:
        self._when_id = retain.when_id
        # What the key's document must contain; None: there must be no key; MISSING: anything.
        self._wanted: Any = MISSING if retain.when is None else msgpack.decode(retain.when)

    def holds(self, key: Event | None, session: int, documents: Documents) -> bool:
        """Whether the key meets the condition of the session's publish.

        key: the key's value; None: there is no key. For sessions that are not shown the key, every
        condition on this key fails.
        """
        if key is not None and not is_shown(key, session):
            return False
        if self._when_id is not None and self._when_id != (key.publication if key else 0):
            return False
        wanted = self._wanted
        if wanted is MISSING:
            return True
        if wanted is None or key is None:
            return wanted is None and key is None
        try:
            found = documents(key.publish)
        except InvalidPayload:
            return False
        return contains(found or {}, wanted)


def conditions_hold(
    retain: RetainOptions, key: Event | None, session: int, documents: Documents
) -> bool:
    """Whether the key meets the condition of the session's publish, if the publish has one.

    See `ParsedCondition.holds`.
    """
    if retain.when_id is None and retain.when is None:
        return True
    return ParsedCondition(retain).holds(key, session, documents)

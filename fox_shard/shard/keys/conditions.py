"""Conditions: what a publish requires of its key.

Owns: whether a key meets a condition. Never: keys; what becomes of the publish.
"""

from msgspec import msgpack

from fox_shard.backplane.frames import Event, RetainOptions
from fox_shard.documents.filters import contains
from fox_shard.documents.payloads import document
from fox_shard.errors import InvalidPayload


def is_shown(key: Event, session: int) -> bool:
    """Whether the session is shown the key; a private key is shown only to its publisher."""
    retain = key.publish.retain
    return retain is None or not retain.private or key.publish.session == session


def conditions_hold(
    retain: RetainOptions, key: Event | None, session: int = 0, *, headers: bool = False
) -> bool:
    """Whether the key meets the conditions of the session's publish.

    key: the key's value; None: there is no key. For sessions that are not shown the key, every
    condition on this key fails. headers: keyword arguments are not part of the document.
    """
    if retain.when_id is None and retain.when is None:
        return True
    if key is not None and not is_shown(key, session):
        return False
    if retain.when_id is not None and retain.when_id != (key.publication if key else 0):
        return False
    if retain.when is None:
        return True
    wanted = msgpack.decode(retain.when)
    if wanted is None or key is None:
        return wanted is None and key is None
    publish = key.publish
    try:
        kwargs = b"" if headers else publish.kwargs
        found = document(publish.encoding, publish.args, kwargs)
    except InvalidPayload:
        return False
    return contains(found or {}, wanted)

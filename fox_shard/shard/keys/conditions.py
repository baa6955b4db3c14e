"""Conditions of a publish: what its key has to be.

Owns: whether a key meets a condition. Never: keys, and what becomes of the publish.
"""

from msgspec import msgpack

from fox_shard.backplane.frames import Event, Keep
from fox_shard.documents.filters import contains
from fox_shard.documents.payloads import document
from fox_shard.errors import InvalidPayload


def is_shown(key: Event, session: int) -> bool:
    """Is the session shown the key? One that is private is its publisher's alone."""
    keep = key.publish.keep
    return keep is None or not keep.private or key.publish.session == session


def hold(keep: Keep, key: Event | None, session: int = 0, *, headers: bool = False) -> bool:
    """Does the key meet the conditions of that session's publish?

    key: None if there is none. What the session is not shown meets no condition. headers: keyword
    arguments do not belong to the document.
    """
    if keep.when_id is None and keep.when is None:
        return True
    if key is not None and not is_shown(key, session):
        return False
    if keep.when_id is not None and keep.when_id != (key.publication if key else 0):
        return False
    if keep.when is None:
        return True
    wanted = msgpack.decode(keep.when)
    if wanted is None or key is None:
        return wanted is None and key is None
    publish = key.publish
    try:
        kwargs = b"" if headers else publish.kwargs
        found = document(publish.encoding, publish.args, kwargs)
    except InvalidPayload:
        return False
    return contains(found or {}, wanted)

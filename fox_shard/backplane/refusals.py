"""Refusals, turned into frames.

Owns: how an error crosses a link. Never: which error it is.
"""

from msgspec import Struct, msgpack

from fox_shard.backplane.frames import CallError, Refused
from fox_shard.documents.payloads import MSGPACK
from fox_shard.errors import ConditionFailed, Refusal


def refused(kind: type[Struct], session: int, request: int, refusal: Refusal) -> Refused:
    """Return the answer to a frame of that kind that could not be carried out."""
    tag = kind.__struct_config__.tag
    if not isinstance(tag, int):
        raise TypeError(f"{kind.__name__} is no frame")
    publication = refusal.publication if isinstance(refusal, ConditionFailed) else -1
    return Refused(session, request, tag, refusal.uri, refusal.message, publication)


def call_error(session: int, request: int, refusal: Refusal) -> CallError:
    """Return the answer to a call, whose only argument is the refusal's sentence."""
    return CallError(session, request, refusal.uri, MSGPACK, msgpack.encode([refusal.message]))

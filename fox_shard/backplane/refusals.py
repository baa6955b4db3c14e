"""A `Refusal` as a frame.

Owns: how an error travels. Never: which error it is.
"""

from msgspec import Struct, msgpack

from fox_shard.backplane.frames import CallError, Refused
from fox_shard.documents.payloads import MSGPACK
from fox_shard.errors import ConditionFailed, Refusal


def refused(kind: type[Struct], session: int, request: int, refusal: Refusal) -> Refused:
    """The answer to a frame of that kind which could not be carried out."""
    tag = kind.__struct_config__.tag
    if not isinstance(tag, int):
        raise TypeError(f"{kind.__name__} is no frame")
    publication = refusal.publication if isinstance(refusal, ConditionFailed) else -1
    return Refused(session, request, tag, refusal.uri, refusal.message, publication)


def call_error(session: int, request: int, refusal: Refusal) -> CallError:
    """The answer to a call; its one argument is the sentence."""
    return CallError(session, request, refusal.uri, MSGPACK, msgpack.encode([refusal.message]))

"""The answers of reducers: what a result makes of a key, and what is told of a failure.

Owns: the first result, and the event at `fox.reducer.failed`. Never: queues, keys.
"""

from typing import Any, Final

import msgspec

from fox_shard.backplane.frames import RELIABLE_EVENT, Event, NotReduced, Publish
from fox_shard.documents import payloads
from fox_shard.documents.payloads import CBOR, JSON, MSGPACK
from fox_shard.errors import InvalidPayload, Refusal
from fox_shard.shard.reducers.reducer import Reducer, shown_pattern

FAILED: Final = "fox.reducer.failed"
WEBHOOK_FAILED: Final = "fox.webhook.failed"
"""The topics of what is told of failures: of reducers, and of events that webhooks gave up."""

DELAYS: Final = (0.1, 86_400.0)
"""Seconds for which a reducer may wish to wait before it is asked again."""

SENTENCE: Final = 200
"""Characters of a failure that are remembered."""

_ONE_ITEM: Final = {MSGPACK: 0x91, CBOR: 0x81}
"""The first byte of an encoded list of one element."""

TOLD: Final = 1 << 16
"""Bytes of an event's, or an error's, arguments up to which they are told."""

_split: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def first_result(encoding: int, args: bytes) -> bytes:
    """Return a result's first argument as the only one; b"": the result is empty.

    Raises InvalidPayload if it cannot be read.
    """
    if payloads.is_empty(encoding, args, b""):
        return b""
    if encoding == JSON:
        try:
            items = _split(args)
        except msgspec.MsgspecError as error:
            raise InvalidPayload(f"the result is not valid JSON: {error}") from None
        if len(items) == 1:
            return args
        return b"" if bytes(items[0]) == b"null" else b"[%b]" % bytes(items[0])
    if args[0] == _ONE_ITEM.get(encoding):
        return args
    value = payloads.decode(encoding, args, b"")[0][0]
    return b"" if value is None else payloads.encode([value], {}, encoding)[0]


def refusal_of(refusal: Refusal) -> NotReduced:
    """Return the shard's own refusal of a result, as if the reducer had answered so."""
    args = payloads.encode([refusal.message], {}, MSGPACK)[0]
    return NotReduced(0, refusal.uri, MSGPACK, args)


def wanted_delay(error: NotReduced) -> float:
    """Return after how many seconds the reducer wants to be asked again (`after`); 0: unsaid."""
    named = _read(error.encoding, b"", error.kwargs)["kwargs"]
    after = named.get("after") if isinstance(named, dict) else None
    if isinstance(after, bool) or not isinstance(after, int | float):
        return 0.0
    least, most = DELAYS
    return min(most, max(least, after))


def sentence_of(error: NotReduced) -> str:
    """Return what an error says, in short."""
    args = _read(error.encoding, error.args, b"")["args"]
    said = args[0] if args and isinstance(args[0], str) else error.uri
    return said[:SENTENCE]


def failure(reducer: Reducer, event: Event, error: NotReduced, limit: int) -> Publish:
    """Return the event that tells that the reducer has failed at an event.

    Its arguments are the reducer's pattern, the topic, the publication id, the error's URI and
    arguments, and the event. limit: bytes of it all; what is too long is left out.
    """
    pattern, match = shown_pattern(reducer.pattern)
    publish = event.publish
    about = {"match": match, "mission": reducer.mission, "durable": reducer.durable}
    topic = FAILED
    if reducer.webhook is not None:
        topic, about = WEBHOOK_FAILED, {"match": match, "webhook": reducer.durable}
    named = {"skipped": not error.timed_out, **{key: text for key, text in about.items() if text}}
    head = [pattern, publish.topic, event.publication, error.uri]
    why = _read(error.encoding, error.args, b"")["args"]
    args, kwargs = _encode(
        [*head, why, _read(publish.encoding, publish.args, publish.kwargs)], named
    )
    if len(args) > limit:
        args, kwargs = _encode([*head, [], None], named)
    return Publish(publish.realm, topic, 0, 0, 0, RELIABLE_EVENT, MSGPACK, args, kwargs)


def _encode(args: list[Any], kwargs: dict[str, Any]) -> tuple[bytes, bytes]:
    return payloads.encode(args, kwargs, MSGPACK)


def _read(encoding: int, args: bytes, kwargs: bytes) -> dict[str, Any]:
    """Return arguments in a form that can be written; empty if they are long, or unreadable."""
    if len(args) + len(kwargs) > TOLD:
        return {"args": [], "kwargs": {}}
    try:
        values, named = payloads.decode(encoding, args, kwargs)
        payloads.encode([values, named], {}, MSGPACK)
    except InvalidPayload:
        return {"args": [], "kwargs": {}}
    return {"args": values, "kwargs": named}

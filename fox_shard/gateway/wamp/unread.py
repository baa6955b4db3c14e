"""Requests that are too deep or too large to be read: only their heads are.

Owns: the beginning of such a message, up to its request id, in each encoding, and the options of a
PUBLISH, which say whether it is answered. Never: the answer (see `requests`).

The decoders give up at about a thousand levels, wherever those are, and a message of very many
lists and maps is not decoded at all. A request is refused for that, but its session goes on, so the
answer must name the request.
"""

import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final, NamedTuple, final

import cbor2
import msgpack
import msgspec

from fox_shard.documents.containers import cbor_has_more, json_has_more, msgpack_has_more
from fox_shard.documents.nesting import DEPTH_LIMIT
from fox_shard.documents.numbers import whole
from fox_shard.documents.payloads import CBOR, JSON, MSGPACK
from fox_shard.errors import InvalidPayload, ProtocolViolation
from fox_shard.gateway.wamp.messages import CALL, ERROR, PUBLISH, TYPES

HEAD_BYTES: Final = 1 << 16
"""Bytes of a message in which its options are looked for."""


class Why(NamedTuple):
    """Why a message is not read: a sentence, and the limit (see `clients.limits`)."""

    sentence: str
    limit: str


TOO_DEEP: Final = Why(
    f"the message nests too deep: arguments have at most {DEPTH_LIMIT} levels", "nesting"
)

SURELY_FEW: Final = 1000
"""Bytes of a message that need not be counted: the least that `gateway.max_containers` may be."""

_NUMBER: Final = re.compile(rb"[\[,][ \t\r\n]*(-?[0-9][-+.eE0-9]*)[ \t\r\n]*")
_OPTIONS: Final = re.compile(rb",[ \t\r\n]*(?=\{)")
_IDS: Final = range(1, (1 << 53) + 1)


@final
class UnreadRequest(ProtocolViolation):
    """A message that is not read, whose kind and request id are known.

    kind: its type code. request: its id; of an ERROR that of the invocation. options: encoded; b"":
    they could not be read either. wanted: whether `acknowledge` is named near the beginning.
    Raised where a request is expected; elsewhere it is a violation like others.
    """

    def __init__(self, why: Why, kind: int, request: int, options: bytes, *, wanted: bool) -> None:
        super().__init__(why.sentence, limit=why.limit)
        self.kind = kind
        self.request = request
        self.options = options
        self.wanted = wanted

    @property
    def refusal(self) -> InvalidPayload:
        """The answer."""
        return InvalidPayload(self.message).beyond(self.limit)


def check_containers(encoding: int, data: bytes, most: int) -> None:
    """Raise UnreadRequest or ProtocolViolation if a message has more than `most` lists and maps."""
    if len(data) <= most or not _HAS_MORE[encoding](data, most):
        return
    sentence = f"the message has more than {most:,} lists and maps (gateway.max_containers)"
    why = Why(sentence, "max_containers")
    raise _HEADS[encoding](data, why) or ProtocolViolation(sentence, limit=why.limit)


def json_head(data: bytes, why: Why = TOO_DEEP) -> UnreadRequest | None:
    """Return the head of a message in JSON; None: it is no request."""
    at = len(data) - len(data.lstrip(b" \t\r\n"))

    def numbers() -> Iterator[Any]:
        nonlocal at
        while found := _NUMBER.match(data, at):
            at = found.end()
            yield msgspec.json.decode(found[1])

    def options() -> bytes:
        found = _OPTIONS.match(data, at)
        if found is None:
            return b""
        text = data[found.end() : found.end() + HEAD_BYTES].decode("utf-8", "replace")
        return text[: json.JSONDecoder().raw_decode(text)[1]].encode()

    return _head(data, why, numbers(), options)


def msgpack_head(data: bytes, why: Why = TOO_DEEP) -> UnreadRequest | None:
    """Return the head of a message in MessagePack; None: it is no request."""
    reader = msgpack.Unpacker(raw=True, strict_map_key=False)
    reader.feed(data[:HEAD_BYTES])

    def numbers() -> Iterator[Any]:
        reader.read_array_header()
        while True:
            yield reader.unpack()

    def options() -> bytes:
        start = reader.tell()
        reader.skip()
        return data[start : reader.tell()]

    return _head(data, why, numbers(), options)


def cbor_head(data: bytes, why: Why = TOO_DEEP) -> UnreadRequest | None:
    """Return the head of a message in CBOR; None: it is no request."""
    stream = BytesIO(data[1:HEAD_BYTES])
    reader = cbor2.CBORDecoder(stream, max_depth=1)

    def numbers() -> Iterator[Any]:
        while True:
            yield reader.decode()

    def options() -> bytes:
        start = stream.tell()
        cbor2.CBORDecoder(stream, max_depth=DEPTH_LIMIT, strict_hashable_types=True).decode()
        return data[1 + start : 1 + stream.tell()]

    return _head(data, why, numbers(), options)


def _head(
    data: bytes, why: Why, numbers: Iterator[Any], options: Callable[[], bytes]
) -> UnreadRequest | None:
    """Return what a message begins with. numbers: its first elements, as long as they are asked."""
    try:
        kind = whole(next(numbers, None))
        shape = TYPES.get(kind) if type(kind) is int else None
        if shape is None or "request" not in shape.__struct_fields__:
            return None
        if kind == ERROR:
            next(numbers, None)
        request = whole(next(numbers, None))
    except _UNREADABLE:
        return None
    if type(request) is not int or request not in _IDS:
        return None
    wanted = b"acknowledge" in data[:HEAD_BYTES]
    return UnreadRequest(why, kind, request, _options_of(kind, options), wanted=wanted)


def _options_of(kind: int, options: Callable[[], bytes]) -> bytes:
    """Return the options of a PUBLISH or CALL, the only ones that matter; b"": unreadable."""
    if kind not in (PUBLISH, CALL):
        return b""
    try:
        return options()
    except _UNREADABLE:
        return b""


_UNREADABLE: Final = (
    msgspec.MsgspecError,
    msgpack.UnpackException,
    msgpack.StackError,
    cbor2.CBORError,
    ValueError,
    RecursionError,
)

_HAS_MORE: Final = {JSON: json_has_more, MSGPACK: msgpack_has_more, CBOR: cbor_has_more}
_HEADS: Final = {JSON: json_head, MSGPACK: msgpack_head, CBOR: cbor_head}

"""Requests that nest too deep to be read: only their heads are.

Owns: the beginning of such a message, up to its request id, in each encoding, and the options of a
PUBLISH, which say whether it is answered. Never: the answer (see `requests`).

The decoders give up at about a thousand levels, wherever those are. A request is refused for that,
but its session goes on, so the answer must name the request.
"""

import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final, final

import cbor2
import msgpack
import msgspec

from fox_shard.documents.nesting import DEPTH_LIMIT
from fox_shard.documents.numbers import whole
from fox_shard.errors import InvalidPayload, ProtocolViolation
from fox_shard.gateway.wamp.messages import CALL, ERROR, PUBLISH, TYPES

HEAD_BYTES: Final = 1 << 16
"""Bytes of a message in which its options are looked for."""

TOO_DEEP: Final = f"the message nests too deep: arguments have at most {DEPTH_LIMIT} levels"

_NUMBER: Final = re.compile(rb"[\[,][ \t\r\n]*(-?[0-9][-+.eE0-9]*)[ \t\r\n]*")
_OPTIONS: Final = re.compile(rb",[ \t\r\n]*(?=\{)")
_IDS: Final = range(1, (1 << 53) + 1)


@final
class UnreadRequest(ProtocolViolation):
    """A message that nests too deep, whose kind and request id are known.

    kind: its type code. request: its id; of an ERROR that of the invocation. options: encoded; b"":
    they could not be read either. wanted: whether `acknowledge` is named near the beginning.
    Raised where a request is expected; elsewhere it is a violation like others.
    """

    def __init__(self, kind: int, request: int, options: bytes, *, wanted: bool) -> None:
        super().__init__(TOO_DEEP)
        self.kind = kind
        self.request = request
        self.options = options
        self.wanted = wanted

    @property
    def refusal(self) -> InvalidPayload:
        """The answer."""
        return InvalidPayload(self.message).beyond("nesting")


def json_head(data: bytes) -> UnreadRequest | None:
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

    return _head(data, numbers(), options)


def msgpack_head(data: bytes) -> UnreadRequest | None:
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

    return _head(data, numbers(), options)


def cbor_head(data: bytes) -> UnreadRequest | None:
    """Return the head of a message in CBOR, in which only options can keep it from being read."""
    reader = cbor2.CBORDecoder(BytesIO(data[1:HEAD_BYTES]), max_depth=1)

    def numbers() -> Iterator[Any]:
        while True:
            yield reader.decode()

    return _head(data, numbers(), lambda: b"")


def _head(
    data: bytes, numbers: Iterator[Any], options: Callable[[], bytes]
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
    return UnreadRequest(
        kind, request, _options_of(kind, options), wanted=b"acknowledge" in data[:HEAD_BYTES]
    )


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

"""The CBOR serializer of WAMP, based on cbor2.

Owns: reading and writing CBOR messages. Never: the other serializers.

cbor2 cannot leave a value encoded. So the elements are decoded one after the other, and the
positions where they begin and end tell which bytes of the message are the arguments.
"""

from io import BytesIO
from typing import Any, Final, final

import cbor2
import msgspec
from msgspec import Raw

from fox_shard.documents.nesting import DEPTH_LIMIT
from fox_shard.documents.payloads import CBOR
from fox_shard.errors import InvalidPayload, ProtocolViolation
from fox_shard.gateway.wamp.messages import ABSENT, TYPES, Message, MessageWithArguments
from fox_shard.gateway.wamp.options import Decoder
from fox_shard.gateway.wamp.serializer import NO_ARGS, NO_KWARGS, Serializer

_RAW: Final = ("options", "details", "extra")
"""Names of the elements that stay encoded."""

_KWARGS_FOLLOW: Final = Raw(b"")
"""A stand-in for ArgumentsKw, whose bytes follow those of Arguments in the field `args`."""


class _TagRefused(ValueError):
    """The payload has a CBOR tag that not every client understands."""


def _refuse(_value: object, _immutable: bool) -> object:  # noqa: FBT001 (cbor2 calls it so)
    raise _TagRefused("CBOR tags other than 0 to 3 (times, big integers) are not supported")


# The tags that cbor2 would interpret; it hands all others to `tag_hook`. Some of them make their
# reader fail, or use memory without bound (see `payloads`).
_TAGS: Final = dict.fromkeys(
    (4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799),
    _refuse,
)


@final
class Cbor(Serializer):
    """The CBOR serializer (WAMP #serializers)."""

    encoding = CBOR
    subprotocol = "wamp.2.cbor"

    def __init__(self) -> None:
        super().__init__()
        # Type of message → names of its elements between the type code and the arguments.
        self._heads = {
            kind: [name for name in kind.__struct_fields__ if name not in ("args", "kwargs")]
            for kind in TYPES.values()
        }

    def read(self, data: bytes) -> Message:
        try:
            return self._parse(data)
        except (cbor2.CBORError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self.violation(data, error) from None

    def _parse(self, data: bytes) -> Message:
        stream = BytesIO(data)
        count = _count(stream)
        decoder = _decoder(stream)
        number = decoder.decode() if count else None
        kind = TYPES.get(number) if type(number) is int else None
        if kind is None:
            raise ValueError("it has no known type")
        elements: list[Any] = [number]
        head = self._heads[kind]
        for field in head[: count - 1]:
            start = stream.tell()
            value = decoder.decode()
            elements.append(Raw(data[start : stream.tell()]) if field in _RAW else value)
        surplus = count - 1 - len(head)
        if surplus > 0:
            elements.append(Raw(data[stream.tell() :]))
            elements += [_KWARGS_FOLLOW] * (surplus - 1)
        elif stream.tell() != len(data):
            raise ValueError("there is something behind the message")
        message: Message = msgspec.convert(elements, Message)
        return message

    def payload(self, message: MessageWithArguments) -> tuple[bytes, bytes]:
        """Return args and kwargs as `Serializer.payload` does.

        Raises ProtocolViolation, or InvalidPayload if a CBOR tag is valid but not supported.
        """
        data = bytes(message.args)
        if message.args is ABSENT:
            return b"", b""
        stream = BytesIO(data)
        try:
            _check(_decoder(stream).decode(), list, NO_ARGS)
            middle = stream.tell()
            if message.kwargs is not ABSENT:
                _check(_decoder(stream).decode(), dict, NO_KWARGS)
        except (cbor2.CBORError, ValueError, RecursionError) as error:
            if isinstance(error.__cause__, _TagRefused):
                raise InvalidPayload(str(error.__cause__)) from None
            raise ProtocolViolation(f"the arguments cannot be read: {error}") from None
        if stream.tell() != len(data):
            raise ProtocolViolation("there is something behind the message")
        return data[:middle], data[middle:]

    def write(self, head: tuple[Any, ...], args: bytes = b"", kwargs: bytes = b"") -> bytes:
        if kwargs:
            args = args or b"\x80"
        # Every message has fewer than 24 elements, so one byte holds their number.
        count = len(head) + bool(args) + bool(kwargs)
        return b"".join((bytes((0x80 | count,)), *map(cbor2.dumps, head), args, kwargs))

    def decoder(self, kind: Any) -> Decoder:  # noqa: ANN401
        # No limits are needed here: `read` has already decoded the message that `raw` is part of.
        return lambda raw: msgspec.convert(cbor2.loads(raw), kind)

    def _number(self, data: bytes) -> object:
        stream = BytesIO(data)
        try:
            return _decoder(stream).decode() if _count(stream) else None
        except cbor2.CBORError as error:
            raise ValueError(str(error)) from None


def _count(stream: BytesIO) -> int:
    """Read a message's first byte and return the number of elements. Raises ValueError."""
    head = stream.read(1)
    if not head or not 0x80 <= head[0] < 0x98:
        # Lists of indefinite length are refused too: no client sends messages that way.
        raise ValueError("a message is a list of fewer than 24 elements")
    return head[0] - 0x80


def _decoder(stream: BytesIO) -> cbor2.CBORDecoder:
    # cbor2 does not count the outermost level.
    return cbor2.CBORDecoder(
        stream, max_depth=DEPTH_LIMIT - 1, semantic_decoders=_TAGS, tag_hook=_refuse
    )


def _check(value: object, kind: type, rule: str) -> None:
    """Raise ProtocolViolation unless the value is of that type and a dict's keys are strings.

    rule: the error's sentence.
    """
    if not isinstance(value, kind):
        raise ProtocolViolation(rule)
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise ProtocolViolation(f"{rule} whose keys are strings")

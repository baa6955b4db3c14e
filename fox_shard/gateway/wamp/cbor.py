"""The CBOR serializer of WAMP, based on cbor2.

Owns: reading and writing CBOR messages. Never: the other serializers.

cbor2 cannot leave a value encoded. So the elements are decoded one after the other, and the
positions where they begin and end tell which bytes of the message are the arguments.
"""

import re
from io import BytesIO
from typing import Any, Final, final

import cbor2
import msgspec
from msgspec import Raw

from fox_shard.documents.nesting import DEPTH_LIMIT
from fox_shard.documents.numbers import whole
from fox_shard.documents.payloads import CBOR, TYPED_ARRAYS, read_cbor
from fox_shard.errors import InvalidPayload, ProtocolViolation
from fox_shard.gateway.wamp.javascript import plain
from fox_shard.gateway.wamp.messages import ABSENT, TYPES, Message, MessageWithArguments
from fox_shard.gateway.wamp.option_readers import Decoder, UnreadableValue
from fox_shard.gateway.wamp.serializer import ANY_KEYS, NO_ARGS, NO_KWARGS, Serializer
from fox_shard.gateway.wamp.unread import cbor_head

_RAW: Final = ("options", "details", "extra")
"""Names of the elements that stay encoded."""

_KWARGS_FOLLOW: Final = Raw(b"")
"""A stand-in for ArgumentsKw, whose bytes follow those of Arguments in the field `args`."""

REGULAR_EXPRESSIONS: Final = 1024
"""Bytes of arguments up to which regular expressions are allowed: each must be compiled."""


def _untagged(value: object, _immutable: bool) -> object:  # noqa: FBT001 (cbor2 calls it so)
    return value


def _refuse(_value: object, _immutable: bool) -> object:  # noqa: FBT001 (cbor2 calls it so)
    raise ValueError("it has a tag for references, MIME or a long regular expression")


def _numbers(value: object, _immutable: bool) -> object:  # noqa: FBT001 (cbor2 calls it so)
    """Check a decimal fraction, a big float or a rational number (tags 4, 5 and 30)."""
    if not isinstance(value, list | tuple) or [type(part) for part in value] != [int, int]:
        raise ValueError("it has a number that is not a pair of integers")
    if abs(value[0]) > _LARGEST or abs(value[1]) > _LARGEST:
        raise ValueError("it has a number that takes too long to compute")
    return value


def _rational(value: object, immutable: bool) -> object:  # noqa: FBT001 (cbor2 calls it so)
    _numbers(value, immutable)
    assert isinstance(value, list | tuple)
    if value[1] <= 0:
        raise ValueError("it has a rational number without a positive denominator")
    return value


def _exponential(value: object, immutable: bool) -> object:  # noqa: FBT001 (cbor2 calls it so)
    _numbers(value, immutable)
    assert isinstance(value, list | tuple)
    if abs(value[0]) > _LARGEST_EXPONENT:
        raise ValueError("it has a number that takes too long to compute")
    return value


def _regular_expression(value: object, _immutable: bool) -> object:  # noqa: FBT001 (see above)
    """Check that Python's readers can compile a regular expression, and soon (tag 35)."""
    if not isinstance(value, str) or _FLAGS.search(value):
        raise ValueError("it has a regular expression that not every client can read")
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"it has a regular expression that is invalid: {error}") from None
    return value


def _typed_array(tag: cbor2.CBORTag, _immutable: bool) -> object:  # noqa: FBT001 (see above)
    """Check that a typed array (tags 64 to 87) is bytes; all other tags pass."""
    if tag.tag in TYPED_ARRAYS and not isinstance(tag.value, bytes):
        raise ValueError("it has a typed array that is not bytes")
    return tag


_FLAGS: Final = re.compile(r"\(\?[aiLmsux-]")
"""Flags inside a regular expression: ignoring case can take Python seconds to compile."""

_UNDEFINED: Final = type(cbor2.undefined)

_DEPTH: Final = "maximum container nesting depth"
_LIMITS: Final = re.compile(f"map key must be|{_DEPTH}")
"""What cbor2 says of arguments beyond `ANY_KEYS` or `DEPTH_LIMIT`."""

_LARGEST: Final = 1 << 4096
_LARGEST_EXPONENT: Final = 6000

# Tags whose contents are checked here, because their readers could fail or use memory or time
# without bound: references to other values (25, 28, 29, 256) grow exponentially when they are
# written out, a big float (5) is a power, and MIME (36) is parsed slowly.
_TAGS: Final = {
    **dict.fromkeys((25, 28, 29, 36, 256), _refuse),
    **dict.fromkeys((4, 5), _exponential),
    30: _rational,
    35: _refuse,
}
_TAGS_OF_SHORT_ARGUMENTS: Final = {**_TAGS, 35: _regular_expression}

# All tags that cbor2 would interpret or check.
_NO_TAGS: Final = dict.fromkeys(
    (
        *(0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100),
        *(256, 258, 260, 261, 1004, 43000, 55799),
    ),
    _untagged,
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
            unread = cbor_head(data) if _DEPTH in str(error) else None
            raise unread or self.violation(data, error) from None

    def _parse(self, data: bytes) -> Message:
        stream = BytesIO(data)
        count = _count(stream)
        decoder = _structure(stream, len(data))
        number = whole(decoder.decode()) if count else None
        kind = TYPES.get(number) if type(number) is int else None
        if kind is None:
            raise ValueError("it has no known type")
        elements: list[Any] = [number]
        head = self._heads[kind]
        for field in head[: count - 1]:
            start = stream.tell()
            value = decoder.decode()
            elements.append(Raw(data[start : stream.tell()]) if field in _RAW else whole(value))
        surplus = count - 1 - len(head)
        if surplus > 0:
            elements.append(Raw(data[stream.tell() :]))
            elements += [_KWARGS_FOLLOW] * (surplus - 1)
        elif stream.tell() != len(data):
            raise ValueError("there is something behind the message")
        message: Message = msgspec.convert(elements, Message)
        return message

    def payload(self, message: MessageWithArguments) -> tuple[bytes, bytes]:
        data = bytes(message.args)
        if message.args is ABSENT:
            return b"", b""
        stream = BytesIO(data)
        try:
            middle = _check_arguments(_decoder(stream, len(data)), stream, message)
        except (cbor2.CBORError, ValueError, RecursionError) as error:
            if not _LIMITS.search(str(error)):
                self._check_structure(data, message)
            refusal = InvalidPayload(f"the arguments cannot be read: {_cause(error)}")
            if "nesting depth" in str(error):
                refusal.limit = "nesting"
            raise refusal from None
        if stream.tell() != len(data):
            raise ProtocolViolation("there is something behind the message")
        return data[:middle], data[middle:]

    @staticmethod
    def _check_structure(data: bytes, message: MessageWithArguments) -> None:
        """Raise ProtocolViolation unless the arguments are well-formed, whatever their tags."""
        stream = BytesIO(data)
        try:
            _check_arguments(_structure(stream, len(data)), stream, message)
        except (cbor2.CBORError, ValueError, RecursionError) as error:
            raise ProtocolViolation(f"the arguments cannot be read: {error}") from None

    def write(self, head: tuple[Any, ...], args: bytes = b"", kwargs: bytes = b"") -> bytes:
        if kwargs:
            args = args or b"\x80"
        # Every message has fewer than 24 elements, so one byte holds their number.
        count = len(head) + bool(args) + bool(kwargs)
        return b"".join((bytes((0x80 | count,)), *map(cbor2.dumps, head), args, kwargs))

    def decoder(self, kind: Any) -> Decoder:  # noqa: ANN401
        # No limits are needed here: `read` has already decoded the message that `raw` is part of.
        def decode(raw: bytes) -> Any:  # noqa: ANN401
            try:
                value = read_cbor(raw)
            except (cbor2.CBORError, ValueError) as error:
                raise UnreadableValue(_cause(error)) from None
            return msgspec.convert(plain(value, _UNDEFINED), kind)

        return decode

    def lenient_decoder(self, kind: Any) -> Decoder:  # noqa: ANN401
        return lambda raw: msgspec.convert(_structure(BytesIO(raw), len(raw)).decode(), kind)

    def check_dictionary(self, raw: bytes, name: str) -> None:
        if not isinstance(_structure(BytesIO(raw), len(raw)).decode(), dict):
            raise ProtocolViolation(f"{name} must be a dictionary")

    def _number(self, data: bytes) -> object:
        stream = BytesIO(data)
        try:
            return whole(_structure(stream, len(data)).decode()) if _count(stream) else None
        except cbor2.CBORError as error:
            raise ValueError(str(error)) from None


def _count(stream: BytesIO) -> int:
    """Read a message's first byte and return the number of elements. Raises ValueError."""
    head = stream.read(1)
    if not head or not 0x80 <= head[0] < 0x98:
        # Lists of indefinite length are refused too: no client sends messages that way.
        raise ValueError("a message is a list of fewer than 24 elements")
    return head[0] - 0x80


def _decoder(stream: BytesIO, size: int) -> cbor2.CBORDecoder:
    """Return a decoder that checks tags. size: bytes of the arguments."""
    # cbor2 does not count the outermost level.
    return cbor2.CBORDecoder(
        stream,
        max_depth=DEPTH_LIMIT - 1,
        semantic_decoders=_TAGS if size > REGULAR_EXPRESSIONS else _TAGS_OF_SHORT_ARGUMENTS,
        tag_hook=_typed_array,
        strict_hashable_types=size > ANY_KEYS,
    )


def _structure(stream: BytesIO, size: int) -> cbor2.CBORDecoder:
    """Return a decoder that takes tagged values as they are, and marks bytes that are not UTF-8.

    RFC 8949 5.3.1 calls text that is not UTF-8 well-formed. A topic with such a mark is no URI.
    size: bytes of what is read.
    """
    return cbor2.CBORDecoder(
        stream,
        str_errors="surrogateescape",
        max_depth=DEPTH_LIMIT - 1,
        semantic_decoders=_NO_TAGS,
        tag_hook=_untagged,
        strict_hashable_types=size > ANY_KEYS,
    )


def _check_arguments(
    decoder: cbor2.CBORDecoder, stream: BytesIO, message: MessageWithArguments
) -> int:
    """Check Arguments and ArgumentsKw; return where the former end. Raises ProtocolViolation."""
    _check(decoder.decode(), list, NO_ARGS)
    middle = stream.tell()
    if message.kwargs is not ABSENT:
        _check(decoder.decode(), dict, NO_KWARGS)
    return middle


def _check(value: object, kind: type, rule: str) -> None:
    """Raise ProtocolViolation unless the value is of that type and a dict's keys are strings.

    rule: the error's sentence.
    """
    if not isinstance(value, kind):
        raise ProtocolViolation(rule)
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise ProtocolViolation(f"{rule} whose keys are strings")


def _cause(error: Exception) -> str:
    """Return what is wrong: cbor2 wraps the errors of functions that decode tags."""
    return str(error.__cause__ or error)

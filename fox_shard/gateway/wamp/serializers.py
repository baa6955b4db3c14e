"""The JSON and MessagePack serializers of WAMP, and the table of all serializers.

Owns: those two. Never: CBOR (see `cbor`), transports, sessions.

When msgspec skips over a JSON value, it checks the grammar, but not UTF-8. In a MessagePack value
it checks only the lengths, so MessagePack arguments are decoded to validate them.
"""

from collections.abc import Callable
from typing import Any, Final, final

import msgpack
import msgspec
from msgspec import Raw

from fox_shard.documents.nesting import json_too_deep, msgpack_may_be_too_deep, too_deep
from fox_shard.documents.numbers import whole
from fox_shard.documents.payloads import JSON, MSGPACK
from fox_shard.errors import InvalidPayload, ProtocolViolation
from fox_shard.gateway.wamp.cbor import Cbor
from fox_shard.gateway.wamp.javascript import plain, without_lone_surrogates
from fox_shard.gateway.wamp.messages import Message, MessageWithArguments, Register, Subscribe
from fox_shard.gateway.wamp.option_readers import BAD_INPUT, Decoder, is_no_text
from fox_shard.gateway.wamp.serializer import (
    ANY_KEYS,
    NO_ARGS,
    NO_KWARGS,
    TOO_DEEP,
    Serializer,
)
from fox_shard.gateway.wamp.unread import json_head, msgpack_head

__all__ = ["SERIALIZERS", "Cbor", "Json", "Msgpack", "Serializer"]


@final
class Json(Serializer):
    """The JSON serializer (WAMP #serializers)."""

    encoding = JSON
    subprotocol = "wamp.2.json"

    def __init__(self) -> None:
        super().__init__()
        self._read: Callable[[bytes], Message] = msgspec.json.Decoder(Message).decode
        self._split = msgspec.json.Decoder(list[Raw]).decode
        self._encode = msgspec.json.Encoder().encode

    def read(self, data: bytes) -> Message:
        try:
            if not data.isascii():
                str(data, "utf-8")
            return self._read(data)
        except BAD_INPUT as error:
            try:
                return self._read_unusual(data)
            except RecursionError:
                raise json_head(data) or self.violation(data, error) from None
            except BAD_INPUT:
                raise self.violation(data, error) from None

    def _read_unusual(self, data: bytes) -> Message:
        """Decode a message that has floats for integers, or halves of surrogate pairs.

        Strings with such halves, which are legal JSON (RFC 8259 8.2), are not passed on, because
        not every client's reader accepts them. Raises exceptions of BAD_INPUT.
        """
        if not data.isascii():
            str(data, "utf-8")
        whole_characters = without_lone_surrogates(data)
        elements = self._split(whole_characters)
        for index, element in enumerate(elements):
            if memoryview(element)[0] in _DIGITS:
                elements[index] = Raw(self._encode(whole(msgspec.json.decode(element))))
        message = self._read(self._encode(elements))
        return message if whole_characters is data else _half_character(message)

    def payload(self, message: MessageWithArguments) -> tuple[bytes, bytes]:
        args = bytes(message.args)
        if not args:
            return b"", b""
        kwargs = bytes(message.kwargs)
        if args[0] != 0x5B:
            if message.args is HALF_CHARACTER:
                raise InvalidPayload(f"the message has {NOT_TEXT}")
            raise ProtocolViolation(NO_ARGS)
        if kwargs and kwargs[0] != 0x7B:
            raise ProtocolViolation(NO_KWARGS)
        if json_too_deep(args) or (kwargs and json_too_deep(kwargs)):
            raise InvalidPayload(TOO_DEEP).beyond("nesting")
        return args, kwargs

    def write(self, head: tuple[Any, ...], args: bytes = b"", kwargs: bytes = b"") -> bytes:
        if kwargs:
            return self._encode((*head, Raw(args or b"[]"), Raw(kwargs)))
        if args:
            return self._encode((*head, Raw(args)))
        return self._encode(head)

    def decoder(self, kind: Any) -> Decoder:  # noqa: ANN401
        decode = msgspec.json.Decoder(kind).decode

        def decode_plain(raw: bytes) -> Any:  # noqa: ANN401
            try:
                return decode(raw)
            except msgspec.ValidationError as error:
                try:
                    return msgspec.convert(plain(msgspec.json.decode(raw), Undefined), kind)
                except BAD_INPUT:
                    raise error from None

        return decode_plain

    def check_dictionary(self, raw: bytes, name: str) -> None:
        if raw[:1] != b"{":
            raise ProtocolViolation(f"{name} must be a dictionary")

    def _number(self, data: bytes) -> object:
        elements = self._split(without_lone_surrogates(data))
        return whole(msgspec.json.decode(elements[0])) if elements else None


@final
class Msgpack(Serializer):
    """The MessagePack serializer (WAMP #serializers)."""

    encoding = MSGPACK
    subprotocol = "wamp.2.msgpack"

    def __init__(self) -> None:
        self._any = msgspec.msgpack.Decoder(ext_hook=_read_extension).decode
        super().__init__()
        self._read: Callable[[bytes], Message] = msgspec.msgpack.Decoder(Message).decode
        self._split = msgspec.msgpack.Decoder(list[Raw]).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._args = msgspec.msgpack.Decoder(list[Any]).decode
        self._kwargs = msgspec.msgpack.Decoder(dict[str, Any]).decode

    def read(self, data: bytes) -> Message:
        try:
            return self._read(data)
        except BAD_INPUT as error:
            try:
                return self._read_unusual(data)
            except RecursionError:
                raise msgpack_head(data) or self.violation(data, error) from None
            except BAD_INPUT:
                raise self.violation(data, error) from None

    def _read_unusual(self, data: bytes) -> Message:
        """Decode a message that has floats for integers, or a URI that is not UTF-8.

        Raises exceptions of BAD_INPUT.
        """
        elements = self._split(data)
        for index, element in enumerate(elements):
            first = memoryview(element)[0]
            if first in _FLOATS:
                elements[index] = Raw(self._encode(whole(msgspec.msgpack.decode(element))))
            elif first in _STRINGS and not _is_text(element):
                elements[index] = Raw(self._encode(_NO_URI))
        return self._read(self._encode(elements))

    def payload(self, message: MessageWithArguments) -> tuple[bytes, bytes]:
        args = bytes(message.args)
        if not args:
            return b"", b""
        kwargs = bytes(message.kwargs)
        try:
            _check_keys(args)
            _check_keys(kwargs)
        except msgpack.StackError:
            raise InvalidPayload(TOO_DEEP).beyond("nesting") from None
        except ValueError as error:
            raise InvalidPayload(f"the arguments cannot be read: {error}") from None
        try:
            rule = NO_ARGS
            items = self._args(args)
            rule = NO_KWARGS
            named = self._kwargs(kwargs) if kwargs else None
        except RecursionError:
            raise InvalidPayload(TOO_DEEP).beyond("nesting") from None
        except BAD_INPUT as error:
            if "imestamp" in str(error) or is_no_text(error):
                # Well-formed, but no text, or no date, or one that not every client can express.
                raise InvalidPayload(f"the arguments cannot be read: {error}") from None
            raise ProtocolViolation(f"{rule}: {error}") from None
        if (msgpack_may_be_too_deep(args) and too_deep(items)) or (
            msgpack_may_be_too_deep(kwargs) and too_deep(named)
        ):
            raise InvalidPayload(TOO_DEEP).beyond("nesting")
        return args, kwargs

    def write(self, head: tuple[Any, ...], args: bytes = b"", kwargs: bytes = b"") -> bytes:
        if kwargs:
            return self._encode((*head, Raw(args or b"\x90"), Raw(kwargs)))
        if args:
            return self._encode((*head, Raw(args)))
        return self._encode(head)

    def decoder(self, kind: Any) -> Decoder:  # noqa: ANN401
        decode = msgspec.msgpack.Decoder(kind).decode

        def decode_plain(raw: bytes) -> Any:  # noqa: ANN401
            error = None
            _check_keys(raw)
            if _UNDEFINED not in raw:
                try:
                    return decode(raw)
                except msgspec.ValidationError as found:
                    error = found
            try:
                return msgspec.convert(plain(self._any(raw), Undefined), kind)
            except BAD_INPUT as found:
                raise error or found from None

        return decode_plain

    def check_dictionary(self, raw: bytes, name: str) -> None:
        if raw[0] not in _MAPS:
            raise ProtocolViolation(f"{name} must be a dictionary")

    def _number(self, data: bytes) -> object:
        elements = self._split(data)
        if not elements or len(memoryview(elements[0])) > _LONGEST_NUMBER:
            return None
        return whole(msgspec.msgpack.decode(elements[0]))


def _check_keys(data: bytes) -> None:
    """Raise ValueError if the data is long and a map in it has keys of other kinds than strings.

    Bytes are allowed, too. See `ANY_KEYS`.
    """
    if len(data) <= ANY_KEYS:
        return
    msgpack.unpackb(data, raw=True, strict_map_key=True)


_LONGEST_NUMBER: Final = 9
"""Bytes of the longest number in MessagePack."""


class Undefined:
    """The value of JavaScript's undefined."""


_UNDEFINED: Final = b"\xd4\x00\x00"
"""JavaScript's undefined in MessagePack: the extension type 0 with the data 0."""


def _is_text(element: Raw) -> bool:
    try:
        msgspec.msgpack.decode(element)
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        return not is_no_text(error)
    return True


def _read_extension(code: int, data: memoryview) -> object:
    if code == 0 and bytes(data) == b"\0":
        return Undefined()
    return msgspec.msgpack.Ext(code, bytes(data))


_FLOATS: Final = (0xCA, 0xCB)
"""First bytes of floats in MessagePack."""

_STRINGS: Final = frozenset((*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB))
"""First bytes of strings in MessagePack."""

_MAPS: Final = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
"""First bytes of maps in MessagePack."""

_DIGITS: Final = b"-0123456789"
"""First bytes of numbers in JSON."""

NOT_TEXT: Final = "half of a surrogate pair in a string, which is not text in every client"

HALF_CHARACTER: Final = Raw(b"\xff")
"""Stands for the arguments of a message with half of a surrogate pair in a string."""


def _half_character(message: Message) -> Message:
    """Return a message, read with U+FFFD for halves of surrogate pairs, that will be refused."""
    if isinstance(message, Subscribe):
        message.topic = _NO_URI
    elif isinstance(message, Register):
        message.procedure = _NO_URI
    elif isinstance(message, MessageWithArguments):
        message.args = HALF_CHARACTER
    return message


_NO_URI: Final = "\ufffd#"


SERIALIZERS: Final[dict[str, Serializer]] = {
    serializer.subprotocol: serializer for serializer in (Json(), Msgpack(), Cbor())
}
"""All serializers, by WebSocket subprotocol."""

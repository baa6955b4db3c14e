"""The JSON and MessagePack serializers of WAMP, and the table of all serializers.

Owns: those two. Never: CBOR (see `cbor`), transports, sessions.

When msgspec skips over a JSON value, it checks the grammar, but not UTF-8. In a MessagePack value
it checks only the lengths, so MessagePack arguments are decoded to validate them.
"""

from collections.abc import Callable
from typing import Any, Final, final

import msgspec
from msgspec import Raw

from fox_shard.documents.nesting import json_too_deep, msgpack_may_be_too_deep, too_deep
from fox_shard.documents.payloads import JSON, MSGPACK
from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.wamp.cbor import Cbor
from fox_shard.gateway.wamp.messages import Message, MessageWithArguments
from fox_shard.gateway.wamp.options import BAD_INPUT, Decoder
from fox_shard.gateway.wamp.serializer import NO_ARGS, NO_KWARGS, TOO_DEEP, Serializer

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
            raise self.violation(data, error) from None

    def payload(self, message: MessageWithArguments) -> tuple[bytes, bytes]:
        args = bytes(message.args)
        if not args:
            return b"", b""
        kwargs = bytes(message.kwargs)
        if args[0] != 0x5B:
            raise ProtocolViolation(NO_ARGS)
        if kwargs and kwargs[0] != 0x7B:
            raise ProtocolViolation(NO_KWARGS)
        if json_too_deep(args) or json_too_deep(kwargs):
            raise ProtocolViolation(TOO_DEEP)
        return args, kwargs

    def write(self, head: tuple[Any, ...], args: bytes = b"", kwargs: bytes = b"") -> bytes:
        if kwargs:
            return self._encode((*head, Raw(args or b"[]"), Raw(kwargs)))
        if args:
            return self._encode((*head, Raw(args)))
        return self._encode(head)

    def decoder(self, kind: Any) -> Decoder:  # noqa: ANN401
        return msgspec.json.Decoder(kind).decode

    def _number(self, data: bytes) -> object:
        elements = self._split(data)
        return msgspec.json.decode(elements[0]) if elements else None


@final
class Msgpack(Serializer):
    """The MessagePack serializer (WAMP #serializers)."""

    encoding = MSGPACK
    subprotocol = "wamp.2.msgpack"

    def __init__(self) -> None:
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
            raise self.violation(data, error) from None

    def payload(self, message: MessageWithArguments) -> tuple[bytes, bytes]:
        args = bytes(message.args)
        if not args:
            return b"", b""
        kwargs = bytes(message.kwargs)
        try:
            rule = NO_ARGS
            items = self._args(args)
            rule = NO_KWARGS
            named = self._kwargs(kwargs) if kwargs else None
        except BAD_INPUT as error:
            raise ProtocolViolation(f"{rule}: {error}") from None
        if (msgpack_may_be_too_deep(args) and too_deep(items)) or (
            msgpack_may_be_too_deep(kwargs) and too_deep(named)
        ):
            raise ProtocolViolation(TOO_DEEP)
        return args, kwargs

    def write(self, head: tuple[Any, ...], args: bytes = b"", kwargs: bytes = b"") -> bytes:
        if kwargs:
            return self._encode((*head, Raw(args or b"\x90"), Raw(kwargs)))
        if args:
            return self._encode((*head, Raw(args)))
        return self._encode(head)

    def decoder(self, kind: Any) -> Decoder:  # noqa: ANN401
        return msgspec.msgpack.Decoder(kind).decode

    def _number(self, data: bytes) -> object:
        elements = self._split(data)
        return msgspec.msgpack.decode(elements[0]) if elements else None


SERIALIZERS: Final[dict[str, Serializer]] = {
    serializer.subprotocol: serializer for serializer in (Json(), Msgpack(), Cbor())
}
"""All serializers, by WebSocket subprotocol."""

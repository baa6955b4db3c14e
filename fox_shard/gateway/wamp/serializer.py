"""The interface of WAMP serializers: bytes to messages, messages to bytes.

Owns: the interface, and how an unreadable message is explained to its sender. Never: an encoding
(see `serializers`, `cbor`), transports, sessions.

Arguments are cut out of one message and put into others as encoded bytes. So they must be valid:
arguments that a client's reader would refuse must not get past us, or one client could end
another's connection.
"""

import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

from msgspec import Raw, msgpack

from fox_shard.backplane.attributes import read
from fox_shard.documents.nesting import DEPTH_LIMIT
from fox_shard.documents.payloads import MSGPACK, as_value
from fox_shard.errors import InvalidPayload, ProtocolViolation
from fox_shard.gateway.wamp.messages import NAMES, TYPES, Message, MessageWithArguments
from fox_shard.gateway.wamp.option_readers import BAD_INPUT, Decoder, OptionsReaders

NO_ARGS: Final = "Arguments must be a list"
NO_KWARGS: Final = "ArgumentsKw must be a dictionary"
TOO_DEEP: Final = f"the arguments nest deeper than {DEPTH_LIMIT} levels"

ANY_KEYS: Final = 16_384
"""Bytes of MessagePack or CBOR up to which the keys of maps may be other than strings and bytes.

A client can choose lists and big integers, but no strings, so that their hashes are equal. Then the
time for reading a map grows with the square of its size: here to some milliseconds.
"""

_ELEMENT: Final = re.compile(r"`\$\[(\d+)\]")


class Serializer(ABC):
    """One encoding of WAMP messages. All sessions share one object of each subclass."""

    encoding: ClassVar[int]
    """The encoding of the arguments (see `payloads`)."""
    subprotocol: ClassVar[str]
    """The WebSocket subprotocol (WAMP #websocket-transport)."""

    def __init__(self) -> None:
        self.options = OptionsReaders(self.decoder, self.lenient_decoder)

    @abstractmethod
    def read(self, data: bytes) -> Message:
        """Decode a message. Raises ProtocolViolation."""

    @abstractmethod
    def payload(self, message: MessageWithArguments) -> tuple[bytes, bytes]:
        """Return a message's args and kwargs, b"" for what is absent.

        Raises ProtocolViolation, or InvalidPayload if they are well-formed, but not every client
        of this encoding could read them.
        """

    @abstractmethod
    def write(self, head: tuple[Any, ...], args: bytes = b"", kwargs: bytes = b"") -> bytes:
        """Encode a message from its first elements and encoded arguments (b"": none)."""

    def embedded(self, value: bytes) -> object:
        """Return an encoded value in a form that may be part of what `write` encodes."""
        return Raw(value)

    def attributes(self, packed: bytes) -> dict[str, Any]:
        """Return the attributes in a frame in a form that may be part of what `write` encodes.

        What this serializer cannot express is left out.
        """
        details: dict[str, Any] = {}
        for name, value in read(packed).items():
            try:
                one = as_value(MSGPACK, msgpack.encode([value]), b"", self.encoding)
            except InvalidPayload:
                continue
            details[name] = self.embedded(one)
        return details

    @abstractmethod
    def decoder(self, kind: Any) -> Decoder:  # noqa: ANN401 (any type msgspec knows)
        """Return a function that decodes bytes to `kind`, and raises exceptions of BAD_INPUT."""

    def lenient_decoder(self, kind: Any) -> Decoder:  # noqa: ANN401
        """Return a decoder for a Struct that does not read the fields that it does not have."""
        return self.decoder(kind)

    @abstractmethod
    def check_dictionary(self, raw: bytes, name: str) -> None:
        """Raise ProtocolViolation unless `raw` is a dictionary, whatever it contains."""

    @abstractmethod
    def _number(self, data: bytes) -> object:
        """Return the message's first element, whatever follows. Raises exceptions of BAD_INPUT."""

    def dictionary(self, raw: bytes, kind: Any, name: str) -> Any:  # noqa: ANN401
        """Decode a dictionary of a message. kind: the type of the result, a Struct or dict.

        Raises ProtocolViolation, whose sentence begins with `name`, the element's.
        """
        try:
            return self.decoder(kind)(raw)
        except BAD_INPUT as error:
            raise ProtocolViolation(f"{name}: {error}") from None

    def violation(self, data: bytes, error: Exception) -> ProtocolViolation:
        """Return the violation that tells the sender what is wrong with an unreadable message."""
        try:
            number = self._number(data)
        except BAD_INPUT:
            number = None
        if type(number) is not int:
            return ProtocolViolation(f"this is not a WAMP message: {error}")
        kind = TYPES.get(number)
        if kind is not None:
            fields = ("type", *kind.__struct_fields__)
            named = _ELEMENT.sub(lambda found: "`" + fields[int(found[1])], str(error))
            return ProtocolViolation(f"{NAMES[number]}: {named}")
        if number in NAMES:
            return ProtocolViolation(f"{NAMES[number]} is not a message that clients send")
        return ProtocolViolation(f"{number} is not a message type")

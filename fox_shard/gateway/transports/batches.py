"""Batched WebSocket messages (WAMP #batchedwebsocket): several WAMP messages in each.

Owns: taking batches apart and making them. Never: sockets, what the messages mean.

Each message that the router sends is a batch of its own, which the specification allows: messages
that many clients get are framed once for all of them.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, final

from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.transports.receivers import MESSAGE, Frame, MessageReceiver

SUFFIX: Final = ".batched"
"""The end of the names of batched subprotocols."""

LONGEST: Final = 1000
"""Messages in one batch, which is handled in one turn."""

_SEPARATOR: Final = b"\x1e"

Split = Callable[[bytes], Iterator[bytes]]


def split_text(batch: bytes) -> Iterator[bytes]:
    """Yield the messages in JSON, each of which ends with the separator."""
    at = 0
    while at < len(batch):
        end = batch.find(_SEPARATOR, at)
        if end < 0:
            raise ProtocolViolation("a message in a batch does not end with the octet 0x1e")
        yield batch[at:end]
        at = end + 1


def split_binary(batch: bytes) -> Iterator[bytes]:
    """Yield the messages, before each of which its length stands in four octets."""
    at = 0
    while at < len(batch):
        start = at + 4
        at = start + int.from_bytes(batch[at:start], "big")
        if at > len(batch) or start > len(batch):
            raise ProtocolViolation("a message in a batch is shorter than its length says")
        yield batch[start:at]


def framing(frame: Frame, *, text: bool) -> Frame:
    """Return the function that frames a message as a batch of one."""
    if text:
        return lambda message: frame(message + _SEPARATOR)
    return lambda message: frame(len(message).to_bytes(4, "big") + message)


@final
class BatchReceiver:
    """The receiver of batches for one session."""

    __slots__ = ("_connection", "_session", "_split")

    def __init__(self, connection: Connection, session: MessageReceiver, *, text: bool) -> None:
        self._connection = connection
        self._session = session
        self._split: Split = split_text if text else split_binary

    def batch(self, data: bytes, now: float) -> None:
        """Handle all of one batch; end the session if it is empty, too long or malformed."""
        try:
            messages = list(islice(self._split(data), LONGEST + 1))
            if not messages:
                raise ProtocolViolation("a batch has at least one message")
            if len(messages) > LONGEST:
                raise ProtocolViolation(f"a batch has at most {LONGEST} messages")
        except ProtocolViolation as violation:
            self._session.abort(violation.uri, violation.message)
            return
        self._connection.budget -= MESSAGE * (len(messages) - 1)
        for message in messages:
            self._session.message(message, now)

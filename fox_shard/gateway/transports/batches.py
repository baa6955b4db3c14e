"""Batched WebSocket messages (WAMP #batchedwebsocket): several WAMP messages in each.

Owns: taking batches apart and making them. Never: sockets, what the messages mean.

Each message that the router sends is a batch of its own, which the specification allows: messages
that many clients get are framed once for all of them.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final, final

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.clients.connection import HELD, Connection
from fox_shard.gateway.transports.receivers import MESSAGE, Frame, MessageReceiver

SUFFIX: Final = ".batched"
"""The end of the names of batched subprotocols."""

LONGEST_HEAD: Final = 4
"""Bytes by which a message is longer in a batch, at most."""

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
    """The receiver of batches for one session. A batch is handled in one turn, so it is limited."""

    __slots__ = ("_connection", "_counts", "_longest", "_session", "_split")

    def __init__(
        self,
        connection: Connection,
        session: MessageReceiver,
        longest: int,
        counts: LimitCounts,
        *,
        text: bool,
    ) -> None:
        """longest: messages in one batch. counts: of batches that have more."""
        self._connection = connection
        self._longest = longest
        self._counts = counts
        self._session = session
        self._split: Split = split_text if text else split_binary

    def batch(self, data: bytes, now: float) -> None:
        """Handle all of one batch; end the session if it is empty, too long or malformed."""
        try:
            messages = list(islice(self._split(data), self._longest + 1))
            if not messages:
                raise ProtocolViolation("a batch has at least one message")
            if len(messages) > self._longest:
                at_most = f"a batch has at most {self._longest} messages"
                raise ProtocolViolation(at_most, limit="batch_messages")
        except ProtocolViolation as violation:
            self._counts.add(violation.limit)
            self._session.abort(violation.uri, violation.message)
            return
        self._connection.budget -= MESSAGE * (len(messages) - 1)
        self._hand_over(messages, now)

    def _hand_over(self, messages: list[bytes], now: float) -> None:
        connection = self._connection
        for index, message in enumerate(messages):
            if connection.held_by & HELD:
                connection.defer(partial(self._hand_over, messages[index:]))
                return
            self._session.message(message, now)

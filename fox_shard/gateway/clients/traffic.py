"""Counts of what the clients of one realm and protocol sent and were sent.

Owns: the counts. Never: who counts, when the counts are reported.

To save time, little is counted per message: bytes are added up per read and per write, messages out
are the chunks of a write, and messages in are the publishes and calls, which are counted anyway,
and the others.
"""

from typing import final

PROTOCOLS = ("wamp", "mqtt")
"""The protocols that clients speak: the first component of `Join.protocol`."""


@final
class Traffic:
    """Counts since they were last taken.

    A connection has counts of its own until its session is open; then it shares those of its realm
    and protocol.
    """

    __slots__ = ("bytes_in", "bytes_out", "calls", "messages_out", "others", "publishes")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_out = 0
        self.publishes = 0
        self.calls = 0
        # Messages in that are neither publishes nor calls.
        self.others = 0

    def take(self) -> dict[str, int]:
        """Return the counts, by the last component of their metrics' names, and reset them to 0."""
        counts = {
            "messages_in": self.publishes + self.calls + self.others,
            "messages_out": self.messages_out,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "publishes": self.publishes,
            "calls": self.calls,
        }
        self.bytes_in = self.bytes_out = self.messages_out = 0
        self.publishes = self.calls = self.others = 0
        return counts

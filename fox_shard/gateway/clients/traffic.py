"""What the clients of one realm and gate sent and were sent.

Owns: the counts. Never: who counts, when they are told.

Nothing is counted for each message where it can be had for less: bytes are added up per read and
per write, messages out are the chunks of a write, and messages in are the publishes and calls,
which are counted anyway, and the others.
"""

from typing import final

GATES = ("wamp", "mqtt")
"""What may be spoken: the first component of a session's protocol."""


@final
class Traffic:
    """Counts since they were last taken.

    A connection has one of its own until its session is open; then it shares that of its realm and
    gate.
    """

    __slots__ = ("bytes_in", "bytes_out", "calls", "messages_out", "others", "publishes")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_out = 0
        self.publishes = 0
        self.calls = 0
        # Messages in that are neither.
        self.others = 0

    def take(self) -> dict[str, int]:
        """The counts by the last component of their metrics' names; they begin again from 0."""
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

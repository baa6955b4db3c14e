"""The shape of a load: who publishes to whom, under which window.

Owns: numbers of connections, topics, windows. Never: bytes, sockets.
"""

from typing import NamedTuple

WINDOW = 512
WINDOW_ACKNOWLEDGED = 64


class Shape(NamedTuple):
    """`acknowledged`: the MQTT QoS; for WAMP 1 with `acknowledge: true`."""

    publishers: int = 1
    subscribers: int = 1
    acknowledged: int = 0
    window: int = WINDOW

    @property
    def paired(self) -> bool:
        """Each publisher has a topic and a subscriber of its own."""
        return self.publishers == self.subscribers

    @property
    def fans_out(self) -> bool:
        """One publisher, many subscribers."""
        return self.publishers == 1 < self.subscribers

    @property
    def window_each(self) -> int:
        """The window is divided among the publishers, but four messages are the least."""
        return self.window if self.publishers == 1 else max(4, self.window // self.publishers)

    def topic(self, number: int, separator: str) -> str:
        """The topic of connection `number`; `separator` is that of the protocol."""
        return f"bench{separator}t{number if self.paired else 0:02d}"

    def publishers_of(self, subscriber: int) -> list[int]:
        """Whose messages subscriber number `subscriber` gets."""
        return [subscriber] if self.paired else list(range(self.publishers))

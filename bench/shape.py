"""The shape of a load: its publishers and subscribers, and its window.

Owns: numbers of connections, topics, windows. Never: bytes, sockets.
"""

from typing import NamedTuple

WINDOW = 512
"""Messages in flight, of all publishers together."""

WINDOW_ACKNOWLEDGED = 64
"""The same for acknowledged messages and for calls."""

WINDOW_EACH = 16
"""The same for each of many publishers."""


class Shape(NamedTuple):
    """The shape of one load. acknowledged: the MQTT QoS, or for WAMP 1 with `acknowledge: true`."""

    publishers: int = 1
    subscribers: int = 1
    acknowledged: int = 0
    window: int = WINDOW

    @property
    def paired(self) -> bool:
        """Whether each publisher has a topic and a subscriber of its own."""
        return self.publishers == self.subscribers

    @property
    def fans_out(self) -> bool:
        """Whether one publisher has many subscribers."""
        return self.publishers == 1 < self.subscribers

    @property
    def window_each(self) -> int:
        """The window of one publisher: an equal part of the whole, but at least four messages."""
        return self.window if self.publishers == 1 else max(4, self.window // self.publishers)

    def topic(self, number: int, separator: str) -> str:
        """Return the topic of connection `number`. separator: the protocol's."""
        return f"bench{separator}t{number if self.paired else 0:02d}"

    def publishers_of(self, subscriber: int) -> list[int]:
        """Return the numbers of the publishers whose messages a subscriber gets."""
        return [subscriber] if self.paired else list(range(self.publishers))

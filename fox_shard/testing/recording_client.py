"""A client that keeps a ledger of what it does and sees.

Owns: what WAMP and MQTT clients have in common. Never: what is right (see `checks`).
"""

from typing import Any

from fox_shard.testing.records import Got, Sent, Window
from fox_shard.testing.world import World


class RecordingClient:
    """See the module. name: stands in all that it publishes and calls."""

    def __init__(self, world: World, gateway: int, name: str) -> None:
        self.world = world
        self.gateway = gateway
        self.name = name
        self.sent: list[Sent] = []
        self.windows: list[Window] = []
        self.got: list[Got] = []
        # Requests that have not been answered, by their ids: what was asked.
        self.waiting: dict[int, str] = {}
        self.complaints: list[str] = []
        self.left: float | None = None
        self.graceful = False

    @property
    def ready(self) -> bool:
        """Is the session open?"""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Has the gateway closed the connection, or died?"""
        raise NotImplementedError

    def unsubscribe(self, window: Window) -> None:
        """End a subscription that is confirmed."""
        raise NotImplementedError

    def leave(self, *, graceful: bool) -> None:
        """End the session: say goodbye, or just hang up."""
        raise NotImplementedError

    @property
    def here(self) -> bool:
        """Has the session neither ended nor been ended?"""
        return self.left is None and not self.closed

    @property
    def everything(self) -> list[Sent]:
        """What it published, and its will if that is due."""
        return self.sent

    def complain(self, what: str) -> None:
        """Something came that must not."""
        self.complaints.append(f"{self.world.now:.4f} {self.name}: {what}")

    def _publication(
        self, topic: str, quality: int, *, safe: bool, retain: bool, empty: bool, exclude_me: bool
    ) -> Sent:
        sent = Sent(
            self.name,
            len(self.sent) + 1,
            topic,
            self.world.now,
            safe,
            quality,
            retain,
            empty,
            exclude_me,
        )
        self.sent.append(sent)
        return sent

    def _event(
        self, window: Window | None, topic: str, args: list[Any], *, retained: bool, quality: int
    ) -> None:
        publisher, number = args if args else ("", 0)
        self.got.append(Got(self.world.now, window, topic, publisher, number, retained, quality))

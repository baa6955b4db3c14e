"""`$SYS`: what MQTT clients expect to be told about the broker itself.

Owns: which topics there are, what they say, and what of it is news. Never: sending, a clock.

Topics and form are mosquitto's: text, retained. The numbers are those of the whole broker, of all
realms and of both protocols, and each realm is told the same.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, final

from fox_shard import __version__
from fox_shard.backplane.frames import Report
from fox_shard.deadline import NEVER

COUNTERS: Final = {
    "messages_in": "$SYS.broker.messages.received",
    "messages_out": "$SYS.broker.messages.sent",
    "bytes_in": "$SYS.broker.bytes.received",
    "bytes_out": "$SYS.broker.bytes.sent",
    "publishes": "$SYS.broker.publish.messages.received",
    "deliveries": "$SYS.broker.publish.messages.sent",
}
"""Last component of a counter's name → where its total since the coordinator's start is told."""

GAUGES: Final = {
    "subscriptions": "$SYS.broker.subscriptions.count",
    "keys": "$SYS.broker.retained messages.count",
}
"""Last component of a gauge's name → where the sum over all processes is told."""

News = tuple[str, str, bytes]
"""Realm, topic, what it says now."""


@final
class Sys:
    """See the module. Times are monotonic seconds."""

    __slots__ = ("_gauges", "_interval", "_realms", "_said", "_started", "_totals", "due")

    def __init__(self, realms: Sequence[str], interval: float, now: float) -> None:
        """interval: seconds between two looks at what is new; 0: never. See `due`."""
        self._realms = realms
        self._interval = interval
        self._started = now
        self.due = now + interval if interval else NEVER
        self._totals: Counter[str] = Counter()
        self._gauges: dict[str, dict[str, int]] = {}
        self._said: dict[tuple[str, str], bytes] = {}

    def report(self, process: str, report: Report) -> None:
        """Take in what a process has counted and gauged; see `frames.Report`."""
        for name, count in report.counters.items():
            self._totals[_last(name)] += count
        gauges: Counter[str] = Counter()
        for name, value in report.gauges.items():
            gauges[_last(name)] += value
        self._gauges[process] = gauges

    def peer_gone(self, process: str) -> None:
        """Forget the gauges of a process that has died."""
        self._gauges.pop(process, None)

    def invalidate(self, realm: str, topic: str) -> None:
        """Say it again: its shard may have lost it."""
        self._said.pop((realm, topic), None)

    def topics(self) -> Iterator[tuple[str, str]]:
        """(realm, topic) of all there are; none if the interval is 0."""
        if self._interval:
            for realm in self._realms:
                for topic in self._values(0, 0.0):
                    yield realm, topic

    def news(self, sessions: int, now: float) -> list[News]:
        """What has not been said, or not so. The next look is `due` an interval later.

        sessions: how many there are.
        """
        if not self._interval:
            return []
        self.due = now + self._interval
        values = {topic: value.encode() for topic, value in self._values(sessions, now).items()}
        news = [
            (realm, topic, value)
            for realm in self._realms
            for topic, value in values.items()
            if self._said.get((realm, topic)) != value
        ]
        self._said.update({(realm, topic): value for realm, topic, value in news})
        return news

    def _values(self, sessions: int, now: float) -> dict[str, str]:
        values = {
            "$SYS.broker.version": f"fox-shard version {__version__}",
            "$SYS.broker.uptime": f"{int(now - self._started)} seconds",
            "$SYS.broker.clients.connected": str(sessions),
            # With those that are away; there are no persistent sessions.
            "$SYS.broker.clients.total": str(sessions),
        }
        for name, topic in COUNTERS.items():
            values[topic] = str(self._totals[name])
        for name, topic in GAUGES.items():
            values[topic] = str(sum(gauges.get(name, 0) for gauges in self._gauges.values()))
        return values


def _last(name: str) -> str:
    return name.rpartition(".")[2]

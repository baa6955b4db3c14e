"""`$SYS`: the topics where MQTT clients look for statistics about the broker.

Owns: the topics, their values, and which values have changed. Never: sending, a clock.

Topics and format are mosquitto's: text, retained. The numbers cover the whole broker, with all
realms and both protocols, and are the same in each realm.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, final

from fox_shard.backplane.frames import Report
from fox_shard.deadline import NEVER
from fox_shard.version import __version__

COUNTERS: Final = {
    "messages_in": "$SYS.broker.messages.received",
    "messages_out": "$SYS.broker.messages.sent",
    "bytes_in": "$SYS.broker.bytes.received",
    "bytes_out": "$SYS.broker.bytes.sent",
    "publishes": "$SYS.broker.publish.messages.received",
    "deliveries": "$SYS.broker.publish.messages.sent",
    "dropped_events": "$SYS.broker.publish.messages.dropped",
}
"""Last component of a counter's name → topic of its total since the coordinator's start."""

GAUGES: Final = {
    "subscriptions": "$SYS.broker.subscriptions.count",
    "keys": "$SYS.broker.retained messages.count",
}
"""Name of a gauge → topic of its sum over all processes."""

News = tuple[str, str, bytes]
"""(realm, topic, current value)."""


@final
class Sys:
    """The values of the `$SYS` topics, and which of them were published last.

    due: when `news` is to be called next. Times are monotonic seconds.
    """

    __slots__ = ("_gauges", "_interval", "_published", "_realms", "_started", "_totals", "due")

    def __init__(self, realms: Sequence[str], interval: float, now: float) -> None:
        """Start uptime and counters. interval: seconds between updates; 0: there is no `$SYS`."""
        self._realms = realms
        self._interval = interval
        self._started = now
        self.due = now + interval if interval else NEVER
        self._totals: Counter[str] = Counter()
        self._gauges: dict[str, dict[str, int]] = {}
        self._published: dict[tuple[str, str], bytes] = {}

    def report(self, process: str, report: Report) -> None:
        """Add the counters of a process, and replace its gauges; see `frames.Report`."""
        for counters in report.realms.values():
            for name, count in counters.items():
                self._totals[name.rpartition(".")[2]] += count
        self._gauges[process] = report.gauges

    def peer_gone(self, process: str) -> None:
        """Drop the gauges of a process that has died."""
        self._gauges.pop(process, None)

    def invalidate(self, realm: str, topic: str) -> None:
        """Have `news` return the topic even if unchanged, because its shard may have lost it."""
        self._published.pop((realm, topic), None)

    def topics(self) -> Iterator[tuple[str, str]]:
        """Yield (realm, topic) for every topic; nothing if the interval is 0."""
        if self._interval:
            for realm in self._realms:
                for topic in self._values(0, 0.0):
                    yield realm, topic

    def news(self, sessions: int, now: float) -> list[News]:
        """Return the topics whose values have changed since they were published, and set `due`.

        sessions: the number of all sessions.
        """
        if not self._interval:
            return []
        self.due = now + self._interval
        values = {topic: value.encode() for topic, value in self._values(sessions, now).items()}
        news = [
            (realm, topic, value)
            for realm in self._realms
            for topic, value in values.items()
            if self._published.get((realm, topic)) != value
        ]
        self._published.update({(realm, topic): value for realm, topic, value in news})
        return news

    def _values(self, sessions: int, now: float) -> dict[str, str]:
        values = {
            "$SYS.broker.version": f"fox-shard version {__version__}",
            "$SYS.broker.uptime": f"{int(now - self._started)} seconds",
            "$SYS.broker.clients.connected": str(sessions),
            # In mosquitto, this includes disconnected persistent sessions, which do not exist here.
            "$SYS.broker.clients.total": str(sessions),
        }
        for name, topic in COUNTERS.items():
            values[topic] = str(self._totals[name])
        for name, topic in GAUGES.items():
            values[topic] = str(sum(gauges.get(name, 0) for gauges in self._gauges.values()))
        return values

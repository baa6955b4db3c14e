"""The rate at which one session may publish.

Owns: how much each session may publish now, and when a session that has published too fast goes on.
Never: publishing; calls, wills and testaments, which do not count.

A publish beyond the rate is not refused: its connection is held (`Connection.hold`), so that TCP
slows the client down, and the publish is carried out when its time has come. Nothing is lost, and
all that the client sends stays in order. Where there is no rate, nothing of this is called.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, final

from fox_shard.backplane.frames import ACKNOWLEDGE
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.connection import RATE
from fox_shard.gateway.clients.host import Clock
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.clients.turns import Turns
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session

PAUSE: Final = 0.1
"""Seconds for which a session is held at least, unless fewer fill its bucket: timers cost time."""

ROUNDING: Final = 1e-6
"""The part of a message by which the arithmetic may be wrong."""

Publish = Callable[..., None]


@final
class Bucket:
    """What one session may publish: a token bucket, which `rate` tokens a second fill."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated", "held", "over")

    def __init__(self, rate: int, burst: int, now: float) -> None:
        """burst: tokens of a full bucket, as it is now."""
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._updated = now
        #: Whether its session's connection is held.
        self.held = False
        #: Whether its session has ended.
        self.over = False

    def take(self, wanted: int, now: float) -> int:
        """Take so many tokens, or as many as there are; return their number."""
        self._fill(now)
        taken = min(wanted, int(self._tokens + ROUNDING))
        self._tokens -= taken
        return taken

    def pause(self, now: float) -> float:
        """Return the seconds until the session may go on: with more than one message, if it can."""
        self._fill(now)
        enough = max(1.0, min(float(self._burst), self._rate * PAUSE))
        return max(0.0, enough - self._tokens) / self._rate

    def _fill(self, now: float) -> None:
        grown = self._tokens + (now - self._updated) * self._rate
        self._tokens = min(float(self._burst), grown)
        self._updated = now


@final
class PublishRate:
    """The buckets of all sessions of one gateway that have published."""

    __slots__ = (
        "_buckets",
        "_burst",
        "_clock",
        "_counts",
        "_publish",
        "_publish_all",
        "_rate",
        "_timers",
        "_turns",
    )

    def __init__(
        self,
        settings: Settings,
        counts: LimitCounts,
        turns: Turns,
        timers: Timers,
        clock: Clock,
        publish: Publish,
        publish_all: Publish,
    ) -> None:
        """publish, publish_all: carry out what is within the rate (see `Router`)."""
        self._rate = settings.publish_rate
        self._burst = settings.publish_burst
        self._counts = counts
        self._turns = turns
        self._timers = timers
        self._clock = clock
        self._publish = publish
        self._publish_all = publish_all
        # Session id -> bucket.
        self._buckets: dict[int, Bucket] = {}

    def publish(
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        *payload: object,
        **more: object,
    ) -> None:
        """Publish, see `Router`: now, or when the rate allows it."""
        bucket = self._bucket_of(session)
        if self._take(session, bucket, 1):
            self._publish(session, route, flags, request, *payload, **more)
        else:
            again = partial(self.publish, session, route, flags, request, *payload, **more)
            self._wait(session, bucket, again)

    def publish_all(
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        encoding: int,
        payloads: list[bytes],
    ) -> None:
        """Publish each payload, see `Router`: as many as may be now, and the rest later."""
        bucket = self._bucket_of(session)
        many = self._take(session, bucket, len(payloads))
        if many:
            self._publish_all(session, route, flags, request, encoding, payloads[:many])
        if many < len(payloads):
            request += many if flags & ACKNOWLEDGE else 0
            rest = payloads[many:]
            again = partial(self.publish_all, session, route, flags, request, encoding, rest)
            self._wait(session, bucket, again)

    def session_ended(self, session: Session) -> None:
        """Let the client's last messages be read: its publishes that wait are dropped."""
        bucket = self._buckets.pop(session.id, None)
        if bucket is not None:
            bucket.over = True
            if bucket.held:
                self._release(session, bucket)

    def _bucket_of(self, session: Session) -> Bucket:
        bucket = self._buckets.get(session.id)
        if bucket is None:
            bucket = Bucket(self._rate, self._burst, self._clock.now)
            self._buckets[session.id] = bucket
        return bucket

    def _take(self, session: Session, bucket: Bucket, wanted: int) -> int:
        """Return how many of so many messages may be published now."""
        if session.connection.gone:
            # It can be slowed down no more, and what it sent would only take memory.
            return wanted
        # No publish overtakes one that waits.
        return 0 if bucket.held else bucket.take(wanted, self._clock.now)

    def _wait(self, session: Session, bucket: Bucket, again: Callable[[], None]) -> None:
        """Hold the session's connection, and call `again` first when it goes on."""

        def go_on(_now: float) -> None:
            if not bucket.over:
                again()

        connection = session.connection
        if bucket.held:
            # Its reader has not stopped yet; or other publishes wait before this one.
            connection.defer(go_on)
            return
        bucket.held = True
        self._counts.add("publish_rate")
        connection.hold(RATE, go_on)
        now = self._clock.now
        self._timers.at(now + bucket.pause(now), lambda _now: self._time_has_come(session, bucket))

    def _time_has_come(self, session: Session, bucket: Bucket) -> None:
        if bucket.held and not bucket.over:
            self._release(session, bucket)

    def _release(self, session: Session, bucket: Bucket) -> None:
        bucket.held = False
        self._turns.release(session.connection, RATE)

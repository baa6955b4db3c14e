"""The coordinator: frames in, frames out.

Owns: which noun handles which frame, the session meta events. Never: I/O, clocks; the data path
(with the coordinator dead, publishing and calling go on).
"""

from collections.abc import Sequence
from typing import final

from msgspec import msgpack

from fox_shard.backplane.frames import (
    RETAIN,
    Call,
    Frame,
    Join,
    Kill,
    Leave,
    Publish,
    Report,
    SyncEnd,
)
from fox_shard.backplane.placement import Placement
from fox_shard.coordinator import rows
from fox_shard.coordinator.meta import Meta, details
from fox_shard.coordinator.metrics import Metrics, Value
from fox_shard.coordinator.sessions import Entry, Sessions
from fox_shard.coordinator.sys import Sys
from fox_shard.documents import payloads
from fox_shard.store.journal import Journal

Effects = list[tuple[str, Frame]]
"""Frames to send, each with the name of the process that is to receive it, in this order."""

TAKEN_OVER = "fox.close.session_taken_over"
"""Why an MQTT session ends whose client id another one uses now (MQTT-3.1.4-2)."""

ON_JOIN = "wamp.session.on_join"
ON_LEAVE = "wamp.session.on_leave"


@final
class Coordinator:
    """One cluster's coordinator. All times are monotonic seconds."""

    def __init__(
        self,
        placement: Placement,
        journal: Journal,
        *,
        realms: Sequence[str] = (),
        sys_interval: float = 0,
        now: float = 0.0,
    ) -> None:
        """journal: gets the sessions' rows.

        sys_interval: seconds between updates of `$SYS` in each of the realms; 0: none.
        """
        self._placement = placement
        self._journal = journal
        self._sessions = Sessions()
        self._meta = Meta(self._sessions)
        self._metrics = Metrics()
        self._sys = Sys(realms, sys_interval, now)

    def load(self, entry: Entry) -> None:
        """A session that was there before the restart."""
        self._sessions.load(entry)

    def session_count(self) -> int:
        """How many sessions there are, over all realms and gateways."""
        return sum(number for _, _, number in self._sessions.counts())

    def receive(self, gateway: str, frame: Frame, now: float) -> Effects:
        """Handle one frame of a gateway, or a `Report` of a shard.

        Frames that ask nothing of the coordinator are ignored: `Cancel` (calls are answered at
        once), a `Leave` of a session that is not known.
        """
        match frame:
            case Join():
                return self._join(gateway, frame)
            case Leave(session=session):
                entry = self._sessions.leave(gateway, session)
                return [] if entry is None else [self._on_leave(entry)]
            case Call():
                answer, kills = self._meta.call(frame)
                return [*kills, (gateway, answer)]
            case Report():
                self._metrics.report(gateway, frame, now)
                self._sys.report(gateway, frame)
            case SyncEnd():
                return self.gateway_synced(gateway)
        return []

    def gateway_synced(self, gateway: str) -> Effects:
        """The gateway has told all its sessions again: what was not among them has ended."""
        return [self._on_leave(entry) for entry in self._sessions.synced(gateway)]

    def gateway_gone(self, gateway: str, now: float) -> Effects:
        """The gateway died, or is declared gone: all its sessions have ended."""
        self._metrics.gone(gateway, now)
        self._sys.gone(gateway)
        return [self._on_leave(entry) for entry in self._sessions.gone(gateway)]

    def shard_gone(self, shard: str, now: float) -> None:
        """The shard died: its gauges hold no longer."""
        self._metrics.gone(shard, now)
        self._sys.gone(shard)

    def shard_opened(self, shard: str, now: float) -> Effects:
        """The link to the shard begins anew: it is told all of `$SYS` that it owns again."""
        for realm, topic in self._sys.topics():
            if self._owner(realm, topic) == shard:
                self._sys.forget(realm, topic)
        return self.sys_news(now)

    @property
    def sys_due(self) -> float:
        """When `sys_news` is to be called."""
        return self._sys.due

    def sys_news(self, now: float) -> Effects:
        """What is new in `$SYS`. Need not be kept for a shard that is down: see `shard_opened`."""
        news = self._sys.news(self.session_count(), now)
        return [
            self._publish(realm, topic, RETAIN, payloads.RAW, value) for realm, topic, value in news
        ]

    def _owner(self, realm: str, topic: str) -> str:
        return f"shard-{self._placement.shard_of(realm, topic)}"

    def flush(self, now: float) -> list[Value]:
        """What StatsD is to be told, once an interval."""
        return self._metrics.flush(self._sessions.counts(), now)

    def _join(self, gateway: str, join: Join) -> Effects:
        """Publish `on_join`, once, unless the session is only told again.

        A session that joined while the coordinator was down is first replayed and then reported by
        its own `Join`, which the link had kept: it is that one which is news.
        """
        entry = self._sessions.join(gateway, join)
        effects: Effects = []
        if older := self._sessions.take_over(entry):
            message = "Another client connected with this client id."
            effects.append((older.gateway, Kill(older.session, TAKEN_OVER, message)))
        if not join.replay and not entry.announced:
            entry.announced = True
            effects.append(self._meta_event(entry.realm, ON_JOIN, [details(entry)]))
        self._journal.keep(rows.session(gateway, entry.session), rows.encode(entry))
        return effects

    def _on_leave(self, entry: Entry) -> tuple[str, Frame]:
        self._journal.keep(rows.session(entry.gateway, entry.session), None)
        args = [entry.session, entry.authid, entry.authrole]
        return self._meta_event(entry.realm, ON_LEAVE, args)

    def _meta_event(self, realm: str, topic: str, args: list[object]) -> tuple[str, Frame]:
        return self._publish(realm, topic, 0, payloads.MSGPACK, msgpack.encode(args))

    def _publish(
        self, realm: str, topic: str, flags: int, encoding: int, args: bytes
    ) -> tuple[str, Frame]:
        """Published by the router itself (session 0), to the topic's shard."""
        frame = Publish(
            realm=realm,
            topic=topic,
            session=0,
            request=0,
            order=0,
            flags=flags,
            encoding=encoding,
            args=args,
        )
        return self._owner(realm, topic), frame

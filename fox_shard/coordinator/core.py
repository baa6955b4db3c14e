"""The coordinator: frames in, frames out.

Owns: which part handles which frame, meta events. Never: I/O, clocks; the data path
(publishing and calling go on while the coordinator is down).
"""

from collections.abc import Mapping, Sequence
from typing import final

from msgspec import msgpack

from fox_shard.backplane.frames import (
    RELIABLE_EVENT,
    RETAIN,
    ActiveTables,
    Call,
    Cancel,
    Counted,
    Frame,
    Join,
    Joined,
    Kill,
    Leave,
    Listening,
    Membership,
    MembershipEnded,
    Publish,
    Report,
    SyncEnd,
    TablesDefined,
)
from fox_shard.backplane.placement import ON_JOIN, ON_LEAVE, Placement
from fox_shard.backplane.usage import Usage
from fox_shard.coordinator import rows
from fox_shard.coordinator.memberships import Memberships
from fox_shard.coordinator.meta import Meta, details
from fox_shard.coordinator.metrics import COORDINATOR, Metrics, Value
from fox_shard.coordinator.schema_calls import SchemaCalls
from fox_shard.coordinator.schemas import PREFIX, Schemas
from fox_shard.coordinator.session_record import SessionRecord
from fox_shard.coordinator.sessions import Sessions
from fox_shard.coordinator.sys import Sys
from fox_shard.coordinator.totals import Sums, Totals
from fox_shard.documents import payloads
from fox_shard.store.journal import Journal

Effects = list[tuple[str, Frame]]
"""Frames to send, in order, each with the name of the receiving process."""

TAKEN_OVER = "fox.close.session_taken_over"
"""Reason for ending an MQTT session whose client id another client now uses [MQTT-3.1.4-2]."""


@final
class Coordinator:
    """The coordinator of one cluster, without its links. All times are monotonic seconds."""

    def __init__(
        self,
        placement: Placement,
        journal: Journal,
        *,
        realms: Sequence[str] = (),
        sys_interval: float = 0,
        metrics_realms: int = 100,
        schemas: Mapping[str, str] | None = None,
        now: float = 0.0,
    ) -> None:
        """Begin without sessions; see `load`.

        journal: takes the rows of the sessions. realms: those in which `$SYS` is published.
        sys_interval: seconds between updates of `$SYS`; 0: there is no `$SYS`. metrics_realms: see
        `Totals`. schemas: the texts of the configured ones, by realm.
        """
        shards = [f"shard-{shard}" for shard in range(placement.shards)]
        self.schemas = Schemas(shards, realms, schemas or {}, journal)
        self.schema_calls = SchemaCalls(self.schemas)
        self._placement = placement
        self._journal = journal
        self._sessions = Sessions()
        self._meta = Meta(self._sessions)
        self.memberships = Memberships(journal, self._meta_event)
        self._metrics = Metrics()
        self._totals = Totals(realms, metrics_realms, now)
        self._sys = Sys(realms, sys_interval, now)
        # Sessions that have been killed and have not ended.
        self._kills: dict[int, Kill] = {}

    def load(self, entry: SessionRecord) -> None:
        """Register a session that was stored before the restart."""
        self._sessions.load(entry)

    def session_count(self) -> int:
        """Return the number of sessions, over all realms and gateways."""
        return sum(number for _, _, number in self._sessions.counts())

    def receive(self, gateway: str, frame: Frame, now: float) -> Effects:  # noqa: C901 - a table
        """Handle one frame of a gateway, or a report of a shard.

        The `Leave` of an unknown session is ignored.
        """
        match frame:
            case Join():
                return self._join(gateway, frame)
            case Leave(session=session):
                entry = self._sessions.session_ended(gateway, session)
                return [] if entry is None else self._ended([entry])
            case Call() if frame.procedure.startswith(PREFIX):
                return self.schema_calls.add(gateway, frame)
            case Cancel():
                return self.schema_calls.cancel(gateway, frame.session, frame.request)
            case TablesDefined():
                return self.schemas.defined(gateway, frame)
            case ActiveTables():
                self.schemas.found(frame)
            case Call():
                answer, kills = self._meta.call(frame)
                self._kills.update((kill.session, kill) for _, kill in kills)
                return [*kills, (gateway, answer)]
            case Membership():
                # Whatever its gateway still had to tell of a session that has ended is over.
                if self._sessions.get(frame.realm, frame.session) is not None:
                    return self.memberships.began(gateway, frame)
            case MembershipEnded():
                return self.memberships.ended(gateway, frame)
            case Counted():
                return self.memberships.counted(gateway, frame)
            case Listening():
                return self.memberships.listening(gateway, frame, now)
            case Report():
                self._reported(gateway, frame, now)
            case SyncEnd():
                return self.gateway_synced(gateway)
        return []

    def gateway_synced(self, gateway: str) -> Effects:
        """End the sessions that the gateway's finished replay did not contain."""
        return self._ended(self._sessions.synced(gateway))

    def gateway_gone(self, gateway: str, now: float) -> Effects:
        """End all sessions of a gateway that restarted or did not come back."""
        self.memberships.gateway_gone(gateway)
        self._forget_gauges(gateway, now)
        return self._ended(self._sessions.gateway_gone(gateway))

    def shard_gone(self, shard: str, now: float) -> None:
        """Drop the gauges of a shard that restarted or did not come back."""
        self._forget_gauges(shard, now)

    def shard_opened(self, shard: str, now: float) -> Effects:
        """Publish the `$SYS` topics of this shard again: the link to the shard has opened."""
        for realm, topic in self._sys.topics():
            if self._owner(realm, topic) == shard:
                self._sys.invalidate(realm, topic)
        return self.sys_news(now)

    @property
    def sys_due(self) -> float:
        """The time of the next call of `sys_news`."""
        return self._sys.due

    def sys_news(self, now: float) -> Effects:
        """Return the publishes of all `$SYS` topics whose values have changed.

        Those for a shard that is down may be dropped, because `shard_opened` repeats them.
        """
        news = self._sys.news(self.session_count(), now)
        return [
            self._publish(realm, topic, RETAIN, payloads.RAW, value) for realm, topic, value in news
        ]

    def _owner(self, realm: str, topic: str) -> str:
        return f"shard-{self._placement.shard_of(realm, topic)}"

    def report(self, usage: Usage, now: float) -> None:
        """Add what the coordinator itself has counted since the last call."""
        counters = {**self.schema_calls.limit_counts.take(), **usage.counters()}
        self._reported(COORDINATOR, Report(counters, usage.gauges(), {}, {}), now)

    def _reported(self, process: str, report: Report, now: float) -> None:
        self._metrics.report(process, report, now)
        self._sys.report(process, report)
        self._totals.report(process, report)

    def _forget_gauges(self, process: str, now: float) -> None:
        self._metrics.peer_gone(process, now)
        self._sys.peer_gone(process)
        self._totals.peer_gone(process)

    def flush(self, now: float) -> list[Value]:
        """Return the metrics for StatsD; called once per `statsd.interval`."""
        return self._metrics.flush(self._sessions.counts(), now)

    def sums(self, now: float) -> Sums:
        """Return what all processes have counted since the start."""
        return self._totals.sums(self._sessions.counts(), now)

    def _join(self, gateway: str, join: Join) -> Effects:
        """Register the session, and publish `on_join` at its first `Join` that is no replay.

        It is published only if somebody listens (see `memberships`).

        A session that joined while the coordinator was down arrives twice: in the gateway's replay,
        and then as the `Join` that the link had kept. The second one is announced.
        If another session has the same MQTT client id, the older one of the two is killed. The
        newer one is told `Joined` when no older one is left [MQTT-3.1.4-2]. A session that is
        replayed although it has been killed is killed again: the order to end it has been lost.
        """
        entry = self._sessions.join(gateway, join)
        effects: Effects = []
        if older := self._sessions.take_over(entry):
            message = "Another client connected with this client id."
            effects.append((older.gateway, Kill(older.session, TAKEN_OVER, message)))
        elif join.replay and entry.session in self._kills:
            effects.append((gateway, self._kills[entry.session]))
        if not join.replay and not entry.announced:
            entry.announced = True
            if self.memberships.listened(entry.realm):
                effects.append(self._meta_event(entry.realm, ON_JOIN, [details(entry)]))
        self._keep(entry, rows.encode(entry))
        if not join.replay:
            effects += self._joined(entry)
        return effects

    def _keep(self, entry: SessionRecord, row: bytes | None) -> None:
        patient = self.memberships.unheard(entry.realm)
        self._journal.keep(rows.session(entry.gateway, entry.session), row, patient=patient)

    def _ended(self, entries: Sequence[SessionRecord]) -> Effects:
        """Announce that sessions have ended, and tell those that waited for that."""
        effects: Effects = []
        for entry in entries:
            self._kills.pop(entry.session, None)
            self._keep(entry, None)
            if self.memberships.listened(entry.realm):
                args: list[object] = [entry.session, entry.authid, entry.authrole]
                effects.append(self._meta_event(entry.realm, ON_LEAVE, args))
            self.memberships.session_ended(entry.session)
            effects += self._joined(entry)
        return effects

    def _joined(self, entry: SessionRecord) -> Effects:
        """Return the `Joined` for the session with the entry's MQTT client id, if it is sole."""
        sole = self._sessions.sole(entry.realm, entry.client) if entry.client else None
        return [] if sole is None else [(sole.gateway, Joined(sole.session))]

    def _meta_event(self, realm: str, topic: str, args: list[object]) -> tuple[str, Frame]:
        return self._publish(realm, topic, RELIABLE_EVENT, payloads.MSGPACK, msgpack.encode(args))

    def _publish(
        self, realm: str, topic: str, flags: int, encoding: int, args: bytes
    ) -> tuple[str, Frame]:
        """Return a publish by the router itself (session 0), with the name of the topic's shard."""
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

"""Sessions that read more slowly than events come, where that costs them events, not their lives.

Owns: for which sessions events are dropped, and the line in the log. Never: which events these are
(see `fanout` and `Session.deliver_encoded`), ending a session that reads too slowly, sockets.

With `gateway.slow_consumer = "drop"`, a client for which more than `gateway.outbound_limit` bytes
wait is behind until all of them are written. Meanwhile its session stands in `Realm.queueing`, so
that the fan-out asks it about each event. The fan-out to others is not concerned, and costs nothing
more if nobody is behind.
"""

from typing import Final, final

from fox_shard.backplane.node import Notice
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.host import Clock
from fox_shard.gateway.clients.limited_lines import MAX_REASON, LimitedLines
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.sessions.session import Session

LINE: Final = "events_dropped"
"""The name of the line in the log."""


@final
class SlowConsumers:
    """The sessions of one gateway that are behind."""

    __slots__ = ("_clock", "_drops", "_lines")

    def __init__(
        self, settings: Settings, notices: list[Notice], timers: Timers, clock: Clock
    ) -> None:
        """notices: lines for the log."""
        self._drops = settings.drops_events
        self._clock = clock
        self._lines = LimitedLines(LINE, notices, timers)

    def fell_behind(self, connection: Connection) -> None:
        """Drop events for a client from now on, if that is the policy and it has a session."""
        session = connection.owner
        if self._drops and isinstance(session, Session):
            connection.behind = True
            session.realm.queueing[session] = None

    def caught_up(self, connection: Connection) -> None:
        """Drop no more events for a client: all that waited for it has been written."""
        session = connection.owner
        if isinstance(session, Session):
            self._end(session)

    def session_ended(self, session: Session) -> None:
        """Forget a session. Its connection, where a goodbye waits, is judged like any other."""
        self._end(session)
        session.realm.queueing.pop(session, None)

    def _end(self, session: Session) -> None:
        connection = session.connection
        if connection.behind:
            connection.behind = False
            if not session.queues:
                session.realm.queueing.pop(session, None)
        missed, connection.missed = connection.missed, 0
        if missed:
            self._note(session, missed)

    def _note(self, session: Session, missed: int) -> None:
        about = f"session {session.id} ({session.authid!r}) missed {missed} events"
        fields: dict[str, object] = {
            "address": session.connection.peer,
            "reason": about[:MAX_REASON],
        }
        self._lines.add(fields, self._clock.now)

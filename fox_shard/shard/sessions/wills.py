"""Wills: publishes that are carried out when sessions end.

Owns: the wills whose topics this shard owns, and the answers that wait until those are stored.
Never: publishing; when a session ends.

A will is the will of an MQTT session or one of a WAMP session's testaments. It is kept at the shard
of its topic. So it needs no further hop when the session ends: every shard that keeps something of
a session is told of its end anyway.
"""

from collections import deque
from typing import final

from fox_shard.backplane.frames import DropWills, Publish, Will, WillsStored
from fox_shard.shard import rows
from fox_shard.shard.links.peer import Peer
from fox_shard.store.journal import Journal

WillRef = tuple[int, int]
"""Session and number of a will (see `frames.Will`)."""


@final
class Wills:
    """The wills of one shard, by session and number (MQTT-3.1.2-8, WAMP #testament)."""

    __slots__ = ("_journal", "_stale", "_unanswered", "_wills")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # Session -> number -> (name of its gateway, will).
        self._wills: dict[int, dict[int, tuple[str, Publish]]] = {}
        # Gateway that is replaying -> wills that it has not replayed yet, in order.
        self._stale: dict[Peer, dict[WillRef, None]] = {}
        # Answers that wait for transactions: (ticket, gateway, answer), in the order of tickets.
        self._unanswered: deque[tuple[int, Peer, WillsStored]] = deque()

    def set(self, peer: Peer, will: Will) -> None:
        """Set a will of the session that is its publisher; idempotent. peer: its gateway."""
        publish, number = will.publish, will.number
        session = publish.session
        self._stale.get(peer, {}).pop((session, number), None)
        numbered = self._wills.setdefault(session, {})
        known = numbered.get(number)
        numbered[number] = (peer.name, publish)
        if will.request or known is None or known[1] != publish:
            row = rows.WillRow(peer.name, peer.link.peer_incarnation, publish)
            self._journal.keep(rows.will(session, number), rows.encode(row))
        self._answer_when_stored(peer, session, will.request)

    def drop(self, peer: Peer, frame: DropWills) -> None:
        """Drop wills of a session that goes on; idempotent. peer: its gateway."""
        for number in frame.numbers:
            self._remove(frame.session, number)
        self._answer_when_stored(peer, frame.session, frame.request)

    def _answer_when_stored(self, peer: Peer, session: int, request: int) -> None:
        """Tell the gateway when the rows that were just changed are durable.

        A disk that fails is tried until it works, so the answer comes late then. If it is lost with
        the pair, the gateway asks again.
        """
        if request:
            answer = WillsStored(session, request)
            self._unanswered.append((self._journal.ticket, peer, answer))

    def committed(self, ticket: int) -> None:
        """Send the answers that waited for the transactions up to this one."""
        while self._unanswered and self._unanswered[0][0] <= ticket:
            _, peer, answer = self._unanswered.popleft()
            peer.reply(answer)

    def load(self, key: bytes, row: rows.WillRow) -> None:
        """Add a will from the store."""
        numbered = self._wills.setdefault(row.publish.session, {})
        numbered[rows.will_number(key)] = (row.gateway, row.publish)

    def take(self, session: int) -> list[Publish]:
        """Remove and return the wills of a session that has ended, in the order of numbers."""
        numbered = self._wills.get(session)
        if numbered is None:
            return []
        wills = [numbered[number][1] for number in sorted(numbered)]
        for number in list(numbered):
            self._remove(session, number)
        return wills

    def published(self, publish: Publish) -> None:
        """Remove the copy of a will that the gateway itself publishes."""
        if publish.session in self._wills:
            self._remove(publish.session, publish.request)

    def _remove(self, session: int, number: int) -> None:
        self._journal.keep(rows.will(session, number), None)
        numbered = self._wills.get(session, {})
        numbered.pop(number, None)
        if not numbered:
            self._wills.pop(session, None)

    def link_opened(self, peer: Peer, *, known: bool) -> None:
        """Expect the gateway to replay its wills. known: its incarnation has not changed."""
        self._stale[peer] = {}
        if known:
            for session in self.sessions_of(peer.name):
                self._stale[peer].update(((session, n), None) for n in self._wills[session])

    def sync_ended(self, peer: Peer) -> None:
        """Drop the wills that the gateway has not replayed: they were dropped, or published.

        Therefore a gateway may forget the end of a session before the shard's store knows it.
        """
        for session, number in self._stale.pop(peer, {}):
            self._remove(session, number)

    def forget(self, peer: Peer) -> None:
        """Keep nothing of the peer, which is gone and has no wills."""
        self._stale.pop(peer, None)

    def sessions_of(self, gateway: str) -> list[int]:
        """Return the sessions of that gateway that have wills."""
        return [
            session
            for session, numbered in self._wills.items()
            if any(of == gateway for of, _ in numbered.values())
        ]

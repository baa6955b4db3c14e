"""The wills of sessions: what a gateway publishes when they end.

Owns: the wills of MQTT sessions, the testaments of WAMP sessions, and which shards have yet to
store them. Never: when a session ends (see `registry`); the limits and arguments of testaments.

The gateway publishes the wills itself, behind all that the session has sent. The shard of each
will's topic keeps a copy, which it publishes if the gateway is gone.
"""

from typing import Final, final

from msgspec import msgpack
from msgspec.structs import replace

from fox_shard.backplane.frames import (
    RELIABLE_EVENT,
    WILL,
    DropWills,
    Frame,
    Publish,
    Will,
    WillsStored,
)
from fox_shard.backplane.link import Link
from fox_shard.gateway.sessions.ordering import Ordering
from fox_shard.gateway.sessions.session import Session

MQTT_WILL: Final = 0
"""The number of an MQTT session's will (see `frames.Will`)."""

DETACHED: Final = range(1, 1 << 32)
DESTROYED: Final = range(1 << 32, 1 << 33)
"""The numbers of testaments, so that those of the scope `detached` come first."""


@final
class SessionWills:
    """The wills of one session.

    publishes: shard, will and its bytes, by number. unconfirmed: by request of the call, what each
    shard has not confirmed yet. size: bytes of all testaments. dropped: by request of the call,
    number and bytes of testaments that shards have yet to drop, and in `dropping` their sums: their
    frames may still wait for a shard. last: the last number of a testament in each scope.
    """

    __slots__ = ("dropped", "dropping", "last", "publishes", "size", "unconfirmed")

    def __init__(self) -> None:
        self.publishes: dict[int, tuple[int, Publish, int]] = {}
        self.unconfirmed: dict[int, dict[int, Will | DropWills]] = {}
        self.dropped: dict[int, tuple[int, int]] = {}
        self.dropping = (0, 0)
        self.size = 0
        self.last = {scope: scope.start - 1 for scope in (DETACHED, DESTROYED)}


@final
class Wills:
    """The wills of the sessions of one gateway."""

    __slots__ = ("_links", "_sessions")

    def __init__(self, links: list[Link]) -> None:
        """links: to the shards, by number."""
        self._links = links
        self._sessions: dict[int, SessionWills] = {}

    @property
    def idle(self) -> bool:
        """Whether no shard has to confirm anything."""
        return not any(wills.unconfirmed for wills in self._sessions.values())

    def set_mqtt_will(self, session: Session, shard: int, publish: Publish) -> None:
        """Set what is published if the session ends without a goodbye."""
        _mark(publish, MQTT_WILL)
        wills = self._sessions.setdefault(session.id, SessionWills())
        wills.publishes[MQTT_WILL] = (shard, publish, 0)
        self._send(session, shard, Will(publish))

    def testaments(self, session: Session) -> tuple[int, int]:
        """Return the number of the session's testaments, and their bytes."""
        wills = self._sessions.get(session.id)
        return (len(wills.publishes), wills.size) if wills is not None else (0, 0)

    def dropping(self, session: Session) -> tuple[int, int]:
        """Return the number of testaments that shards have yet to drop, and their bytes."""
        wills = self._sessions.get(session.id)
        return (0, 0) if wills is None else wills.dropping

    def add_testament(
        self, session: Session, shard: int, publish: Publish, scope: range, request: int
    ) -> None:
        """Add what is published however the session ends; `stored` tells when the shard has it.

        scope: DETACHED or DESTROYED.
        """
        wills = self._sessions.setdefault(session.id, SessionWills())
        number = wills.last[scope] = wills.last[scope] + 1
        _mark(publish, number)
        size = size_of(publish)
        wills.publishes[number] = (shard, publish, size)
        wills.size += size
        will = Will(publish, number, request)
        wills.unconfirmed[request] = {shard: will}
        self._send(session, shard, will)

    def _send(self, session: Session, shard: int, frame: Will | DropWills) -> None:
        """Send the frame, or leave it to the replay."""
        session.shards |= 1 << shard
        if self._links[shard].open:
            self._links[shard].send(frame)

    def flush_testaments(self, session: Session, scope: range, request: int) -> bool:
        """Drop the testaments of a scope; `stored` tells when the shards have done so.

        Returns False if there are none.
        """
        wills = self._sessions.get(session.id)
        numbers = [number for number in wills.publishes if number in scope] if wills else []
        if wills is None or not numbers:
            return False
        dropped: dict[int, Will | DropWills] = {}
        before = wills.size
        for number in numbers:
            shard, _, size = wills.publishes.pop(number)
            wills.size -= size
            frame = dropped.setdefault(shard, DropWills(session.id, [], request))
            assert isinstance(frame, DropWills)
            frame.numbers.append(number)
        wills.unconfirmed[request] = dropped
        count, size = wills.dropped[request] = (len(numbers), before - wills.size)
        wills.dropping = (wills.dropping[0] + count, wills.dropping[1] + size)
        for shard, frame in sorted(dropped.items()):
            self._send(session, shard, frame)
        return True

    def stored(self, frame: WillsStored, shard: int) -> bool:
        """Note that the shard has done what the call asks. Returns whether all shards now have."""
        wills = self._sessions.get(frame.session)
        waiting = wills.unconfirmed.get(frame.request) if wills is not None else None
        if wills is None or waiting is None:
            return False
        waiting.pop(shard, None)
        if waiting:
            return False
        del wills.unconfirmed[frame.request]
        count, size = wills.dropped.pop(frame.request, (0, 0))
        wills.dropping = (wills.dropping[0] - count, wills.dropping[1] - size)
        return True

    def session_ended(
        self, session: Session, *, graceful: bool
    ) -> tuple[set[int], list[tuple[int, Publish]]]:
        """Forget the session, and return the shards that have to drop copies, and what is due.

        graceful: the client said goodbye, so an MQTT will is dropped. Testaments are published
        however the session ends: detached ones first, as no session can be resumed.
        """
        wills = self._sessions.pop(session.id, None)
        if wills is None:
            return set(), []
        # A shard that has not confirmed what it is to drop has a copy, too.
        shards = {shard for shard, _, _ in wills.publishes.values()}
        shards.update(shard for waiting in wills.unconfirmed.values() for shard in waiting)
        due = [
            wills.publishes[number][:2]
            for number in sorted(wills.publishes)
            if number != MQTT_WILL or not graceful
        ]
        return shards, due

    def publish(self, session: Session, due: list[tuple[int, Publish]], ordering: Ordering) -> None:
        """Publish wills of a session that has ended, behind all that it has sent."""
        for shard, will in due:
            session.order += 1
            # The shard may have this very object as its copy.
            will = replace(will, order=session.order)
            if session.last_shard != shard or session.unconfirmed is not None:
                will.fence = ordering.fence(session, shard)
            self._links[shard].send_reliable(will)
            session.last_shard = shard
            session.last_seq = self._links[shard].last

    def drop(self) -> None:
        """Forget all wills, after a standstill: the shards publish them, or already have."""
        self._sessions.clear()

    def replay(self, shard: int) -> list[Frame]:
        """Return the wills of which that shard is to keep a copy, and what it has to confirm."""
        frames: list[Frame] = []
        for wills in self._sessions.values():
            frames.extend(
                Will(publish, number)
                for number, (of, publish, _) in sorted(wills.publishes.items())
                if of == shard
            )
            frames.extend(
                waiting[shard] for waiting in wills.unconfirmed.values() if shard in waiting
            )
        return frames


def _mark(publish: Publish, number: int) -> None:
    publish.flags |= RELIABLE_EVENT | WILL
    publish.request = number


def size_of(publish: Publish) -> int:
    """Return the bytes of a will, as they are stored."""
    return len(msgpack.encode(publish))

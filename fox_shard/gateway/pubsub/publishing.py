"""Publishing: what a session publishes becomes a frame to the topic's shard.

Owns: the frame, its place in the session's order, and pausing publishers to shards without credit.
Never: a wire format.
"""

from typing import final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    RETAIN,
    TRACE,
    Audience,
    Identity,
    Publish,
    RetainOptions,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.refusals import refused
from fox_shard.backplane.terms import ACKNOWLEDGED, KEY
from fox_shard.errors import Refusal
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.pubsub.rows import find_row
from fox_shard.gateway.pubsub.unstored_waiters import UnstoredWaiters
from fox_shard.gateway.sessions.ordering import Ordering
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session

STORED = RETAIN | CONDITION | TRACE
"""Flags of publishes that concern the store, whatever the topic is."""

RELIABLE = ACKNOWLEDGE | STORED
"""Flags of publishes that are reliable: they are sent again to a shard that restarts."""


@final
class Publishing:
    """Publishes for all sessions of one gateway."""

    __slots__ = (
        "_backpressure",
        "_congested",
        "_links",
        "_ordering",
        "_unstored_waiters",
        "dropped",
    )

    def __init__(
        self,
        links: list[Link],
        ordering: Ordering,
        backpressure: Backpressure,
        unstored_waiters: UnstoredWaiters,
    ) -> None:
        """links: to the shards, by number."""
        self._links = links
        self._ordering = ordering
        self._backpressure = backpressure
        self._unstored_waiters = unstored_waiters
        self._congested = backpressure.congested
        # Publishes that nobody was told about, since the last report.
        self.dropped = 0

    def _refuse(self, session: Session, flags: int, request: int, refusal: Refusal) -> None:
        if flags & ACKNOWLEDGE:
            session.refused(refused(Publish, session.id, request, refusal))
        else:
            self.dropped += 1

    def publish(  # noqa: C901, PLR0915 - hot, so without calls
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        encoding: int,
        args: bytes,
        kwargs: bytes = b"",
        publisher: Identity | None = None,
        audience: Audience | None = None,
        retain: RetainOptions | None = None,
        attributes: bytes | None = None,
    ) -> None:
        """Publish to a topic. With ACKNOWLEDGE in the flags, `published` or `refused` answers."""
        if route.table is not None or (retain is not None and not flags & RETAIN):
            try:
                route, flags = find_row(session.realm, route, flags, encoding, args, kwargs, retain)
            except Refusal as refusal:
                self._refuse(session, flags, request, refusal)
                return
        shard = route.shard
        link = self._links[shard]
        realm = session.realm
        order = session.order = session.order + 1
        fence = None
        if session.last_shard != shard or session.unconfirmed is not None:
            fence = self._ordering.fence(session, shard)
        frame = Publish(
            realm.name,
            route.topic,
            session.id,
            request,
            order,
            flags,
            encoding,
            args,
            kwargs,
            publisher,
            audience,
            fence,
            retain,
            attributes,
        )
        outbox = link.outbox
        if flags & RELIABLE:
            # This is `Link.send_reliable`, without the call.
            link.reliable.append(len(outbox))
            work = KEY if flags & STORED else ACKNOWLEDGED
            session.connection.budget -= work
            work = link.extra_work = link.extra_work + work
            if work + link.work_in_flight > link.work_limit:
                self._congested.add(shard)
        outbox.append(frame)
        session.last_seq = link.sent + len(outbox)
        if retain is not None and retain.owned:
            session.shards |= 1 << shard
            # Only the answer to an acknowledged publish tells when it no longer waits.
            if retain.watch and flags & ACKNOWLEDGE and not realm.stored:
                self._unstored_waiters.add(shard, frame)
        session.traffic.publishes += 1
        if self._congested and shard in self._congested:
            self._backpressure.pause(session.connection, shard)

    def publish_all(
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        encoding: int,
        payloads: list[bytes],
    ) -> None:
        """Publish each payload, in a third of the time that `publish` takes.

        request: of the first; the others count up, with ACKNOWLEDGE.
        """
        step = 1 if flags & ACKNOWLEDGE else 0
        self.publish(session, route, flags, request, encoding, payloads[0])
        if len(payloads) == 1:
            return
        # Each needs a fence, or a topic, of its own.
        if session.unconfirmed is not None or route.table is not None:
            for args in payloads[1:]:
                request += step
                self.publish(session, route, flags, request, encoding, args)
            return
        link = self._links[route.shard]
        outbox = link.outbox
        count = len(payloads) - 1
        if flags & RELIABLE:
            # This is `Link.send_reliable`, without the call.
            link.reliable.extend(range(len(outbox), len(outbox) + count))
            work = (KEY if flags & STORED else ACKNOWLEDGED) * count
            session.connection.budget -= work
            link.extra_work += work
        realm, topic, publisher, order = session.realm.name, route.topic, session.id, session.order
        outbox.extend(
            [
                Publish(
                    realm, topic, publisher, request + step * i, order + i, flags, encoding, args
                )
                for i, args in enumerate(payloads)
                if i
            ]
        )
        session.order = order + count
        session.last_seq = link.sent + len(outbox)
        session.traffic.publishes += count
        if len(outbox) + link.extra_work + link.work_in_flight > link.work_limit:
            self._congested.add(route.shard)
            self._backpressure.pause(session.connection, route.shard)

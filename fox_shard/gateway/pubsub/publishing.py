"""Publishing: what a session says becomes a frame on its way to the topic's shard.

Owns: the frame, its place in the session's order, and that a publisher without credit is not read.
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
    Keep,
    Publish,
)
from fox_shard.backplane.link import Link
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.pubsub.unstored_waiters import Watches
from fox_shard.gateway.sessions.ordering import Order
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session

RELIABLE = ACKNOWLEDGE | RETAIN | CONDITION | TRACE
"""Publications that are sent again to a shard that restarts."""


@final
class Publishing:
    """Of all sessions of a gateway."""

    __slots__ = ("_backpressure", "_congested", "_links", "_order", "_watches")

    def __init__(
        self, links: list[Link], order: Order, backpressure: Backpressure, watches: Watches
    ) -> None:
        """links: to the shards, by number."""
        self._links = links
        self._order = order
        self._backpressure = backpressure
        self._watches = watches
        self._congested = backpressure.congested

    def publish(
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
        keep: Keep | None = None,
    ) -> None:
        """With ACKNOWLEDGE answered by the session's `published` or `refused`."""
        shard = route.shard
        link = self._links[shard]
        realm = session.realm
        order = session.order = session.order + 1
        fence = None
        if session.lane != shard or session.unpassed is not None:
            fence = self._order.fence(session, shard)
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
            keep,
        )
        outbox = link.outbox
        if flags & RELIABLE:
            # As `Link.send_reliable`.
            link.reliable.append(len(outbox))
        outbox.append(frame)
        session.lane_seq = link.sent + len(outbox)
        if keep is not None and keep.owned:
            session.shards |= 1 << shard
            # Without an acknowledgement nobody would say when it waits no longer.
            if keep.watch and flags & ACKNOWLEDGE and not realm.stored:
                self._watches.note(shard, frame)
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
        """`publish` each, in a third of the time. request: of the first; those of others follow."""
        step = 1 if flags & ACKNOWLEDGE else 0
        self.publish(session, route, flags, request, encoding, payloads[0])
        if len(payloads) == 1:
            return
        if session.unpassed is not None:  # each with a fence of its own
            for args in payloads[1:]:
                request += step
                self.publish(session, route, flags, request, encoding, args)
            return
        link = self._links[route.shard]
        outbox = link.outbox
        count = len(payloads) - 1
        if flags & RELIABLE:
            # As `Link.send_reliable`.
            link.reliable.extend(range(len(outbox), len(outbox) + count))
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
        session.lane_seq = link.sent + len(outbox)
        session.traffic.publishes += count

"""Subscriptions on their way: from the wish to the confirmation by every shard.

Owns: which wish is meant by which token, and when a subscription may begin. Never: matching (see
`subscriptions`).
"""

from typing import final

from fox_shard.backplane.frames import Event, Retained, Subscribed
from fox_shard.gateway.fanout import Fanout, visible
from fox_shard.gateway.order import Order
from fox_shard.gateway.session import Session
from fox_shard.gateway.subscriptions import Pending, Subscriptions
from fox_shard.topics.pattern import Pattern


@final
class Confirmations:
    """Of all realms of a gateway."""

    __slots__ = (
        "_fanouts",
        "_late",
        "_next_token",
        "_order",
        "_pending",
        "_sessions",
        "_subscriptions",
    )

    def __init__(
        self,
        subscriptions: dict[str, Subscriptions],
        fanouts: dict[str, Fanout],
        order: Order,
        sessions: dict[int, Session],
    ) -> None:
        """subscriptions, fanouts: by the realm's name."""
        self._subscriptions = subscriptions
        self._fanouts = fanouts
        self._order = order
        self._sessions = sessions
        self._next_token = 0
        self._pending: dict[int, Pending] = {}
        # Those of them that wait for events that are held back (see `Pending.earlier`).
        self._late: dict[int, Pending] = {}

    def subscribe(
        self, session: Session, request: int, pattern: Pattern, grant: int, *, replay: bool
    ) -> None:
        """Answered by the session's `subscribed`; events come only after that."""
        self._next_token += 1
        pending = self._subscriptions[session.realm.name].subscribe(
            self._next_token, session, request, pattern, grant, replay=replay
        )
        if pending is not None:
            self._pending[pending.token] = pending

    def retained(self, frame: Retained, shard: int) -> None:
        """A key that the subscriber is to see first."""
        pending = self._pending.get(frame.token)
        if pending is not None:
            pending.retained.setdefault(shard, []).append(frame.event)

    def subscribed(self, frame: Subscribed, shard: int) -> None:
        """A shard has confirmed."""
        pending = self._pending.get(frame.token)
        if pending is None:
            return
        pending.waiting.pop(shard, None)
        if self._order.held:
            pending.earlier |= self._order.held_events(shard, pending.subscription.pattern)
            if pending.earlier:
                self._late[pending.token] = pending
        self._complete_if_confirmed(pending)

    def delivered(self, publication: int) -> None:
        """It is held back no longer: a subscription may have waited for that."""
        for pending in [late for late in self._late.values() if publication in late.earlier]:
            pending.earlier.discard(publication)
            if not pending.earlier:
                del self._late[pending.token]
                self._complete_if_confirmed(pending)

    def _complete_if_confirmed(self, pending: Pending) -> None:
        session = pending.session
        subscriptions = self._subscriptions[session.realm.name]
        withdrawn = pending not in pending.subscription.pending
        if withdrawn or self._sessions.get(session.id) is not session:
            self._pending.pop(pending.token, None)
            if not withdrawn:
                subscriptions.abandon(pending)
        elif not pending.waiting and not pending.earlier:
            del self._pending[pending.token]
            pending.retained = {
                of: visible(events, session) for of, events in pending.retained.items()
            }
            held = subscriptions.complete(pending)
            self._fanouts[session.realm.name].deliver_held(pending, held)
            if held and not session.flavour.per_subscription:
                self._forget_held(held, session)

    def _forget_held(self, events: list[Event], session: Session) -> None:
        """The session has got the events, and is to get them once (MQTT)."""
        for pending in self._pending.values():
            if pending.session is session:
                pending.held = [event for event in pending.held if event not in events]

    @property
    def idle(self) -> bool:
        """Nothing waits to be confirmed."""
        return not self._pending

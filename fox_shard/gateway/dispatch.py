"""Frames from the shards and the coordinator, to the nouns that they are for.

Owns: which noun handles which frame, and that events go on in runs. Never: what a frame causes.
"""

from typing import final

from fox_shard.backplane.frames import (
    RECORDED,
    Again,
    CallError,
    CaughtUp,
    Event,
    Forwarded,
    Frame,
    Interrupt,
    Invocation,
    Kill,
    NotSubscribed,
    Paused,
    Publish,
    Published,
    Reached,
    Recalled,
    Recorded,
    Refused,
    Registered,
    Result,
    Retained,
    Revoked,
    Selected,
    Settled,
    Subscribed,
    Trouble,
    Unregistered,
)
from fox_shard.gateway.procedures.event_history import Recollections
from fox_shard.gateway.pubsub.duplicates import Changes, Repeats
from fox_shard.gateway.pubsub.fanout import Fanout
from fox_shard.gateway.pubsub.subscribing import Confirmations
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.pubsub.unstored_waiters import Watches
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.rpc.registrations import Registrations
from fox_shard.gateway.sessions.ordering import Held, Order
from fox_shard.gateway.sessions.session import Session

PUBLISH_TAG = Publish.__struct_config__.tag


@final
class Dispatcher:
    """Of one gateway."""

    __slots__ = (
        "_calls",
        "_changes",
        "_confirmations",
        "_fanouts",
        "_order",
        "_recollections",
        "_registrations",
        "_repeats",
        "_repeats_of_selected",
        "_sessions",
        "_subscriptions",
        "_watches",
        "trouble",
    )

    def __init__(
        self,
        *,
        shards: int,
        sessions: dict[int, Session],
        order: Order,
        subscriptions: dict[str, Subscriptions],
        fanouts: dict[str, Fanout],
        confirmations: Confirmations,
        watches: Watches,
        calls: Calls,
        registrations: Registrations,
        recollections: Recollections,
    ) -> None:
        """shards: how many. subscriptions, fanouts: by the realm's name."""
        self._sessions = sessions
        self._order = order
        self._subscriptions = subscriptions
        self._fanouts = fanouts
        self._confirmations = confirmations
        self._watches = watches
        self._calls = calls
        self._registrations = registrations
        self._recollections = recollections
        self._repeats = Repeats(shards)
        self._repeats_of_selected = Repeats(shards)
        self._changes = Changes(shards)
        # Shards whose stores do not work: why; or did not: "".
        self.trouble: dict[int, str] = {}

    def opened(self, shard: int, incarnation: int) -> None:
        """The pair with that shard is new."""
        self._repeats.opened(shard, incarnation)
        self._repeats_of_selected.opened(shard, incarnation)

    def handle(self, frames: list[Frame], shard: int) -> None:  # noqa: C901 - hot
        """Handle what has come from that shard, in order; events one after another in a run."""
        order = self._order
        held = order.held
        events: list[Event] = []
        for frame in frames:
            if type(frame) is Event:
                publish = frame.publish
                if publish.flags & RECORDED:
                    self._repeats.note(shard, frame.publication)
                if (publish.fence is not None or held) and order.hold(
                    frame, shard, publish.session, publish.order, publish.fence
                ):
                    continue
                events.append(frame)
                continue
            if events:
                self._deliver(events, shard)
                events = []
            if type(frame) is Published:
                session = self._sessions.get(frame.session)
                if session is not None:
                    session.published(frame.requests, frame.publications)
                if self._watches.waiting:
                    for request in frame.requests:
                        self._watches.answered(frame.session, request)
            else:
                self._dispatch(frame, shard)
        if events:
            self._deliver(events, shard)

    def _dispatch(self, frame: Frame, shard: int) -> None:  # noqa: C901, PLR0915 - a table
        match frame:
            case Result():
                self._calls.result(frame)
            case Invocation():
                call = frame.call
                if not (call.fence is not None or self._order.held) or not self._order.hold(
                    frame, shard, call.session, call.order, call.fence
                ):
                    self._registrations.invoke(frame, shard)
            case CallError():
                self._calls.call_error(frame)
            case Reached():
                self._order.reached(frame, shard)
            case Selected():
                if frame.state:
                    self._changes.note(shard, frame.event)
                elif not frame.follow and frame.event.publish.flags & RECORDED:
                    self._repeats_of_selected.note(shard, frame.event.publication)
                self._selected(frame, shard)
            case Retained():
                self._confirmations.retained(frame, shard)
            case Recorded():
                self._confirmations.recorded(frame, shard)
            case Recalled():
                self._recollections.recalled(frame, shard)
            case Paused():
                self._confirmations.paused(frame, shard)
            case CaughtUp():
                self._confirmations.caught_up(frame, shard)
            case Subscribed():
                self._confirmations.subscribed(frame, shard)
            case NotSubscribed():
                self._confirmations.not_subscribed(frame, shard)
            case Refused():
                self._refused(frame)
            case Again(event=Event() as event):
                self._came_again(event, shard)
            case Again(event=Selected() as selected):
                self._selected_again(selected, shard)
            case Settled():
                for noted in (self._repeats, self._repeats_of_selected, self._changes):
                    noted.settled(shard, frame.publication)
                for subscriptions in self._subscriptions.values():
                    subscriptions.settled(shard, frame.publication)
            case Trouble():
                self.trouble[shard] = frame.reason
            case Registered():
                self._registrations.registered(frame)
            case Unregistered():
                self._registrations.unregistered(frame)
            case Forwarded():
                self._calls.forwarded(frame)
            case Interrupt():
                self._registrations.interrupt(frame, shard)
            case Revoked():
                self._registrations.revoked(frame)
            case Kill():
                session = self._sessions.get(frame.session)
                if session is not None:
                    session.end(frame.reason, frame.message)
            case _:
                pass  # SyncEnd: a gateway needs no state of a shard's

    def _came_again(self, event: Event, shard: int) -> None:
        publish = event.publish
        self._confirmations.came_again(event, shard)
        if self._repeats.is_new(shard, event.publication) and not self._order.hold(
            event, shard, publish.session, publish.order, publish.fence
        ):
            self._fanouts[publish.realm].deliver(event, shard)

    def _selected_again(self, frame: Selected, shard: int) -> None:
        event = frame.event
        self._confirmations.came_again(event, shard)
        if frame.state:
            is_new = self._changes.is_new(shard, event)
        else:
            is_new = self._repeats_of_selected.is_new(shard, event.publication)
        if is_new:
            self._selected(frame, shard)

    def _selected(self, frame: Selected, shard: int) -> None:
        """Changes of one key come in order, of several keys in any: fences are for events.

        Who follows goes by the order of ids, which is the shard's.
        """
        publish = frame.event.publish
        if (
            frame.state
            or frame.follow
            or not self._order.hold(frame, shard, publish.session, publish.order, publish.fence)
        ):
            self._fanouts[publish.realm].select(frame, shard)

    def _refused(self, frame: Refused) -> None:
        if frame.kind != PUBLISH_TAG:
            self._registrations.refused(frame)
            return
        self._watches.answered(frame.session, frame.request)
        session = self._sessions.get(frame.session)
        if session is not None:
            session.refused(frame)

    def _deliver(self, events: list[Event], shard: int) -> None:
        """In runs of one topic and the same flags."""
        start = 0
        first = events[0].publish
        topic, flags, realm = first.topic, first.flags, first.realm
        for i, event in enumerate(events):
            publish = event.publish
            if publish.topic != topic or publish.flags != flags or publish.realm != realm:
                self._fanouts[realm].deliver_run(events[start:i], shard)
                start = i
                topic, flags, realm = publish.topic, publish.flags, publish.realm
        self._fanouts[realm].deliver_run(events[start:] if start else events, shard)

    def deliver_held_back(self, frame: Held, shard: int) -> None:
        """It waits no longer for what its sender sent before."""
        if type(frame) is Event:
            self._fanouts[frame.publish.realm].deliver(frame, shard)
            self._confirmations.delivered(frame.publication)
        elif type(frame) is Selected:
            self._fanouts[frame.event.publish.realm].select(frame, shard)
            self._confirmations.delivered(-frame.event.publication)
        elif type(frame) is Invocation:
            self._registrations.invoke(frame, shard)

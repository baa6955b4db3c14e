"""The dispatch of frames from the shards and the coordinator.

Owns: which part of the gateway handles which frame, and grouping events into runs. Never: what a
frame causes.
"""

from collections.abc import Callable
from typing import final

from fox_shard.backplane.frames import (
    RECORDED,
    ActiveTables,
    Again,
    CallError,
    CallMoved,
    CaughtUp,
    Event,
    FencePassed,
    Frame,
    HistoryPage,
    InquiryPage,
    Interrupt,
    Invocation,
    Joined,
    Kill,
    LoginFailed,
    NotSubscribed,
    Paused,
    Publish,
    Published,
    Recorded,
    Reduce,
    Refused,
    Registered,
    RelayedInquiry,
    RelayedPage,
    Result,
    Retained,
    Revoked,
    SelectedEvent,
    Settled,
    StoreFailure,
    Subscribed,
    TakeCensus,
    Unregistered,
    WillsStored,
)
from fox_shard.gateway.auth.user_keys import FIRST_TOKEN, UserKeys
from fox_shard.gateway.clients.sampled_times import SampledTimes
from fox_shard.gateway.procedures.inquiry import Inquiries, Source
from fox_shard.gateway.procedures.subscribers import SubscriberReports
from fox_shard.gateway.procedures.testaments import empty_result
from fox_shard.gateway.pubsub.duplicates import SeenChanges, SeenEvents
from fox_shard.gateway.pubsub.fanout import Fanout
from fox_shard.gateway.pubsub.moved import move_to_rows
from fox_shard.gateway.pubsub.subscribing import SubscribeRequests
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.pubsub.unstored_waiters import UnstoredWaiters
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.rpc.reductions import Reductions
from fox_shard.gateway.rpc.registrations import Registrations
from fox_shard.gateway.sessions.memberships import Memberships
from fox_shard.gateway.sessions.ordering import HeldFrame, Ordering
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.registry import SessionRegistry
from fox_shard.gateway.sessions.session import Session

PAGE_BYTES = 128
"""Bytes of a page of an inquiry that, with their share of the answer, cost like one publish."""

PUBLISH_TAG = Publish.__struct_config__.tag


@final
class Dispatcher:
    """Passes the frames that arrive on to the parts of one gateway."""

    __slots__ = (
        "_calls",
        "_fanouts",
        "_inquiries",
        "_login_failed",
        "_memberships",
        "_ordering",
        "_realms",
        "_reductions",
        "_registrations",
        "_registry",
        "_seen_changes",
        "_seen_events",
        "_seen_selected",
        "_sessions",
        "_subscribe_requests",
        "_subscriber_reports",
        "_subscriptions",
        "_times",
        "_unstored_waiters",
        "_user_keys",
        "store_failures",
    )

    def __init__(
        self,
        *,
        shards: int,
        sessions: dict[int, Session],
        ordering: Ordering,
        subscriptions: dict[str, Subscriptions],
        fanouts: dict[str, Fanout],
        subscribe_requests: SubscribeRequests,
        unstored_waiters: UnstoredWaiters,
        calls: Calls,
        registrations: Registrations,
        reductions: Reductions,
        inquiries: Inquiries,
        subscriber_reports: SubscriberReports,
        memberships: Memberships,
        registry: SessionRegistry,
        realms: dict[str, Realm],
        user_keys: UserKeys,
        login_failed: Callable[[str], None],
        times: SampledTimes,
    ) -> None:
        """shards: their number. subscriptions, fanouts, realms: by the realm's name.

        login_failed: is told of failures at other gateways.
        """
        self._login_failed = login_failed
        self._times = times
        self._realms = realms
        self._user_keys = user_keys
        self._sessions = sessions
        self._ordering = ordering
        self._subscriptions = subscriptions
        self._fanouts = fanouts
        self._subscribe_requests = subscribe_requests
        self._unstored_waiters = unstored_waiters
        self._calls = calls
        self._registrations = registrations
        self._reductions = reductions
        self._inquiries = inquiries
        self._subscriber_reports = subscriber_reports
        self._memberships = memberships
        self._registry = registry
        self._seen_events = SeenEvents(shards)
        self._seen_selected = SeenEvents(shards)
        self._seen_changes = SeenChanges(shards)
        # Shard -> why its store does not work; "": it works again.
        self.store_failures: dict[int, str] = {}

    def link_opened(self, shard: int, incarnation: int) -> None:
        """Note that a pair with that incarnation of the shard has begun."""
        self._seen_events.link_opened(shard, incarnation)
        self._seen_selected.link_opened(shard, incarnation)

    def handle(self, frames: list[Frame], shard: int) -> int:  # noqa: C901 - hot
        """Handle frames of that shard, in order. Consecutive events are delivered together.

        Returns how many publishes were confirmed; a page of an inquiry counts as many, by its size.
        """
        ordering = self._ordering
        held = ordering.held_frames
        events: list[Event] = []
        answers = 0
        for frame in frames:
            if type(frame) is Event:
                publish = frame.publish
                if publish.flags & RECORDED:
                    self._seen_events.add(shard, frame.publication)
                if (publish.fence is not None or held) and ordering.hold(
                    frame, shard, publish.session, publish.order, publish.fence
                ):
                    continue
                events.append(frame)
                continue
            if events:
                self._deliver(events, shard)
                events = []
            if type(frame) is Published:
                answers += len(frame.requests)
                session = self._sessions.get(frame.session)
                if session is not None:
                    session.published(frame.requests, frame.publications)
                if self._unstored_waiters.waiting:
                    for request in frame.requests:
                        self._unstored_waiters.answered(frame.session, request)
            elif type(frame) is Result:
                self._calls.result(frame)
            else:
                self._dispatch(frame, shard)
                answers += _cost(frame)
        if events:
            self._deliver(events, shard)
        return answers

    def _dispatch(self, frame: Frame, shard: int) -> None:  # noqa: C901, PLR0915 - a table
        match frame:
            case Joined():
                self._registry.joined(frame)
            case Invocation():
                call = frame.call
                if not (
                    call.fence is not None or self._ordering.held_frames
                ) or not self._ordering.hold(frame, shard, call.session, call.order, call.fence):
                    self._registrations.invoke(frame, shard)
            case Reduce():
                self._reductions.reduce(frame, shard)
            case CallError():
                self._calls.call_error(frame)
            case FencePassed():
                self._ordering.fence_passed(frame, shard)
                self._registry.passed(frame, shard)
            case SelectedEvent():
                if frame.state:
                    self._seen_changes.add(shard, frame.event)
                elif not frame.follow and frame.event.publish.flags & RECORDED:
                    self._seen_selected.add(shard, frame.event.publication)
                self._selected(frame, shard)
            case Retained() if frame.token >= FIRST_TOKEN:
                self._user_keys.retained(frame)
            case Paused() if frame.token >= FIRST_TOKEN:
                self._user_keys.paused(frame)
            case CaughtUp() if frame.token >= FIRST_TOKEN:
                self._user_keys.caught_up(frame)
            case Retained():
                self._subscribe_requests.retained(frame, shard)
            case Recorded():
                self._subscribe_requests.recorded(frame, shard)
            case HistoryPage() | InquiryPage():
                self._inquiries.page(frame, Source(shard))
            case RelayedPage():
                self._inquiries.page(frame.page, Source(shard, frame.gateway))
            case RelayedInquiry():
                self._subscriber_reports.answer(frame, shard)
            case Paused():
                self._subscribe_requests.paused(frame, shard)
            case CaughtUp():
                self._subscribe_requests.caught_up(frame, shard)
            case Subscribed():
                self._subscribe_requests.subscribed(frame, shard)
            case NotSubscribed():
                self._subscribe_requests.not_subscribed(frame, shard)
            case Refused():
                self._refused(frame)
            case Again(event=Event() as event):
                self._came_again(event, shard)
            case Again(event=SelectedEvent() as selected):
                self._selected_again(selected, shard)
            case Settled():
                for seen in (self._seen_events, self._seen_selected, self._seen_changes):
                    seen.settled(shard, frame.publication)
                for subscriptions in self._subscriptions.values():
                    subscriptions.settled(shard, frame.publication)
            case ActiveTables():
                realm = self._realms.get(frame.realm)
                if realm is not None and realm.announced(shard, frame.version, frame.text):
                    subscriptions = self._subscriptions[frame.realm]
                    move_to_rows(realm, subscriptions, self._subscribe_requests)
            case StoreFailure():
                self.store_failures[shard] = frame.reason
            case Registered():
                if not self._reductions.registered(frame, shard):
                    self._registrations.registered(frame)
            case Unregistered():
                self._registrations.unregistered(frame)
            case CallMoved():
                self._calls.call_moved(frame)
            case Interrupt():
                self._registrations.interrupt(frame, shard)
            case Revoked():
                self._registrations.revoked(frame)
            case TakeCensus():
                self._memberships.take_census(frame)
            case WillsStored():
                if self._registry.wills.stored(frame, shard):
                    self._calls.result(empty_result(frame.session, frame.request))
            case Kill():
                session = self._sessions.get(frame.session)
                if session is not None:
                    session.end(frame.reason, frame.message)
            case LoginFailed():
                self._login_failed(frame.network)
            case _:
                pass  # SyncEnd: shards replay no state to gateways

    def _came_again(self, event: Event, shard: int) -> None:
        publish = event.publish
        self._subscribe_requests.came_again(event, shard)
        if self._seen_events.is_new(shard, event.publication) and not self._ordering.hold(
            event, shard, publish.session, publish.order, publish.fence
        ):
            self._fanouts[publish.realm].deliver(event, shard)

    def _selected_again(self, frame: SelectedEvent, shard: int) -> None:
        event = frame.event
        self._subscribe_requests.came_again(event, shard)
        if frame.state:
            is_new = self._seen_changes.is_new(shard, event)
        else:
            is_new = self._seen_selected.is_new(shard, event.publication)
        if is_new:
            self._selected(frame, shard)

    def _selected(self, frame: SelectedEvent, shard: int) -> None:
        """Deliver a selected event, or hold it back behind its fence.

        Changes and followers' events are not held back: changes of different keys may come in any
        order, and followers get each shard's events in the order of their ids.
        """
        publish = frame.event.publish
        if frame.state and publish.realm in self._user_keys.realms:
            self._user_keys.selected(frame, shard)
        if (
            frame.state
            or frame.follow
            or not self._ordering.hold(frame, shard, publish.session, publish.order, publish.fence)
        ):
            self._fanouts[publish.realm].deliver_selected(frame, shard)

    def _refused(self, frame: Refused) -> None:
        if frame.kind != PUBLISH_TAG:
            self._registrations.refused(frame)
            return
        self._unstored_waiters.answered(frame.session, frame.request)
        session = self._sessions.get(frame.session)
        if session is not None:
            session.refused(frame)

    def _deliver(self, events: list[Event], shard: int) -> None:
        """Deliver events in runs that have one topic and the same flags."""
        start = 0
        first = events[0].publish
        if not self._times.event:
            self._times.event = events[0].publication
        topic, flags, realm = first.topic, first.flags, first.realm
        for i, event in enumerate(events):
            publish = event.publish
            if publish.topic != topic or publish.flags != flags or publish.realm != realm:
                self._fanouts[realm].deliver_run(events[start:i], shard)
                start = i
                topic, flags, realm = publish.topic, publish.flags, publish.realm
        self._fanouts[realm].deliver_run(events[start:] if start else events, shard)

    def deliver_held_back(self, frame: HeldFrame, shard: int) -> None:
        """Deliver a frame that waits no longer for what its sender sent before."""
        if type(frame) is Event:
            self._fanouts[frame.publish.realm].deliver(frame, shard)
            self._subscribe_requests.delivered(frame, shard)
        elif type(frame) is SelectedEvent:
            self._fanouts[frame.event.publish.realm].deliver_selected(frame, shard)
            self._subscribe_requests.delivered(frame, shard)
        elif type(frame) is Invocation:
            self._registrations.invoke(frame, shard)


def _cost(frame: Frame) -> int:
    """Return as how many publishes a page of an inquiry counts; 0 for any other frame."""
    if type(frame) is InquiryPage:
        return sum(len(value) for _, value in frame.items) // PAGE_BYTES
    return _cost(frame.page) if type(frame) is RelayedPage else 0

"""Reading the history: the procedure `wamp.subscription.get_events` (WAMP #pubsub-event-history).

Owns: which shards are asked for which events, and the form of the answer. Never: what is recorded;
the procedure's arguments (see `history_query`); the merging of pages (see `inquiry`).
"""

from collections.abc import Iterable
from typing import Any, final

from msgspec import msgpack

from fox_shard.backplane.attributes import NO_ATTRIBUTES, read
from fox_shard.backplane.frames import Event, HistoryPage, ReadHistory, Result, sent_bytes
from fox_shard.documents.filters import Filter
from fox_shard.documents.payloads import decode, decode_exactly, document, encode
from fox_shard.errors import InvalidPayload, NoSuchSubscription
from fox_shard.gateway.procedures.history_query import GET_EVENTS, Query, read_query, time_of
from fox_shard.gateway.procedures.inquiry import Inquiries, Source
from fox_shard.gateway.pubsub.fanout import visible
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import Subscription
from fox_shard.gateway.wamp.event_encoder import details_of
from fox_shard.topics.pattern import EXACT, Pattern


@final
class HistoryQuestion:
    """One call of the procedure, a `Question`."""

    __slots__ = (
        "_encoding",
        "_filter",
        "_spans",
        "_subscription",
        "limit",
        "pattern",
        "query",
        "request",
        "reverse",
        "session",
        "weight",
    )

    def __init__(
        self,
        session: Session,
        request: int,
        encoding: int,
        subscription: Subscription,
        query: Query,
    ) -> None:
        """encoding: the caller's, see `payloads`."""
        self.session = session
        self.request = request
        self.limit = query.limit
        self.reverse = query.reverse
        self.query = query
        self.weight = len(query.topic or "")
        self.pattern = subscription.pattern
        self._encoding = encoding
        self._subscription = subscription
        self._filter = None
        if subscription.selector is not None and subscription.selector.filter:
            self._filter = Filter(msgpack.decode(subscription.selector.filter))
        # The lowest and the highest id that the next page of each shard may have.
        self._spans: dict[Source, tuple[int, int]] = {}

    def narrow(self) -> bool:
        """Narrow the pattern to the topic asked for. Returns whether any event could match."""
        topic = self.query.topic
        first, last = self.query.span
        if topic is not None:
            if not self.pattern.matches(topic):
                return False
            self.pattern = Pattern(EXACT, topic)
        return first <= last

    def ask(self, token: int, source: Source, limit: int) -> ReadHistory:
        """Return the frame that asks the shard for its next page."""
        first, last = self._spans.get(source, self.query.span)
        return ReadHistory(
            token, self.session.realm.name, self.pattern.text, first, last, limit, self.reverse
        )

    def read(self, source: Source, page: HistoryPage) -> list[Event]:
        """Return the events of the shard's page that the caller may see, and that it wants."""
        if page.events:
            first, last = self._spans.get(source, self.query.span)
            end = page.events[-1].publication
            self._spans[source] = (first, end - 1) if self.reverse else (end + 1, last)
        shown = visible(page.events, self.session)
        return [event for event in shown if self._meets_filter(event)]

    def _meets_filter(self, event: Event) -> bool:
        if self._filter is None:
            return True
        publish = event.publish
        kwargs = b"" if self.session.realm.headers else publish.kwargs
        try:
            return self._filter.matches(document(publish.encoding, publish.args, kwargs))
        except InvalidPayload:
            return False

    def key(self, item: Event) -> int:
        """Return the event's publication id."""
        return item.publication

    def size(self, item: Event) -> int:
        """Return the bytes of the event's arguments."""
        return sent_bytes(item.publish)

    def answer(self, items: list[Event], *, more: bool) -> Result:
        """Return the events in the procedure's form, without those that cannot be expressed."""
        target, id_ = self._encoding, self._subscription.id
        events = [_to_result(event, id_, target) for event in items]
        readable = [event for event in events if event is not None]
        args, kwargs = encode([readable], {"more": more}, target)
        return Result(self.session.id, self.request, False, target, args, kwargs)  # noqa: FBT003


@final
class EventHistory:
    """Answers `wamp.subscription.get_events` to one gateway's sessions."""

    __slots__ = ("_inquiries", "_subscriptions")

    def __init__(
        self, inquiries: Inquiries, subscriptions: dict[str, Subscriptions], calls: Calls
    ) -> None:
        """subscriptions: by the realm's name."""
        self._inquiries = inquiries
        self._subscriptions = subscriptions
        calls.local_procedures[GET_EVENTS] = self.get_events

    def get_events(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """Begin to answer a call (see `calls.LocalProcedure`). Raises Refusal."""
        id_, query = read_query(*decode(encoding, args, kwargs))
        subscribers = self._subscriptions[session.realm.name].by_id.get(id_)
        if subscribers is None or not subscribers.members.has(session):
            raise NoSuchSubscription(f"this session has no subscription {id_}: subscribe first")
        question = HistoryQuestion(session, request, encoding, subscribers.subscription, query)
        shards: Iterable[int] = ()
        if question.narrow():
            pattern = question.pattern
            shards = (
                (session.realm.shard_of(pattern.topic),)
                if pattern.is_exact
                else self._inquiries.all_shards
            )
        self._inquiries.ask(question, shards)


def _to_result(event: Event, subscription: int, target: int) -> dict[str, Any] | None:
    """Return an event in the procedure's form; None: the caller's encoding cannot express it.

    subscription: its id. target: the caller's encoding.
    """
    publish = event.publish
    try:
        if publish.encoding == target:
            args, kwargs = decode_exactly(target, publish.args, publish.kwargs)
        else:
            args, kwargs = decode(publish.encoding, publish.args, publish.kwargs)
            encode(args, kwargs, target)
    except InvalidPayload:
        return None
    return {
        "timestamp": time_of(event.publication),
        "subscription": subscription,
        "publication": event.publication,
        "details": {**details_of(publish, topic=True), **read(publish.attributes or NO_ATTRIBUTES)},
        "args": args,
        "kwargs": kwargs,
    }

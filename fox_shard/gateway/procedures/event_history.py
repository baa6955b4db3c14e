"""Reading the history: the procedure `wamp.subscription.get_events` (WAMP #pubsub-event-history).

Owns: which shards are asked, and the order of the events that they answer. Never: what is recorded,
the procedure's arguments (see `history_query`).

The shards of the subscription's pattern answer a page at a time. The pages of all shards are merged
by publication id; when a shard's page has been used up, its next one is asked for.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, final

from msgspec import msgpack

from fox_shard.backplane.frames import CallError, Event, HistoryPage, ReadHistory, Result
from fox_shard.backplane.link import Link
from fox_shard.backplane.refusals import call_error
from fox_shard.documents.filters import Filter
from fox_shard.documents.payloads import decode, decode_exactly, document, encode
from fox_shard.errors import InvalidPayload, NoSuchSubscription, Unavailable
from fox_shard.gateway.procedures.history_query import GET_EVENTS, Query, read_query, time_of
from fox_shard.gateway.pubsub.fanout import visible
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import Subscription
from fox_shard.gateway.wamp.event_encoder import details_of
from fox_shard.topics.pattern import EXACT, Pattern

MAX_ANSWER_BYTES: Final = 1 << 22
"""Bytes of the events' arguments in one answer, which ends with the event that exceeds them."""


@final
class ShardPages:
    """A shard that is asked, and its events that have not been taken.

    first, last: the lowest and the highest id that the next page may have. asked: the shard owes a
    page. more: the shard may have more events than those that came.
    """

    __slots__ = ("asked", "events", "first", "last", "more", "shard")

    def __init__(self, shard: int, first: int, last: int) -> None:
        self.shard = shard
        self.first, self.last = first, last
        self.asked = False
        self.more = True
        self.events: deque[Event] = deque()


@final
class HistoryQuery:
    """One call of the procedure, until it is answered."""

    __slots__ = (
        "encoding",
        "filter",
        "pattern",
        "query",
        "request",
        "session",
        "size",
        "sources",
        "subscription",
        "taken",
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
        self.encoding = encoding
        self.subscription = subscription
        self.query = query
        self.pattern = subscription.pattern
        self.filter = None
        if subscription.selector is not None and subscription.selector.filter:
            self.filter = Filter(msgpack.decode(subscription.selector.filter))
        self.sources: list[ShardPages] = []
        self.taken: list[Event] = []
        self.size = 0

    def narrow(self) -> bool:
        """Narrow the pattern to the topic asked for. Returns whether any event could match."""
        topic = self.query.topic
        first, last = self.query.span
        if topic is not None:
            if not self.pattern.matches(topic):
                return False
            self.pattern = Pattern(EXACT, topic)
        return first <= last

    def add(self, source: ShardPages, page: HistoryPage) -> None:
        """Add a page to the events of its source."""
        source.asked, source.more = False, page.more
        if page.events:
            end = page.events[-1].publication
            if self.query.reverse:
                source.last = end - 1
            else:
                source.first = end + 1
        shown = visible(page.events, self.session)
        source.events.extend(event for event in shown if self._meets_filter(event))

    def _meets_filter(self, event: Event) -> bool:
        if self.filter is None:
            return True
        publish = event.publish
        kwargs = b"" if self.session.realm.headers else publish.kwargs
        try:
            return self.filter.matches(document(publish.encoding, publish.args, kwargs))
        except InvalidPayload:
            return False

    def take(self) -> list[ShardPages]:
        """Take events in the order of their ids, as far as they have come.

        Returns the sources whose next pages are needed first; []: the answer is complete.
        """
        reverse = self.query.reverse
        while not self.is_full:
            empty = [one for one in self.sources if one.more and not one.events]
            if empty:
                return empty
            full = [one for one in self.sources if one.events]
            if not full:
                break
            choose = max if reverse else min
            event = choose(full, key=lambda one: one.events[0].publication).events.popleft()
            self.taken.append(event)
            self.size += len(event.publish.args) + len(event.publish.kwargs)
        return []

    @property
    def is_full(self) -> bool:
        """Whether the answer has reached its limit."""
        return len(self.taken) == self.query.limit or self.size > MAX_ANSWER_BYTES

    @property
    def more(self) -> bool:
        """Whether there may be more events than were taken."""
        return any(source.more or source.events for source in self.sources)


@final
class EventHistory:
    """Answers `wamp.subscription.get_events` to one gateway's sessions."""

    __slots__ = ("_calls", "_links", "_open", "_sessions", "_subscriptions", "_token")

    def __init__(
        self,
        links: list[Link],
        subscriptions: dict[str, Subscriptions],
        calls: Calls,
        sessions: dict[int, Session],
    ) -> None:
        """links: to the shards, by number. subscriptions: by the realm's name."""
        self._links = links
        self._subscriptions = subscriptions
        self._calls = calls
        self._sessions = sessions
        self._token = 0
        self._open: dict[int, HistoryQuery] = {}
        calls.local_procedures[GET_EVENTS] = self.get_events

    @property
    def idle(self) -> bool:
        """Whether no call waits for a shard."""
        return not self._open

    def get_events(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """Begin to answer a call (see `calls.LocalProcedure`). Raises Refusal."""
        id_, query = read_query(*decode(encoding, args, kwargs))
        subscribers = self._subscriptions[session.realm.name].by_id.get(id_)
        if subscribers is None or not subscribers.has(session):
            raise NoSuchSubscription(f"this session has no subscription {id_}: subscribe first")
        history_query = HistoryQuery(session, request, encoding, subscribers.subscription, query)
        shards: Iterable[int] = ()
        if history_query.narrow():
            pattern = history_query.pattern
            shards = (
                (session.realm.shard_of(pattern.topic),)
                if pattern.is_exact
                else range(len(self._links))
            )
        for shard in shards:
            if not self._links[shard].open:
                raise Unavailable(f"{self._links[shard].peer} is down: call again soon")
        history_query.sources = [ShardPages(shard, *query.span) for shard in shards]
        self._token += 1
        self._open[self._token] = history_query
        self._go_on(self._token)

    def history_page(self, frame: HistoryPage, shard: int) -> None:
        """Take a shard's page, if its session still waits for the answer."""
        history_query = self._open.get(frame.token)
        if history_query is None:
            return
        session = history_query.session
        if self._sessions.get(session.id) is not session:
            del self._open[frame.token]
            return
        source = next(one for one in history_query.sources if one.shard == shard)
        history_query.add(source, frame)
        self._go_on(frame.token)

    def _go_on(self, token: int) -> None:
        history_query = self._open[token]
        query = history_query.query
        waits = history_query.take()
        for source in waits:
            if source.asked:
                continue
            source.asked = True
            frame = ReadHistory(
                token,
                history_query.session.realm.name,
                history_query.pattern.text,
                source.first,
                source.last,
                query.limit - len(history_query.taken),
                query.reverse,
            )
            self._links[source.shard].send(frame)
        if not waits:
            del self._open[token]
            self._answer(history_query)

    def _answer(self, history_query: HistoryQuery) -> None:
        session, request, target = (
            history_query.session,
            history_query.request,
            history_query.encoding,
        )
        events = [_to_result(event, history_query) for event in history_query.taken]
        readable = [event for event in events if event is not None]
        args, kwargs = encode([readable], {"more": history_query.more}, target)
        self._calls.result(Result(session.id, request, False, target, args, kwargs))  # noqa: FBT003

    def link_broken(self, shard: int) -> None:
        """Fail the calls that need more of that shard, with which the pair has ended."""
        for token, history_query in list(self._open.items()):
            if any(source.shard == shard and source.more for source in history_query.sources):
                del self._open[token]
                self._calls.call_error(self._down(history_query, shard))

    def _down(self, history_query: HistoryQuery, shard: int) -> CallError:
        down = Unavailable(f"{self._links[shard].peer} went down with the call: call again soon")
        return call_error(history_query.session.id, history_query.request, down)


def _to_result(event: Event, history_query: HistoryQuery) -> dict[str, Any] | None:
    """Return an event in the procedure's form; None: the caller's encoding cannot express it."""
    publish, target = event.publish, history_query.encoding
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
        "subscription": history_query.subscription.id,
        "publication": event.publication,
        "details": details_of(publish, topic=True),
        "args": args,
        "kwargs": kwargs,
    }

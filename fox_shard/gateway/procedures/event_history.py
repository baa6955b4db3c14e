"""Reading the history: the procedure `wamp.subscription.get_events` (WAMP #pubsub-event-history).

Owns: what may be asked, which shards are asked, and the order of what they answer. Never: what is
recorded.

The shards of the subscription's pattern answer a page at a time. Each page is merged with those of
the others by publication id, and the next one is asked for where a shard's has been used up.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, final

from msgspec import msgpack

from fox_shard.backplane.frames import CallError, Event, Recall, Recalled, Result
from fox_shard.backplane.link import Link
from fox_shard.backplane.refusals import call_error
from fox_shard.documents.filters import Filter
from fox_shard.documents.payloads import decode, document, encode
from fox_shard.errors import InvalidPayload, NoSuchSubscription, Unavailable
from fox_shard.gateway.procedures.history_query import GET_EVENTS, Query, read_query, time_of
from fox_shard.gateway.pubsub.fanout import visible
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import Subscription
from fox_shard.gateway.wamp.event_encoder import details_of
from fox_shard.topics.pattern import EXACT, Pattern

MOST_BYTES: Final = 1 << 22
"""Of the arguments in one answer; beyond that there is one more event."""


@final
class Source:
    """A shard, and what it has answered and nobody has taken yet.

    first, last: between which ids the next page is; more: there is one, perhaps.
    """

    __slots__ = ("asked", "events", "first", "last", "more", "shard")

    def __init__(self, shard: int, first: int, last: int) -> None:
        self.shard = shard
        self.first, self.last = first, last
        self.asked = False
        self.more = True
        self.events: deque[Event] = deque()


@final
class Recollection:
    """One call, until it is answered."""

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
        """encoding: the caller's."""
        self.session = session
        self.request = request
        self.encoding = encoding
        self.subscription = subscription
        self.query = query
        self.pattern = subscription.pattern
        self.filter = None
        if subscription.selection is not None and subscription.selection.filter:
            self.filter = Filter(msgpack.decode(subscription.selection.filter))
        self.sources: list[Source] = []
        self.taken: list[Event] = []
        self.size = 0

    def narrow(self) -> bool:
        """Keep to the topic that was asked for; returns whether there is anything to be found."""
        topic = self.query.topic
        first, last = self.query.span
        if topic is not None:
            if not self.pattern.matches(topic):
                return False
            self.pattern = Pattern(EXACT, topic)
        return first <= last

    def add(self, source: Source, page: Recalled) -> None:
        """A page has come."""
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

    def take(self) -> list[Source]:
        """Take what is in order. Returns who has to be asked before there can be more of it."""
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
        """Is that as much as is answered?"""
        return len(self.taken) == self.query.limit or self.size > MOST_BYTES

    @property
    def more(self) -> bool:
        """May there be more than was taken?"""
        return any(source.more or source.events for source in self.sources)


@final
class Recollections:
    """Of all sessions of a gateway."""

    __slots__ = ("_calls", "_links", "_open", "_sessions", "_subscriptions", "_token")

    def __init__(
        self,
        links: list[Link],
        subscriptions: dict[str, Subscriptions],
        calls: Calls,
        sessions: dict[int, Session],
    ) -> None:
        """links: to the shards, by number. calls: get their answers."""
        self._links = links
        self._subscriptions = subscriptions
        self._calls = calls
        self._sessions = sessions
        self._token = 0
        self._open: dict[int, Recollection] = {}
        calls.here[GET_EVENTS] = self.get_events

    @property
    def idle(self) -> bool:
        """No call waits for a shard."""
        return not self._open

    def get_events(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """Raises Refusal."""
        id_, query = read_query(*decode(encoding, args, kwargs))
        subscribers = self._subscriptions[session.realm.name].by_id.get(id_)
        if subscribers is None or not subscribers.has(session):
            raise NoSuchSubscription(f"this session has no subscription {id_}: subscribe first")
        recollection = Recollection(session, request, encoding, subscribers.subscription, query)
        shards: Iterable[int] = ()
        if recollection.narrow():
            pattern = recollection.pattern
            shards = (
                (session.realm.shard_of(pattern.topic),)
                if pattern.is_exact
                else range(len(self._links))
            )
        for shard in shards:
            if not self._links[shard].open:
                raise Unavailable(f"{self._links[shard].peer} is down: call again soon")
        recollection.sources = [Source(shard, *query.span) for shard in shards]
        self._token += 1
        self._open[self._token] = recollection
        self._go_on(self._token)

    def recalled(self, frame: Recalled, shard: int) -> None:
        """A shard has answered."""
        recollection = self._open.get(frame.token)
        if recollection is None:
            return
        session = recollection.session
        if self._sessions.get(session.id) is not session:
            del self._open[frame.token]
            return
        source = next(one for one in recollection.sources if one.shard == shard)
        recollection.add(source, frame)
        self._go_on(frame.token)

    def _go_on(self, token: int) -> None:
        recollection = self._open[token]
        query = recollection.query
        waits = recollection.take()
        for source in waits:
            if source.asked:
                continue
            source.asked = True
            frame = Recall(
                token,
                recollection.session.realm.name,
                recollection.pattern.text,
                source.first,
                source.last,
                query.limit - len(recollection.taken),
                query.reverse,
            )
            self._links[source.shard].send(frame)
        if not waits:
            del self._open[token]
            self._answer(recollection)

    def _answer(self, recollection: Recollection) -> None:
        session, request, target = recollection.session, recollection.request, recollection.encoding
        events = [_shown(event, recollection) for event in recollection.taken]
        readable = [event for event in events if event is not None]
        args, kwargs = encode([readable], {"more": recollection.more}, target)
        self._calls.result(Result(session.id, request, False, target, args, kwargs))  # noqa: FBT003

    def lost(self, shard: int) -> None:
        """The pair with that shard has ended; what it has not told yet is not known."""
        for token, recollection in list(self._open.items()):
            if any(source.shard == shard and source.more for source in recollection.sources):
                del self._open[token]
                self._calls.call_error(self._down(recollection, shard))

    def _down(self, recollection: Recollection, shard: int) -> CallError:
        down = Unavailable(f"{self._links[shard].peer} went down with the call: call again soon")
        return call_error(recollection.session.id, recollection.request, down)


def _shown(event: Event, recollection: Recollection) -> dict[str, Any] | None:
    """As the procedure returns it; None: it has no form in the caller's encoding."""
    publish, target = event.publish, recollection.encoding
    try:
        args, kwargs = decode(publish.encoding, publish.args, publish.kwargs)
        if publish.encoding != target:
            encode(args, kwargs, target)
    except InvalidPayload:
        return None
    return {
        "timestamp": time_of(event.publication),
        "subscription": recollection.subscription.id,
        "publication": event.publication,
        "details": details_of(publish, topic=True),
        "args": args,
        "kwargs": kwargs,
    }

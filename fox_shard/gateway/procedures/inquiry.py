"""Inquiries: procedures that a gateway answers with what shards, or other gateways, tell it.

Owns: which of them are asked for what they have next, the merging of their pages into one order,
and the failure of a call whose shard goes down. Never: what is asked, or what an answer looks like.

A shard answers a page at a time. The items of all shards are taken in the order of their keys; when
a shard's page has been used up, its next one is asked for. So at most a page of each shard waits
here. An answer is complete, or it is full, or the call fails: `wamp.error.unavailable`, if a shard
is down that may have more.

Gateways are asked like shards, by way of a shard (`RelayedInquiry`).
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, final

from msgspec import msgpack

from fox_shard.backplane.frames import (
    CallError,
    Frame,
    HistoryPage,
    Inquiry,
    InquiryPage,
    RelayedInquiry,
    Result,
)
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.link import Link
from fox_shard.backplane.refusals import call_error
from fox_shard.config import Gateway as Settings
from fox_shard.documents.payloads import JSON, MSGPACK, encode
from fox_shard.errors import Refusal, Unavailable
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.connection import ANSWERS
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session

WAITING_BYTES = 1 << 20
"""Bytes of a session's questions beyond which its client is not read, until some are asked."""

QUESTION_BYTES = 2000
"""Bytes that each of them counts for in addition to its own."""

T = TypeVar("T")
P = TypeVar("P", contravariant=True)

Page = HistoryPage | InquiryPage
"""A frame in which a shard answers."""

Item = tuple[bytes, bytes]
"""An item of an `InquiryPage`: its key and its value."""

Answer = Callable[[list[Item], bool], tuple[list[Any], dict[str, Any]] | None]
"""Makes the arguments of an answer of the items, and of whether there may be more. Raises Refusal.

None: the call is not answered yet, as another question about it has been asked.
"""


class Source(NamedTuple):
    """What is asked: a shard, or, by way of the shard, a gateway.

    shard: a number. gateway: a name; "": the shard itself is asked.
    """

    shard: int
    gateway: str = ""


class ShardRefused(Exception):
    """A shard has refused an inquiry. uri, message: of the error that the caller gets."""

    def __init__(self, uri: str, message: str) -> None:
        super().__init__(message)
        self.uri = uri
        self.message = message


class Question(Protocol[T, P]):
    """What one call asks of the shards, in pages of type P, and how their items become its answer.

    session, request: of the call. limit: how many items the answer has at most. reverse: the items
    with the highest keys come first. weight: the bytes that the client has sent for it.
    """

    session: Session
    request: int
    limit: int
    reverse: bool
    weight: int

    def ask(self, token: int, source: Source, limit: int) -> Frame:
        """Return the frame that asks the source for its next page. limit: items of the page."""

    def read(self, source: Source, page: P, /) -> list[T]:
        """Return the items of the source's page that count. Raises ShardRefused."""

    def key(self, item: T) -> int | bytes:
        """Return what the items are ordered by. The items of one shard come in this order."""

    def size(self, item: T) -> int:
        """Return the bytes of an item."""

    def answer(self, items: list[T], *, more: bool) -> Result | None:
        """Return the answer. more: there may be other items. Raises Refusal.

        None: the call is not answered yet, as another question about it has been asked.
        """


@final
class SourceItems(Generic[T]):
    """A source that is asked, and its items that have not been taken.

    asked: the source owes a page. more: the source may have more than what came.
    """

    __slots__ = ("asked", "items", "more", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.asked = False
        self.more = True
        self.items: deque[T] = deque()


@final
class OpenInquiry(Generic[T]):
    """One call, until it is answered.

    max_bytes: of the items; the answer ends with the item that exceeds them.
    """

    __slots__ = ("max_bytes", "question", "size", "sources", "taken")

    def __init__(
        self, question: Question[T, Any], sources: Iterable[Source], max_bytes: int
    ) -> None:
        self.question = question
        self.max_bytes = max_bytes
        self.sources: list[SourceItems[T]] = [SourceItems(source) for source in sources]
        self.taken: list[T] = []
        self.size = 0

    def take(self) -> list[SourceItems[T]]:
        """Take items in the order of their keys, as far as they have come.

        Return the sources whose next pages are needed first; []: the answer is complete.
        """
        key = self.question.key
        choose = max if self.question.reverse else min
        while not self.is_full:
            empty = [one for one in self.sources if one.more and not one.items]
            if empty:
                return empty
            full = [one for one in self.sources if one.items]
            if not full:
                break
            item = choose(full, key=lambda one: key(one.items[0])).items.popleft()
            self.taken.append(item)
            self.size += self.question.size(item)
        return []

    @property
    def is_full(self) -> bool:
        """Whether the answer has reached its limit."""
        return len(self.taken) == self.question.limit or self.size > self.max_bytes

    @property
    def more(self) -> bool:
        """Whether there may be more items than were taken."""
        return any(source.more or source.items for source in self.sources)


@final
class Inquiries:
    """The calls of one gateway's sessions that wait for pages of shards."""

    __slots__ = (
        "_at_once",
        "_backpressure",
        "_calls",
        "_counts",
        "_links",
        "_max_bytes",
        "_of_sessions",
        "_open",
        "_sessions",
        "_token",
    )

    def __init__(
        self,
        links: list[Link],
        calls: Calls,
        sessions: dict[int, Session],
        settings: Settings,
        counts: LimitCounts,
        backpressure: Backpressure,
    ) -> None:
        """links: to the shards, by number. settings: the limits. counts: of refused answers."""
        self._backpressure = backpressure
        # An answer may have some MiB, and a session very many unanswered calls.
        self._at_once = settings.max_inquiries
        self._max_bytes = settings.answer_bytes
        self._counts = counts
        self._links = links
        self._calls = calls
        self._sessions = sessions
        self._token = 0
        self._open: dict[int, OpenInquiry[Any]] = {}
        self._of_sessions: dict[Session, SessionInquiries] = {}

    @property
    def idle(self) -> bool:
        """Whether no call waits for a shard."""
        return not (self._open or self._of_sessions)

    @property
    def all_shards(self) -> Iterable[int]:
        """The numbers of all shards."""
        return range(len(self._links))

    def ask(self, question: Question[T, P], shards: Iterable[int]) -> None:
        """Ask these shards, and answer the call when they have answered.

        If others of the session are under way, that comes later. The call has to be one of a local
        procedure (see `Calls`). Raises Unavailable.
        """
        sources = [Source(shard) for shard in shards]
        self._check_open(sources)
        mine = self._of_sessions.setdefault(question.session, SessionInquiries())
        mine.waiting.append((question, sources))
        mine.weight += QUESTION_BYTES + question.weight
        self._go_on_with(question.session, mine)
        if mine.weight > WAITING_BYTES:
            question.session.connection.pause(paused=True, why=ANSWERS)

    def ask_further(self, question: Question[T, P], sources: list[Source]) -> None:
        """Ask these shards and gateways, to answer a call for which others have answered before.

        Raises Unavailable.
        """
        self._check_open(sources)
        self._begin(question, sources, self._of_sessions[question.session])

    def _check_open(self, sources: list[Source]) -> None:
        for source in sources:
            link = self._links[source.shard]
            if not link.open:
                raise Unavailable(f"{link.peer} is down: call again soon")

    def _begin(
        self, question: Question[Any, Any], sources: list[Source], mine: "SessionInquiries"
    ) -> None:
        mine.open += 1
        self._token += 1
        self._open[self._token] = OpenInquiry(question, sources, self._max_bytes)
        self._go_on(self._token)
        for source in sources:
            self._backpressure.sent(question.session.connection, source.shard)

    def _go_on_with(self, session: Session, mine: "SessionInquiries") -> None:
        """Ask what the session's next questions ask, and forget a session that has none."""
        if mine.is_going_on:
            return
        mine.is_going_on = True
        while mine.waiting and mine.open < self._at_once:
            question, sources = mine.waiting.popleft()
            mine.weight -= QUESTION_BYTES + question.weight
            try:
                self._check_open(sources)
            except Unavailable as down:
                self._calls.call_error(call_error(session.id, question.request, down))
                continue
            self._begin(question, sources, mine)
        mine.is_going_on = False
        if mine.weight <= WAITING_BYTES and session.connection.held_by & ANSWERS:
            session.connection.pause(paused=False, why=ANSWERS)
        if not mine.open:
            del self._of_sessions[session]

    def _close(self, session: Session) -> None:
        """Note that one of the session's inquiries is over."""
        mine = self._of_sessions[session]
        mine.open -= 1
        if self._sessions.get(session.id) is not session:
            mine.waiting.clear()
            mine.weight = 0
        self._go_on_with(session, mine)

    def page(self, page: Page, source: Source) -> None:
        """Take a source's page, if its session still waits for the answer."""
        inquiry = self._open.get(page.token)
        if inquiry is None:
            return
        session = inquiry.question.session
        if self._sessions.get(session.id) is not session:
            del self._open[page.token]
            self._close(session)
            return
        found = next(one for one in inquiry.sources if one.source == source)
        found.asked = False
        found.more = page.more
        try:
            found.items.extend(inquiry.question.read(source, page))
        except ShardRefused as refused:
            del self._open[page.token]
            self._calls.call_error(_error(inquiry.question, refused))
            self._close(session)
            return
        self._go_on(page.token)

    def _go_on(self, token: int) -> None:
        inquiry = self._open[token]
        question = inquiry.question
        waits = inquiry.take()
        for one in waits:
            if not one.asked:
                one.asked = True
                left = question.limit - len(inquiry.taken)
                self._links[one.source.shard].send(question.ask(token, one.source, left))
        if not waits:
            del self._open[token]
            self._answer(inquiry)
            self._close(question.session)

    def _answer(self, inquiry: OpenInquiry[Any]) -> None:
        question = inquiry.question
        try:
            result = question.answer(inquiry.taken, more=inquiry.more)
            if result is not None:
                self._calls.result(result)
        except Refusal as refusal:
            self._counts.add(refusal.limit)
            error = call_error(question.session.id, question.request, refusal)
            self._calls.call_error(error)

    def link_broken(self, shard: int) -> None:
        """Fail the calls that need more of that shard, with which the pair has ended."""
        for token, inquiry in list(self._open.items()):
            if any(one.source.shard == shard and one.more for one in inquiry.sources):
                del self._open[token]
                down = Unavailable(
                    f"{self._links[shard].peer} went down with the call: call again soon"
                )
                question = inquiry.question
                self._calls.call_error(call_error(question.session.id, question.request, down))
                self._close(question.session)


@final
class SessionInquiries:
    """The inquiries of one session.

    open: how many are under way. waiting: questions that have not been asked, with their sources.
    weight: their bytes. is_going_on: `Inquiries` is asking them, and need not be told again that it
    may.
    """

    __slots__ = ("is_going_on", "open", "waiting", "weight")

    def __init__(self) -> None:
        self.open = self.weight = 0
        self.waiting: deque[tuple[Question[Any, Any], list[Source]]] = deque()
        self.is_going_on = False


def _error(question: Question[Any, Any], refused: ShardRefused) -> CallError:
    args = msgpack.encode([refused.message])
    return CallError(question.session.id, question.request, refused.uri, MSGPACK, args)


@final
class InquiryQuestion:
    """A question in `Inquiry` frames, whose items are keys and values in bytes."""

    __slots__ = (
        "_admits",
        "_answer",
        "_body",
        "_encoding",
        "_kind",
        "_starts",
        "limit",
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
        *,
        kind: str,
        body: bytes,
        limit: int,
        answer: Answer,
        admits: Callable[[Item], bool] | None = None,
    ) -> None:
        """encoding: of the call, see `payloads`. kind, body: see `Inquiry`.

        admits: whether an item counts. None: all do.
        """
        self._admits = admits
        self.session = session
        self.request = request
        self.limit = limit
        self.reverse = False
        # A call without arguments has no encoding; each caller can be sent JSON.
        self._encoding = encoding or JSON
        self._kind = kind
        self._body = body
        self.weight = len(body)
        self._answer = answer
        # Where the next page of each source begins.
        self._starts: dict[Source, bytes] = {}

    def ask(self, token: int, source: Source, limit: int) -> Inquiry | RelayedInquiry:
        """Return the frame that asks the source for its next page."""
        start = self._starts.get(source, b"")
        realm = self.session.realm.name
        inquiry = Inquiry(token, realm, self._kind, self._body, start, limit)
        return RelayedInquiry(source.gateway, inquiry) if source.gateway else inquiry

    def read(self, source: Source, page: InquiryPage) -> list[Item]:
        """Return the items of the source's page."""
        if page.uri:
            raise ShardRefused(page.uri, page.message)
        self._starts[source] = page.next
        if self._admits is not None:
            return [item for item in page.items if self._admits(item)]
        return page.items

    def key(self, item: Item) -> bytes:
        """Return the item's key."""
        return item[0]

    def size(self, item: Item) -> int:
        """Return the bytes of the item."""
        return len(item[0]) + len(item[1])

    def answer(self, items: list[Item], *, more: bool) -> Result | None:
        """Return the answer in the caller's encoding."""
        answer = self._answer(items, more)
        if answer is None:
            return None
        args, kwargs = encode(*answer, self._encoding)
        return Result(self.session.id, self.request, False, self._encoding, args, kwargs)  # noqa: FBT003

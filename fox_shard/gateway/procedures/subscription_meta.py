"""The procedures `wamp.subscription.…`, except `get_events` (WAMP #subscription-metapi).

Owns: which shards and gateways are asked, and the answers. Never: how they are asked (see
`inquiry`).

A shard knows which gateways have a subscription, but not the sessions. So subscribers are asked for
in two steps: the shards say which gateways have the subscription, and these, by way of the shard
that said so, who its subscribers are.
"""

from typing import Any, Final, final

from fox_shard.backplane.meta_api import (
    MATCHING_SUBSCRIPTIONS,
    SUBSCRIBER_COUNT,
    SUBSCRIBERS,
    SUBSCRIPTION,
    SUBSCRIPTIONS,
    SubscriptionState,
    decode_count,
    decode_subscription,
    details,
    id_key,
)
from fox_shard.errors import NoSuchSubscription
from fox_shard.gateway.procedures.inquiry import (
    Answer,
    Inquiries,
    InquiryQuestion,
    Item,
    Source,
)
from fox_shard.gateway.procedures.meta_arguments import (
    MOST_ITEMS,
    complete,
    id_argument,
    id_lists,
    ids,
    no_arguments,
    pattern_argument,
    uri_argument,
)
from fox_shard.gateway.procedures.meta_questions import MetaQuestions
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session

LIST: Final = "wamp.subscription.list"
LOOKUP: Final = "wamp.subscription.lookup"
MATCH: Final = "wamp.subscription.match"
GET: Final = "wamp.subscription.get"
LIST_SUBSCRIBERS: Final = "wamp.subscription.list_subscribers"
COUNT_SUBSCRIBERS: Final = "wamp.subscription.count_subscribers"

WHAT: Final = "subscription"


@final
class SubscriptionMeta:
    """Answers the procedures to one gateway's sessions."""

    __slots__ = ("_inquiries", "_questions")

    def __init__(self, inquiries: Inquiries, calls: Calls) -> None:
        self._inquiries = inquiries
        self._questions = MetaQuestions(inquiries)
        calls.local_procedures[LIST] = self._list
        calls.local_procedures[LOOKUP] = self._lookup
        calls.local_procedures[MATCH] = self._match
        calls.local_procedures[GET] = self._get
        calls.local_procedures[LIST_SUBSCRIBERS] = self._list_subscribers
        calls.local_procedures[COUNT_SUBSCRIBERS] = self._count_subscribers

    def _list(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        no_arguments(LIST, (encoding, args, kwargs))
        self._questions.ask(session, request, encoding, SUBSCRIPTIONS, b"", id_lists)

    def _lookup(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        pattern = session.realm.rows_of(pattern_argument(LOOKUP, (encoding, args, kwargs)))
        self._questions.look_up(session, request, encoding, SUBSCRIPTION, pattern)

    def _match(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        topic = uri_argument(MATCH, (encoding, args, kwargs))
        self._questions.ask(
            session, request, encoding, MATCHING_SUBSCRIPTIONS, topic.encode(), _matching
        )

    def _get(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        id_ = id_argument(GET, WHAT, (encoding, args, kwargs))
        self._questions.ask(session, request, encoding, SUBSCRIPTION, id_key(id_), _details)

    def _list_subscribers(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        id_ = id_argument(LIST_SUBSCRIBERS, WHAT, (encoding, args, kwargs))
        self._ask_gateways(session, request, encoding, SUBSCRIBERS, id_, _subscribers)

    def _count_subscribers(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        id_ = id_argument(COUNT_SUBSCRIBERS, WHAT, (encoding, args, kwargs))
        self._ask_gateways(session, request, encoding, SUBSCRIBER_COUNT, id_, _count)

    def _ask_gateways(
        self, session: Session, request: int, encoding: int, kind: str, id_: int, answer: Answer
    ) -> None:
        """Ask the shards which gateways have the subscription, and then these gateways."""

        def go_on(items: list[Item], _more: bool) -> None:  # noqa: FBT001 (an Answer)
            state = _state(items)
            question = InquiryQuestion(
                session,
                request,
                encoding,
                kind=kind,
                body=id_key(id_),
                limit=MOST_ITEMS,
                answer=answer,
            )
            sources = [Source(state.home, gateway) for gateway in sorted(state.gateways)]
            self._inquiries.ask_further(question, sources)

        self._questions.ask(session, request, encoding, SUBSCRIPTION, id_key(id_), go_on)


def _found(items: list[Item]) -> list[Item]:
    if not items:
        raise NoSuchSubscription("there is no subscription of that id")
    return items


def _state(items: list[Item]) -> SubscriptionState:
    return decode_subscription(_found(items)[0][1])


def _matching(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
    return [ids(items, more=more) or None], {}


def _details(items: list[Item], _more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
    state = _state(items)
    return [details(state.id, state.created, state.pattern)], {}


def _subscribers(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
    # The last subscriber may have left since the shard was asked.
    return [ids(_found(items), more=more)], {}


def _count(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
    count = sum(decode_count(value) for _, value in complete(items, more=more))
    if not count:
        _found([])
    return [count], {}

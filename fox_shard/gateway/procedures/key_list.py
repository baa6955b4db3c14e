"""The procedures `fox.key.list` and `fox.key.level`: which keys there are, without their values.

Owns: their arguments and results. Never: keys; the merging of pages (see `inquiry`).
"""

from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Any, Final, Literal, TypeVar, final

import msgspec
from msgspec import Meta, Struct, msgpack

from fox_shard.backplane.key_states import KEYS, LEVEL, KeysQuery, KeyState, decode_state, encode
from fox_shard.documents.numbers import whole
from fox_shard.documents.payloads import decode
from fox_shard.errors import InvalidArgument
from fox_shard.gateway.authorization.rules import SUBSCRIBE, Extent
from fox_shard.gateway.procedures.inquiry import Inquiries, InquiryQuestion, Item
from fox_shard.gateway.pubsub.fanout import admits
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.pattern import Pattern

LIST: Final = "fox.key.list"
BELOW: Final = "fox.key.level"

MOST: Final = 1000
"""The most keys in one answer."""

RULES_COMPARED: Final = 20_000
"""Comparisons of rules with branches for one answer, unless it has fewer than LEAST branches."""

LEAST: Final = 10

S = TypeVar("S", bound=Struct)

Text = Annotated[str, Meta(max_length=65_535)]


class ListOptions(Struct, forbid_unknown_fields=True):
    """The options of `fox.key.list`. after: the topic of the last key before (see `KeysQuery`)."""

    match: Literal["exact", "prefix", "wildcard"] = "exact"
    contains: Text = ""
    owned: bool = False
    after: Text = ""
    limit: Annotated[int, Meta(ge=1, le=MOST)] = MOST


class LevelOptions(Struct, forbid_unknown_fields=True):
    """The options of `fox.key.level`. after: the last topic or branch before."""

    after: Text = ""
    limit: Annotated[int, Meta(ge=1, le=MOST)] = MOST


@final
class KeyList:
    """Answers the two procedures to one gateway's sessions."""

    __slots__ = ("_inquiries",)

    def __init__(self, inquiries: Inquiries, calls: Calls) -> None:
        self._inquiries = inquiries
        calls.local_procedures[LIST] = self._list
        calls.local_procedures[BELOW] = self._level

    def _list(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        topic, given = _arguments(LIST, encoding, args, kwargs)
        options = _options(LIST, given, ListOptions)
        # "" is a prefix of everything, and no topic.
        match = options.match if topic else "prefix"
        Pattern.wamp(topic, match)
        query = KeysQuery(topic, match, options.after, options.contains, options.owned)

        def answer(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
            found = [_key(topic, value) for topic, value in items]
            after = items[-1][0].decode() if more and items else None
            return [found], {"more": more, "after": after}

        question = InquiryQuestion(
            session,
            request,
            encoding,
            kind=KEYS,
            body=encode(query),
            limit=options.limit,
            answer=answer,
            admits=_admission(session),
        )
        self._inquiries.ask(question, self._inquiries.all_shards)

    def _level(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        topic, given = _arguments(BELOW, encoding, args, kwargs)
        options = _options(BELOW, given, LevelOptions)
        shards = [*self._inquiries.all_shards]
        limit = _level_limit(session, options.limit)
        above = f"{topic}." if topic else ""

        def answer(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
            groups = [(topic, [*same]) for topic, same in groupby(items, itemgetter(0))]
            if more and len(groups) > 1:
                # Other shards may have more of the last branch: the next page begins with it.
                groups.pop()
            more = more or len(groups) > limit
            groups = groups[:limit]
            after = groups[-1][0].decode() if more and groups else None
            found = [_merged(above, *group) for group in groups]
            return [found], {"more": more, "after": after}

        question = InquiryQuestion(
            session,
            request,
            encoding,
            kind=LEVEL,
            body=encode(KeysQuery(topic, after=options.after)),
            # A branch is an item of each shard that has a part of it.
            limit=(limit + 1) * len(shards),
            answer=answer,
            admits=_admission(session, above),
        )
        self._inquiries.ask(question, shards)


def _arguments(procedure: str, *call: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 (a call's payload)
    """Return the topic and the options. Raises InvalidArgument, InvalidPayload."""
    args, kwargs = decode(*call)
    if not args or not isinstance(args[0], str):
        raise InvalidArgument(f"{procedure}: the first argument is a topic")
    if len(args) > 2 or not all(isinstance(one, dict) for one in args[1:]):
        raise InvalidArgument(f"{procedure}: after the topic comes an object with options, if any")
    given = {**args[1], **kwargs} if len(args) == 2 else kwargs
    return args[0], {name: whole(value) for name, value in given.items()}


def _options(procedure: str, given: dict[str, Any], kind: type[S]) -> S:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        what, at, where = str(error).rpartition(" - at `$.")
        name = f"the option {where.rstrip('`')}: " if at else ""
        raise InvalidArgument(f"{procedure}: {name}{what if at else where}") from None


def _is_branch(topic: str, above: str | None) -> bool:
    """Whether an item is a branch (see `key_states.LEVEL`). above: None: all are keys."""
    return above is not None and topic.endswith(".") and topic != above


def _admission(session: Session, above: str | None = None) -> Callable[[Item], bool]:
    """Return a function that says whether the session may know of a key or a branch."""
    permissions = session.permissions

    def may_know(item: Item) -> bool:
        topic = item[0].decode()
        if _is_branch(topic, above):
            pattern = Pattern.wamp(topic, "prefix")
            return permissions is None or (
                permissions.extent(SUBSCRIBE, pattern) is not Extent.NOTHING
            )
        state = decode_state(item[1])
        if state.private and state.session != session.id:
            return False
        if state.audience is not None and not admits(state.audience, session):
            return False
        return permissions is None or permissions.may(SUBSCRIBE, topic)

    return may_know


def _level_limit(session: Session, limit: int) -> int:
    """Return how many branches are looked at for one call: each is compared with all rules."""
    if session.permissions is None:
        return limit
    return max(LEAST, min(limit, RULES_COMPARED // session.permissions.rules))


def _merged(above: str, topic: bytes, items: list[Item]) -> dict[str, Any]:
    """Return a key or a branch, which has the sum of what the shards have."""
    if _is_branch(topic.decode(), above):
        count = sum(msgpack.decode(value) for _, value in items)
        return {"topic": topic[:-1].decode(), "keys": count}
    return _key(topic, items[0][1])


def _key(topic: bytes, value: bytes) -> dict[str, Any]:
    state: KeyState = decode_state(value)
    shown: dict[str, Any] = {
        "topic": topic.decode(),
        "publication": state.publication,
        "session": state.session,
        "bytes": state.size,
        "expires": state.expires or None,
    }
    shown |= {name: True for name in ("weak", "will", "private", "reduced") if getattr(state, name)}
    if state.waiters:
        shown |= {"waiters": state.waiters, "waiting": state.waiting}
    return shown

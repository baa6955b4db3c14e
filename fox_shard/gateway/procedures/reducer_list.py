"""The procedures `fox.reducer.list` and `fox.reducer.remove`.

Owns: their arguments and results. Never: how shards are asked (see `inquiry`).
"""

from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal, final

import msgspec
from msgspec import Struct, msgpack

from fox_shard.backplane.frames import ReducerState
from fox_shard.documents.payloads import decode
from fox_shard.errors import InvalidArgument, NoSuchRegistration
from fox_shard.gateway.procedures.inquiry import Inquiries, InquiryQuestion, Item
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.ids import reducer_id
from fox_shard.topics.pattern import Pattern

LIST: Final = "fox.reducer.list"
REMOVE: Final = "fox.reducer.remove"

MOST: Final = 100_000
"""The most reducers in one answer, counted once for each shard."""

_decode: Final = msgpack.Decoder(ReducerState).decode


class Named(Struct, forbid_unknown_fields=True):
    """The keyword arguments of `fox.reducer.remove`, which with the pattern name a reducer."""

    durable: str
    match: Literal["exact", "prefix", "wildcard"] = "exact"
    mission: str = ""


@final
class ReducerProcedures:
    """The two procedures at one gateway."""

    __slots__ = ("_inquiries",)

    def __init__(self, inquiries: Inquiries, calls: Calls) -> None:
        self._inquiries = inquiries
        calls.local_procedures[LIST] = self._list
        calls.local_procedures[REMOVE] = self._remove

    def _list(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        if any(decode(encoding, args, kwargs)):
            raise InvalidArgument(f"{LIST} has no arguments")
        question = InquiryQuestion(
            session, request, encoding, kind="reducers", body=b"", limit=MOST, answer=_listed
        )
        self._inquiries.ask(question, self._inquiries.all_shards)

    def _remove(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        values, named = decode(encoding, args, kwargs)
        if len(values) != 1 or not isinstance(values[0], str):
            raise InvalidArgument(f"{REMOVE}: one argument, the reducer's pattern")
        try:
            query = msgspec.convert(named, Named)
        except msgspec.ValidationError as error:
            raise InvalidArgument(f"{REMOVE}: {error}") from None
        pattern = Pattern.wamp(values[0], query.match)
        id_ = reducer_id(session.realm.name, pattern.text, query.mission, query.durable)
        question = InquiryQuestion(
            session,
            request,
            encoding,
            kind="remove reducer",
            body=id_.to_bytes(8, "big"),
            limit=MOST,
            answer=_removed,
        )
        self._inquiries.ask(question, self._inquiries.all_shards)


def _listed(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001
    """Return all reducers, each with the sums over all shards. more: the list was cut off."""
    by_id = groupby(items, itemgetter(0))
    listed = [_sum([_decode(value) for _, value in of_one]) for _, of_one in by_id]
    return [listed], {"more": True} if more else {}


def _sum(states: list[ReducerState]) -> dict[str, Any]:
    one = states[0]
    return {
        "pattern": one.pattern,
        "match": one.match,
        "mission": one.mission or None,
        "durable": None if one.webhook else one.durable or None,
        "webhook": one.webhook or None,
        "function": one.function or None,
        "instances": max(state.instances for state in states),
        "queued": sum(state.queued for state in states),
        "bytes": sum(state.size for state in states),
        "oldest": round(max(state.oldest for state in states), 3),
        "folded": sum(state.folded for state in states),
        "failed": sum(state.failed for state in states),
        "dropped": sum(state.dropped for state in states),
        "retrying": sum(state.retrying for state in states),
        "next_try": _next_try(states),
        "retried": sum(state.retried for state in states),
        "failure": next((state.failure for state in states if state.failure), None),
    }


def _next_try(states: list[ReducerState]) -> float | None:
    """Return after how many seconds a reducer is asked again that could not reduce an event."""
    times = [state.next_try for state in states if state.retrying]
    return round(min(times), 3) if times else None


def _removed(items: list[Item], _more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001
    if not items:
        raise NoSuchRegistration("there is no such reducer: fox.reducer.list lists all there are")
    return [], {}

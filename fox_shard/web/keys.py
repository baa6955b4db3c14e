"""Keys as resources: `/api/keys/{topic}`, and lists of them.

Owns: which condition a header is, and which value a body is. Never: what conditions mean.

The ETag of a key is its publication id. A body's value becomes arguments as an MQTT payload does:
an array is the list of arguments, any other value the only one.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, final

from msgspec import Raw, Struct
from starlette.requests import Request
from starlette.responses import Response

from fox_shard.client.event import Event
from fox_shard.client.failures import NoAnswer
from fox_shard.web.context import Context, context_of
from fox_shard.web.encoding import Unreadable, as_json
from fox_shard.web.messages import Publication, published
from fox_shard.web.problems import Problem
from fox_shard.web.reading import (
    answered,
    body_of,
    check_json,
    decoded,
    match_of,
    number,
    parameters,
    required,
    value_of,
    visitor_of,
)
from fox_shard.web.sessions import Visitor

AT_ONCE: Final = 1000
"""Keys of a list, if the client does not say how many."""

MOST: Final = 10_000
"""Keys of a list."""

_ETAG: Final = re.compile(r'"([0-9]{1,16})"')


class Key(Struct, frozen=True, omit_defaults=True):
    """A key of a list. removed: why its value is not shown; "": it is."""

    topic: str
    publication: int
    value: Any = None
    removed: str = ""


class Keys(Struct, frozen=True):
    """A list of keys, by topic. more: there are others, which the list has no room for."""

    keys: list[Key]
    more: bool


async def get(request: Request) -> Response:
    """Return the value of a key."""
    parameters(request, ("realm",))
    return await key_at(request, request.path_params["topic"])


async def key_at(request: Request, topic: str) -> Response:
    """Return the value of the key at that topic."""
    context = context_of(request)
    realm = request.query_params.get("realm") or context.limits.realm
    if "*" in (components := topic.split(".")) or components[-1] == "#":
        raise Problem(400, "This is a pattern: GET /api/keys?topic=… lists the keys that match.")
    events: list[Event] = []
    await _show(context, await visitor_of(request, realm), topic, "exact", _first_of(events))
    if not events:
        raise Problem(404, f"There is no key {topic}.")
    (event,) = events
    if event.removed:
        raise Problem(409, f"The key {topic} has a value that cannot be shown in JSON.")
    headers = {"etag": f'"{event.publication}"'}
    if not _names(request.headers.get("if-match", "*"), headers["etag"]):
        raise Problem(412, "The key has another ETag.", headers=headers)
    if _names(request.headers.get("if-none-match", ""), headers["etag"]):
        return Response(status_code=304, headers=headers)
    return answered(value_of(event), headers=headers)


def _names(condition: str, etag: str) -> bool:
    """Whether an ETag is among those of a header (RFC 9110 13.1)."""
    return condition == "*" or etag in (part.strip() for part in condition.split(","))


async def put(request: Request) -> Response:
    """Publish a key, if the condition of the headers holds."""
    context = context_of(request)
    found = parameters(request, ("realm", "retain"))
    check_json(request)
    lifetime = number(found, "retain", 0, 1, (1 << 31) - 1)
    limits = context.limits
    body = await body_of(request, context.bodies, limits.body, limits.body_timeout)
    value: object = decoded(body, Any, limits.containers)
    args: list[Any] = value if isinstance(value, list) else [value]
    if args in ([], [None]):
        raise Problem(400, "This value would erase the key: use DELETE.", pointer="")
    return await _change(request, args, found, {"retain": lifetime or True})


async def delete(request: Request) -> Response:
    """Erase a key, if the condition of the headers holds."""
    return await _change(request, [], parameters(request, ("realm",)), {"retain": True})


async def list_keys(request: Request) -> Response:
    """Return the keys that match; all, if there is no pattern."""
    context = context_of(request)
    found = parameters(request, ("topic", "match", "limit", "realm"))
    # Without any pattern, all keys are meant, as `fox keys` means them.
    topic = required(found, "topic") if "topic" in found or "match" in found else "#"
    match = match_of(found)
    limit = number(found, "limit", AT_ONCE, 1, MOST)
    visitor = await visitor_of(request, found.get("realm") or context.limits.realm)
    found_keys = _List(limit, context.limits.answer)
    await _show(context, visitor, topic, match, found_keys.take)
    keys = [shown for _, shown in sorted(found_keys.keys, key=lambda one: one[0])]
    return answered({"keys": keys, "more": found_keys.more})


async def _change(
    request: Request, args: list[Any], found: dict[str, str], options: dict[str, Any]
) -> Response:
    context = context_of(request)
    visitor = await visitor_of(request, found.get("realm") or context.limits.realm)
    options |= {"exclude_me": False, **_condition(request)}
    topic = request.path_params["topic"]
    publication = await published(context, visitor, topic, args, {}, options)
    # An erased key has no version.
    headers = {"etag": f'"{publication}"'} if args else {}
    return answered(Publication(publication), headers=headers)


def _condition(request: Request) -> dict[str, Any]:
    """Return the option that a precondition (RFC 9110 13.1) is. Raises Problem."""
    matches = request.headers.getlist("if-match")
    others = request.headers.getlist("if-none-match")
    if not (matches or others):
        return {}
    if len(matches) + len(others) > 1:
        raise Problem(400, "Only one of If-Match and If-None-Match can be, once.")
    if others:
        if others != ["*"]:
            raise Problem(400, "If-None-Match must be * here.", parameter="If-None-Match")
        return {"when_id": 0}
    etag = _ETAG.fullmatch(matches[0].strip())
    if etag is None:
        raise Problem(
            400, 'If-Match must be one ETag of this key, such as "123".', parameter="If-Match"
        )
    return {"when_id": int(etag[1])}


async def _show(
    context: Context, visitor: Visitor, topic: str, match: str, take: Callable[[Event], bool]
) -> None:
    """Show the keys that match to `take`, until it returns False."""
    options = {"match": match, "get_retained": True, "snapshot": True}
    try:
        async with (
            asyncio.timeout(context.limits.answer_timeout),
            context.sessions.shared(visitor) as session,
            session.subscribe(topic, options) as snapshot,
        ):
            async for event in snapshot:
                if not take(event):
                    return
    except TimeoutError:
        raise NoAnswer from None


@final
class _List:
    """The keys of a list, as far as there is room. limit: keys. room: bytes."""

    def __init__(self, limit: int, room: int) -> None:
        self._limit = limit
        self._room = room
        self.keys: list[tuple[str, Raw]] = []
        self.more = False

    def take(self, event: Event) -> bool:
        """Add a key; return whether there may be room for another one."""
        shown = _listed(event)
        self._room -= len(memoryview(shown))
        self.more = bool(self.keys) and (len(self.keys) == self._limit or self._room < 0)
        if not self.more:
            self.keys.append((event.topic, shown))
        return not self.more


def _first_of(events: list[Event]) -> Callable[[Event], bool]:
    def take(event: Event) -> bool:
        events.append(event)
        return False

    return take


def _listed(event: Event) -> Raw:
    """Return a key as the list shows it."""
    removed = event.removed
    shown: dict[str, Any] = {"topic": event.topic, "publication": event.publication}
    if not removed:
        try:
            return Raw(as_json({**shown, "value": value_of(event)}))
        except Unreadable:
            removed = "unreadable"
    return Raw(as_json({**shown, "removed": removed}))

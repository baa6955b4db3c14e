"""What the server offers, one operation per path and method.

Owns: the table from which both the routes and their description (OpenAPI) are made. Never: what an
operation does.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from fox_shard.web import (
    aggregates,
    events,
    frames,
    keys,
    messages,
    recent_states,
    status,
    tables,
)


class Parameter(NamedTuple):
    """A parameter of the query (`in_` is `query`), the path or the headers."""

    name: str
    about: str
    kind: str = "string"
    in_: str = "query"
    is_required: bool = False


class Operation(NamedTuple):
    """One operation. body, answer: the types of both, as JSON; None: there is none."""

    method: str
    path: str
    carry_out: Callable[[Request], Awaitable[Response]]
    about: str
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    answer: Any = None
    problems: tuple[int, ...] = ()
    media_type: str = "application/json"


REALM: Final = Parameter(
    "realm", "the realm; without it, the one that the server is configured for"
)
TOPIC: Final = Parameter("topic", "the topic, as WAMP writes it", in_="path", is_required=True)
IF_MATCH: Final = Parameter(
    "If-Match", "the ETag that the key must have: its publication id", in_="header"
)
NONE_YET: Final = Parameter("If-None-Match", "`*`: there must be no key", in_="header")
MATCH: Final = Parameter("match", "`exact` (the default), `prefix` or `wildcard`")
ROW: Final = Parameter(
    "key", "the values of the key, divided by slashes", in_="path", is_required=True
)
TABLE: Final = Parameter("table", "the name of the table", in_="path", is_required=True)

OPERATIONS: Final = (
    Operation(
        "POST",
        "/api/publish",
        messages.publish,
        "Publish an event. The answer comes when every gateway with a subscriber has confirmed it.",
        body=messages.PublishBody,
        answer=messages.Publication,
        problems=(400, 401, 403, 404, 412, 413, 415, 429, 503, 504),
    ),
    Operation(
        "POST",
        "/api/call",
        messages.call,
        "Call a procedure. An error of the callee is status 422.",
        body=messages.CallBody,
        answer=messages.CallResult,
        problems=(400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504),
    ),
    Operation(
        "GET",
        "/api/keys",
        keys.list_keys,
        "List the keys that match, with their values, sorted by topic.",
        (
            Parameter("topic", "the topic or pattern; without it, all keys but the router's own"),
            MATCH,
            Parameter("limit", "keys at most, 1 to 10000; 1000 without it", "integer"),
            REALM,
        ),
        answer=keys.Keys,
        problems=(400, 401, 403, 404, 503, 504),
    ),
    Operation(
        "GET",
        "/api/keys/{topic}",
        keys.get,
        "Return the value of a key. Its ETag is its publication id.",
        (
            TOPIC,
            Parameter("If-Match", "ETags: 412 if it is none of them", in_="header"),
            Parameter("If-None-Match", "ETags: 304 if it is one of them", in_="header"),
            REALM,
        ),
        answer=Any,
        problems=(400, 401, 403, 404, 409, 412, 503, 504),
    ),
    Operation(
        "PUT",
        "/api/keys/{topic}",
        keys.put,
        "Publish a key.",
        (
            TOPIC,
            IF_MATCH,
            NONE_YET,
            Parameter(
                "retain", "the lifetime of the key in seconds; without it, for ever", "integer"
            ),
            REALM,
        ),
        body=Any,
        answer=messages.Publication,
        problems=(400, 401, 403, 404, 412, 413, 415, 429, 503, 504),
    ),
    Operation(
        "DELETE",
        "/api/keys/{topic}",
        keys.delete,
        "Erase a key, if there is one.",
        (TOPIC, IF_MATCH, REALM),
        answer=messages.Publication,
        problems=(400, 401, 403, 404, 412, 503, 504),
    ),
    Operation(
        "GET",
        "/api/tables",
        tables.list_tables,
        "List the tables of the realm.",
        (REALM,),
        answer=dict[str, Any],
        problems=(400, 401, 403, 404, 503, 504),
    ),
    Operation(
        "GET",
        "/api/tables/{table}",
        tables.rows,
        "Return rows of a table in the order of their topics, up to 1000 at a time.",
        (
            TABLE,
            Parameter("filter", "a JSON object that rows must meet"),
            Parameter("limit", "rows at most, 1 to 1000", "integer"),
            Parameter("after", "the `after` of the last page, as JSON"),
            REALM,
        ),
        answer=tables.Rows,
        problems=(400, 401, 403, 404, 503, 504),
    ),
    Operation(
        "GET",
        "/api/tables/{table}/{key}",
        tables.row,
        "Return one row. Its ETag is its publication id.",
        (TABLE, ROW, REALM),
        answer=Any,
        problems=(400, 401, 403, 404, 503, 504),
    ),
    Operation(
        "GET",
        "/api/aggregates/{table}",
        aggregates.verify,
        "Compute an aggregate anew from all rows that contribute, and compare.",
        (TABLE, REALM),
        answer=aggregates.Verdict,
        problems=(400, 401, 403, 404, 503, 504),
    ),
    Operation(
        "GET",
        "/api/events",
        events.events,
        "Read events as server-sent events, from now on or from where a reader has left off.",
        (
            Parameter("topic", "the topic or pattern", is_required=True),
            MATCH,
            Parameter("after", "`0`: everything that is recorded; or the id of an event"),
            Parameter("Last-Event-ID", "the same as `after`; browsers send it", in_="header"),
            Parameter("retained", "`true`: keys and their changes instead of events", "boolean"),
            Parameter("filter", "a JSON object that events must meet"),
            REALM,
        ),
        problems=(400, 401, 403, 404, 429, 503),
        media_type="text/event-stream",
    ),
    Operation(
        "GET",
        "/api/status",
        status.status,
        "Return how all processes are, and what they have counted. For those who may call "
        "`fox.status`.",
        (REALM,),
        answer=status.Status,
        problems=(400, 401, 403, 404, 503, 504),
    ),
    Operation(
        "GET",
        "/api/status/recent",
        recent_states.recent,
        "Return how all processes were in the last minutes, every ten seconds, without gauges. For "
        "those who may call `fox.status`.",
        (
            Parameter("after", "later states only: whole seconds since 1970", "integer"),
            REALM,
        ),
        answer=recent_states.Recent,
        problems=(400, 401, 403, 404, 503, 504),
    ),
    Operation(
        "GET",
        "/api/frames",
        frames.look,
        "Look for a moment at the frames that the processes send each other, without payloads. For "
        "those who may call `fox.status` in the server's own realm.",
        (REALM,),
        answer=frames.FrameLook,
        problems=(400, 401, 403, 404, 503, 504),
    ),
)

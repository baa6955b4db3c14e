"""Errors as problem details (RFC 9457).

Owns: the HTTP status of each failure, and the document that says what was wrong. Never: tracebacks,
which are nobody's business outside.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fox_shard.client.failures import (
    ConnectionLost,
    Failure,
    NoAnswer,
    Refused,
    TooSlow,
    Unreachable,
)
from fox_shard.web.encoding import Unreadable, as_json
from fox_shard.web.sessions import LoginRefused, MessageTooLong, TooManySessions

MEDIA_TYPE: Final = "application/problem+json"

AGAIN: Final = {"retry-after": "1"}
"""Of answers to requests that may succeed a moment later."""

CHALLENGE: Final = {"www-authenticate": 'Bearer realm="fox-shard", Basic realm="fox-shard"'}

STATUS: Final = {
    "wamp.error.invalid_uri": 400,
    "wamp.error.authentication_failed": 401,
    "wamp.error.no_matching_auth_method": 401,
    "wamp.error.not_authorized": 403,
    "wamp.error.authorization_failed": 403,
    "wamp.error.option_not_allowed": 403,
    "wamp.error.no_such_realm": 404,
    "wamp.error.no_such_procedure": 404,
    "fox.error.history_gap": 410,
    "fox.error.condition_failed": 412,
    "fox.error.limit_exceeded": 429,
    "wamp.error.runtime_error": 500,
    "wamp.error.canceled": 503,
    "wamp.error.no_available_callee": 503,
    "wamp.error.unavailable": 503,
    "fox.error.queue_full": 503,
    "fox.error.unavailable_store": 503,
    "wamp.error.timeout": 504,
}
"""Error URI → status. Other errors of the router are 400, those of callees 422."""

_OF_ROUTER: Final = ("wamp.", "fox.")


class Problem(Exception):
    """A request that is answered with an error. The message is a sentence for the client.

    pointer: a JSON pointer (RFC 6901) to the part of the body that is wrong; "": all of it;
    None: no part is. parameter: the name of the query parameter or header that is wrong. more:
    further members.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        pointer: str | None = None,
        parameter: str = "",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})
        if pointer is not None:
            self.more["errors"] = [{"detail": detail, "pointer": f"#{pointer}"}]
        elif parameter:
            self.more["errors"] = [{"detail": detail, "parameter": parameter}]

    def response(self) -> Response:
        """Return the answer."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        try:
            content = as_json(document)
        except Unreadable:
            content = as_json(document | {"args": [], "kwargs": {}})
        return Response(content, self.status, self.headers, MEDIA_TYPE)


def of_refusal(error: Refused) -> Problem:
    """Return the problem that an ERROR is for whoever sent the request."""
    status = STATUS.get(error.uri, 400 if error.uri.startswith(_OF_ROUTER) else 422)
    more = {"error": error.uri, "args": list(error.arguments), "kwargs": dict(error.kwargs)}
    headers = dict(AGAIN) if status in (429, 503) else {}
    publication = error.kwargs.get("publication")
    if status == 412 and isinstance(publication, int) and publication:
        headers["etag"] = f'"{publication}"'
    return Problem(status, error.sentence, headers=headers, more=more)


def of_login(error: LoginRefused) -> Problem:
    """Return the problem of a visitor that is not let in."""
    status = STATUS.get(error.uri, 401)
    headers = {401: CHALLENGE, 503: AGAIN}.get(status, {})
    return Problem(status, str(error), headers=headers, more={"error": error.uri})


_OF_CONNECTIONS: Final = (
    (NoAnswer, 504, "The router has not answered in time: it may have done it, or not."),
    (ConnectionLost, 503, "The router's connection was lost: it may have done it, or not."),
    (Unreachable, 503, "The router cannot be reached at the moment."),
    (TooSlow, 503, "Too many bytes wait for the other requests of this user."),
    (MessageTooLong, 413, ""),
    (Failure, 400, ""),
)
"""What a client is told of failures whose own sentences are for whoever runs the server.

Other failures say what cannot be sent, such as an integer with more than 64 bits.
"""


def of_failure(error: Exception, root: str = "") -> Problem:
    """Return the problem that a failure is; nothing else than 500 of what nobody expected.

    root: see `root_of`.
    """
    match error:
        case Problem():
            return error
        case LoginRefused():
            return of_login(error)
        case Refused():
            return of_refusal(error)
        case TooManySessions():
            return Problem(503, str(error), headers=AGAIN)
        case HTTPException():
            headers = error.headers or {}
            sentence = _sentence(error.status_code, f"GET {root}/api/docs")
            return Problem(error.status_code, sentence, headers=headers)
    for kind, status, sentence in _OF_CONNECTIONS:
        if isinstance(error, kind):
            headers = AGAIN if status == 503 else {}
            return Problem(status, sentence or str(error), headers=headers)
    return Problem(500, "The server has made a mistake, which is in its log.")


def _sentence(status: int, docs: str) -> str:
    match status:
        case 404:
            return f"There is nothing at this path: {docs} says what there is."
        case 405:
            return f"This path does not take this method: {docs} says which it takes."
        case _:
            return HTTPStatus(status).description or HTTPStatus(status).phrase


def root_of(request: Request) -> str:
    """Return the path at which a web application has the server, without a slash at its end."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


async def answer(request: Request, error: Exception) -> Response:
    """Answer a request that has failed."""
    return of_failure(error, root_of(request)).response()

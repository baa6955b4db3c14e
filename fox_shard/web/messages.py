"""Publishing and calling: `POST /api/publish` and `POST /api/call`, with Crossbar's bodies.

Owns: the two bodies, and which options need a session of one's own. Never: what options mean.
"""

import asyncio
from typing import Any, Final, TypeVar, final

from msgspec import Struct, field
from starlette.requests import Request
from starlette.responses import Response

from fox_shard.client.failures import NoAnswer
from fox_shard.web.bodies import address_of
from fox_shard.web.context import Context, context_of
from fox_shard.web.problems import Problem
from fox_shard.web.reading import answered, body_of, check_json, decoded, visitor_of
from fox_shard.web.sessions import Visitor

OF_A_SESSION: Final = ("watch", "weak", "will", "progress", "receive_progress")
"""Options of PUBLISH and CALL that mean something only while the session of the client lasts."""


@final
class PublishBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/publish`. options: of PUBLISH. realm: "": the configured one."""

    topic: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    options: dict[str, Any] = field(default_factory=dict)
    realm: str = ""


@final
class CallBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/call`. options: of CALL. realm: "": the configured one."""

    procedure: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    options: dict[str, Any] = field(default_factory=dict)
    realm: str = ""


@final
class Publication(Struct, frozen=True):
    """The answer to a publish. id: the publication id."""

    id: int


@final
class CallResult(Struct, frozen=True):
    """The answer to a call: the arguments of its result."""

    args: list[Any]
    kwargs: dict[str, Any]


B = TypeVar("B", PublishBody, CallBody)


async def publish(request: Request) -> Response:
    """Publish an event, with acknowledgement."""
    context = context_of(request)
    body, visitor = await _posted(request, PublishBody)
    check_options(body.options)
    # A request has no session that could be excluded.
    options = {"exclude_me": False, **body.options}
    publication = await published(context, visitor, body.topic, body.args, body.kwargs, options)
    return answered(Publication(publication))


async def call(request: Request) -> Response:
    """Call a procedure. If the client hangs up, the call is canceled."""
    context = context_of(request)
    body, visitor = await _posted(request, CallBody)
    check_options(body.options)
    async with context.sessions.shared(visitor) as session:
        calling = asyncio.create_task(
            session.call(body.procedure, body.args, body.kwargs, body.options)
        )
        leaving = asyncio.create_task(_until_disconnected(request))
        try:
            await asyncio.wait(
                (calling, leaving),
                timeout=context.limits.answer_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not calling.done() and leaving.done():
                return Response(status_code=499)  # nobody reads it
            if not calling.done():
                raise NoAnswer
            args, kwargs = calling.result()
        finally:
            calling.cancel()
            leaving.cancel()
    return answered(CallResult(args, kwargs))


async def published(
    context: Context,
    visitor: Visitor,
    topic: str,
    args: list[Any],
    kwargs: dict[str, Any],
    options: dict[str, Any],
) -> int:
    """Publish by a session of the visitor, and return the publication id."""
    async with context.sessions.shared(visitor) as session:
        try:
            async with asyncio.timeout(context.limits.answer_timeout):
                return await session.publish(topic, args, kwargs, options)
        except TimeoutError:
            raise NoAnswer from None


def check_options(options: dict[str, Any]) -> None:
    """Raise Problem if an option needs a session that lasts longer than a request."""
    for name in OF_A_SESSION:
        if options.get(name):
            raise Problem(
                400,
                f"The option {name} needs a session of your own: use WAMP.",
                pointer=f"/options/{name}",
            )


async def _posted(request: Request, kind: type[B]) -> tuple[B, Visitor]:
    """Return the body, and who has signed it, or else who sends it."""
    check_json(request)
    context = context_of(request)
    limits = context.limits
    data = await body_of(request, context.bodies, limits.body, limits.body_timeout)
    key = context.signatures.signer(request.query_params, data, context.wall())
    body = decoded(data, kind, limits.containers)
    if key is not None:
        realm = body.realm or key.realm
        return body, Visitor(realm, address_of(request), key.user, key.password)
    visitor = await visitor_of(request, body.realm or limits.realm)
    return body, visitor


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""What all requests need.

Owns: the settings, and the sessions. Never: a request.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, final

from msgspec import Struct
from starlette.requests import Request
from starlette.types import Scope

from fox_shard.gateway.clients.web_user import WebUser
from fox_shard.web.bodies import Bodies
from fox_shard.web.room import Room
from fox_shard.web.sessions import Sessions
from fox_shard.web.signatures import Signatures

UserOf: TypeAlias = Callable[[Scope], Awaitable[WebUser | None]]
"""Returns the user of a request; None: nobody has logged in. Raises Problem."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one request may have.

    realm: of requests that name none. body: bytes; bodies: of all bodies under way; messages: of
    all long messages from and to gateways. body_timeout:
    seconds for the body. containers: lists and objects in it. answer: bytes of a list.
    answer_timeout: seconds for the router's answer. streams: event streams at a time;
    streams_per_address: of one address. slow_timeout: seconds in which a reader of events has to
    take one. origins: of web pages that may send requests, besides those of this server. is_local:
    whether only this machine reaches the server; None: each request's scope says to which address
    it came.
    """

    realm: str = "realm1"
    body: int = 1 << 24
    bodies: int = 1 << 28
    messages: int = 1 << 28
    body_timeout: float = 30.0
    containers: int = 100_000
    answer: int = 1 << 22
    answer_timeout: float = 30.0
    streams: int = 1000
    streams_per_address: int = 100
    slow_timeout: float = 30.0
    origins: tuple[str, ...] = ()
    is_local: bool | None = True


@final
class Context:
    """The sessions, the limits, the time (seconds since 1970), and the keys of signed requests."""

    def __init__(
        self,
        sessions: Sessions,
        limits: Limits,
        wall: Callable[[], float],
        signatures: Signatures,
        user_of: UserOf | None = None,
    ) -> None:
        """user_of: tells who the web application has authenticated; None: nobody does."""
        self.sessions = sessions
        self.limits = limits
        self.wall = wall
        self.signatures = signatures
        self.user_of = user_of
        self.bodies = Bodies(limits.bodies)
        self.room = Room(limits.messages)


def context_of(request: Request) -> Context:
    """Return the context of the application that has the request."""
    context: Context = request.app.state.context
    return context

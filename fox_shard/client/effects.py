"""What the core of a client wants done, and what it tells (see `core`).

Owns: the effects. Never: who performs them.

A ticket is a number that whoever uses the core gives to a request; no two requests have the same.
"""

from typing import Any, TypeAlias

from msgspec import Struct

from fox_shard.client.event import Event
from fox_shard.client.failures import Failure
from fox_shard.client.login import Attempt


class Send(Struct, frozen=True):
    """Send a message. ticket: to be told when it is sent, if anybody waits for that; else 0.

    is_goodbye: nobody misses it if the router has gone meanwhile.
    """

    data: bytes
    ticket: int = 0
    is_goodbye: bool = False


class Hangup(Struct, frozen=True):
    """Close the connection: the session is over, or never began. why: a sentence."""

    why: str


class Prove(Struct, frozen=True):
    """Have the attempt answer the challenge, not in the event loop; then call `ClientCore.proves`.

    method, extra: of CHALLENGE.
    """

    attempt: Attempt
    method: str
    extra: dict[str, Any]


class Joined(Struct, frozen=True):
    """A session has begun. details: of WELCOME."""

    session: int
    details: dict[str, Any]


class Lost(Struct, frozen=True):
    """The session is over. why: a sentence."""

    why: str


class Answered(Struct, frozen=True):
    """A request is answered, with the fields of the answer behind its request id."""

    ticket: int
    fields: list[Any]


class Failed(Struct, frozen=True):
    """A request has failed."""

    ticket: int
    error: Failure


class Progressed(Struct, frozen=True):
    """A call has a progressive result. size: of its message, in bytes."""

    ticket: int
    args: list[Any]
    kwargs: dict[str, Any]
    size: int


class Arrived(Struct, frozen=True):
    """A subscription has an event. size: of its message, in bytes."""

    ticket: int
    event: Event
    size: int


class Over(Struct, frozen=True):
    """A subscription or registration is over. error: why; None: a snapshot has come to its end."""

    ticket: int
    error: Failure | None


class Invoked(Struct, frozen=True):
    """A registered function is to be called. request: for the answer. ticket: of REGISTER."""

    ticket: int
    request: int
    details: dict[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]


class Interrupted(Struct, frozen=True):
    """Nobody waits for the answer to that invocation any more."""

    request: int


Effect: TypeAlias = (
    Send
    | Hangup
    | Prove
    | Joined
    | Lost
    | Answered
    | Failed
    | Progressed
    | Arrived
    | Over
    | Invoked
    | Interrupted
)

"""What can go wrong between a client and its router.

Owns: the exceptions of both clients, the blocking one and that of asyncio. Never: when they happen.
"""

from collections.abc import Sequence
from typing import Any


class Failure(Exception):
    """A failure of the session; the message is a sentence for the user."""


class Unreachable(Failure):
    """The session could not be opened."""


class CannotConnect(Unreachable):
    """There is no router at the address."""


class ConnectionLost(Failure):
    """The session has ended, although this client did not end it.

    What had been asked for by then may have happened, or not.
    """


class NoAnswer(Failure):
    """The router did not answer in time, but the connection is not lost."""


class Refused(Failure):
    """The answer is ERROR. uri, args, kwargs: the error's; the message: its first argument."""

    def __init__(
        self, uri: str, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> None:
        super().__init__(*args)
        self.uri = uri
        self.kwargs: dict[str, Any] = kwargs or {}

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.uri


class CallError(Refused):
    """A call is answered with an error. A procedure that raises one answers so.

    `raise CallError("com.example.stale", ["The lock is over."], {"holder": 7})`
    """


class LockLost(Failure):
    """The lock was lost while it was needed: somebody else may have it by now."""


class TooSlow(Failure):
    """The program has read a subscription so slowly that events had to be given up."""

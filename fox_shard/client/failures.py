"""What can go wrong between a client and its router.

Owns: the exceptions of both clients, the blocking one and that of asyncio. Never: when they happen.
"""

from collections.abc import Mapping, Sequence
from typing import Any


class Failure(Exception):
    """A failure of the session; the message is a sentence for the user."""

    @property
    def sentence(self) -> str:
        """The sentence alone."""
        return str(self)


class Unreachable(Failure):
    """The session could not be opened."""


class CannotConnect(Unreachable):
    """There is no router at the address."""


class LoginFailed(Unreachable):
    """The client cannot prove who it is, or the router has not proved itself."""


class ConnectionLost(Failure):
    """The session has ended, although this client did not end it.

    What had been asked for by then may have happened, or not.
    """


class NoAnswer(Failure):
    """The router did not answer in time, but the connection is not lost."""


class Refused(Failure):
    """A request is answered with an error; also raised by a program's function to say one.

    uri: the error's. arguments, kwargs: those of the error; the first one is usually a sentence.
    """

    def __init__(
        self, uri: str, arguments: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{uri}: {arguments[0]}" if arguments else uri)
        self.uri = uri
        self.arguments = arguments
        self.kwargs: Mapping[str, Any] = kwargs or {}

    @property
    def sentence(self) -> str:
        """The first argument, or else the URI."""
        return str(self.arguments[0]) if self.arguments else self.uri


class LockLost(Failure):
    """The lock was lost while it was needed: somebody else may have it by now."""


class TooSlow(Failure):
    """The program has read a subscription so slowly that events had to be given up."""

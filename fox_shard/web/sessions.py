"""The sessions by which requests are carried out.

Owns: what is asked of a session, and of whoever has the sessions. Never: where they come from.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct

from fox_shard.client.event import Event
from fox_shard.client.failures import Failure


class Visitor(Struct, frozen=True):
    """Who sends a request.

    address: of the client. name, password: of a user, if `name` is not empty. token: a JSON Web
    Token, if it is not empty. Neither: the client does not say who it is. role: of the user `name`,
    whom a web application has authenticated, so that there is no password; "": it has not. expires:
    when a session of such a user ends, in seconds since 1970; 0: with the connection.
    """

    realm: str
    address: str
    name: str = ""
    password: str = ""
    token: str = ""
    role: str = ""
    expires: float = 0.0

    def __repr__(self) -> str:
        """Show neither password nor token, which might get into a log."""
        return f"Visitor({self.realm!r}, {self.address!r}, {self.name!r})"


class LoginRefused(Failure):
    """The router does not let the visitor in. uri: the reason of ABORT."""

    def __init__(self, uri: str, sentence: str) -> None:
        super().__init__(sentence)
        self.uri = uri


class MessageTooLong(Failure):
    """What is asked for would be a longer message than the router takes."""


class TooManySessions(Failure):
    """There is no room for one more session."""


class Session(Protocol):
    """A joined session. All methods raise the failures of `fox_shard.client.failures`."""

    async def publish(
        self, topic: str, args: list[Any], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> int:
        """Publish with acknowledgement, and return the publication id."""

    async def call(
        self, procedure: str, args: list[Any], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Call; return the arguments and keyword arguments. Canceling it cancels the call."""

    def subscribe(
        self, topic: str, options: dict[str, Any]
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Subscribe, and unsubscribe at the end.

        The events end with a snapshot; a subscription that is revoked raises a failure.
        """


class Sessions(Protocol):
    """Whoever has the sessions. Both raise LoginRefused, TooManySessions and Unreachable."""

    def shared(self, visitor: Visitor) -> AbstractAsyncContextManager[Session]:
        """Lend a session of the visitor, which other requests of the visitor use as well."""

    def own(self, visitor: Visitor) -> AbstractAsyncContextManager[Session]:
        """Open a session for this request alone, which ends with it."""

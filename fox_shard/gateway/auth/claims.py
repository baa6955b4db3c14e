"""What a client says of itself, and what is found: claim, attempt, result.

Owns: the words in which protocols and authentication speak with each other. Never: deciding.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from fox_shard.errors import Refusal
from fox_shard.gateway.clients.access import Access

ANONYMOUS: Final = "anonymous"
PROVIDER: Final = "static"


class Claim(Struct, frozen=True, kw_only=True):
    """Who a client says it is. address: without the port. extra: HELLO.Details.authextra.

    bearer: the token that came with the request for a WebSocket; "": none. wall: the time in
    seconds since 1970, for the challenge of WAMP-CRA. access: how it came, and with which
    certificate; None in the simulator. peer, transport: its address with the port, and
    how it is connected, as an authenticator is told.
    """

    realm: str
    methods: Sequence[str]
    name: str | None
    address: str
    extra: Mapping[str, Any] = {}
    bearer: str = ""
    wall: float = 0.0
    access: Access | None = None
    peer: str = ""
    transport: str = ""

    def description(self, method: str) -> str:
        """The claim in words, for the log."""
        whose = f" as {self.name[:64]!r}" if self.name is not None else ""
        return f"{method}{whose} in {self.realm}"


class Authenticated(Struct, frozen=True):
    """Who a client is. extra: the `authextra` of WELCOME. provider: who says so.

    expires: when the session ends, in seconds since 1970; None: never. realm: the one that it
    joins; "": the one that it has named.
    """

    authid: str
    authrole: str
    method: str = ANONYMOUS
    extra: dict[str, Any] = {}
    provider: str = PROVIDER
    expires: float | None = None
    realm: str = ""


Outcome = Callable[[Authenticated | Refusal], None]
Prepared = Callable[[Authenticated | Refusal | None], None]


class Attempt(Protocol):
    """A client that is asked to prove who it is: the challenge, then one answer.

    method, extra: of CHALLENGE. session: the id that the session is to have, 0: any. They count
    when the challenge is made.
    """

    @property
    def method(self) -> str: ...

    @property
    def extra(self) -> dict[str, Any]: ...

    @property
    def session(self) -> int: ...

    def prepare(self, done: Prepared) -> None:
        """Make the challenge, and call `done` with None, now or later.

        If the client has nothing to prove, or is refused already, `done` gets what came of it.
        """

    def answer(self, signature: str, extra: dict[str, Any], done: Outcome) -> None:
        """Check the client's only answer, and call `done` with the result, now or later."""

    def cancel(self) -> None:
        """Note that the client has left, so that nothing more need be done for it."""

    @property
    def description(self) -> str:
        """The attempt in words, for the log."""

"""How a client of ours proves who it is.

Owns: what HELLO says of it, the answer to CHALLENGE, and whether WELCOME is believed. Never: where
a password or key is from; the arithmetic of passwords (see `password`).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, Protocol, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fox_shard.client.failures import LoginFailed

TICKET: Final = "ticket"
ANONYMOUS: Final = "anonymous"


class Answer(NamedTuple):
    """The answer to a challenge: [AUTHENTICATE, signature, extra]."""

    signature: str
    extra: Mapping[str, Any]


class Attempt(Protocol):
    """One attempt to log in, on one connection.

    details: for HELLO. methods: those whose challenges it answers.
    """

    @property
    def details(self) -> Mapping[str, Any]: ...

    @property
    def methods(self) -> Collection[str]: ...

    def is_quick(self, method: str) -> bool:
        """Whether `answer` takes hardly any time."""

    def answer(self, method: str, extra: Mapping[str, Any]) -> Answer | Awaitable[Answer]:
        """Return the answer to a challenge. Raises LoginFailed. May be called in a thread.

        extra: CHALLENGE.Extra, as the router has sent it. An awaitable belongs to the event loop.
        """

    def check(self, welcome: Mapping[str, Any]) -> None:
        """Raise LoginFailed unless the router has proved itself, if it had to.

        welcome: WELCOME.Details.
        """


class Login(Protocol):
    """One way to log in, or several of which the router chooses one."""

    def begin(self) -> Attempt:
        """Return what logs in on a new connection."""


@final
class _Plain:
    """An `Attempt` by one method, in which the router proves nothing."""

    def __init__(
        self,
        method: str,
        details: Mapping[str, Any],
        sign: Callable[[Mapping[str, Any]], Answer | Awaitable[Answer]],
        *,
        quick: bool = True,
    ) -> None:
        self.details = details
        self.methods = (method,)
        self._sign = sign
        self._quick = quick

    def is_quick(self, method: str) -> bool:
        return self._quick

    def answer(self, method: str, extra: Mapping[str, Any]) -> Answer | Awaitable[Answer]:
        return self._sign(extra)

    def check(self, welcome: Mapping[str, Any]) -> None:
        pass


@final
class Ticket:
    """The name and the password of a user, which is sent as it is: whoever listens has it."""

    def __init__(self, name: str, password: str) -> None:
        # Without users, the server lets in whoever is content to be anonymous.
        methods = [TICKET, ANONYMOUS]
        details = {"authmethods": methods, "authid": name}
        self._attempt = _Plain(TICKET, details, lambda extra: Answer(password, {}))

    def begin(self) -> Attempt:
        """Return the attempt, which is the same each time."""
        return self._attempt


Fetch = Callable[[], "str | Awaitable[str]"]
"""Returns a token, fresh enough for a new session."""


@final
class Token:
    """A JSON Web Token, or another ticket, that says by itself whose it is.

    It is sent as it is, so the connection should be one with TLS. A token that expires should be
    given as a function, which is called for each new session: with asyncio it may be a coroutine
    function, and any other one runs in a thread. What it raises is told as a LoginFailed.
    """

    def __init__(self, token: str | Fetch, name: str | None = None) -> None:
        """name: the authid, for tickets that do not say whose they are."""
        self._token = token
        # The method must not fall back to "anonymous": a token is meant to be somebody's.
        self._details: dict[str, Any] = {"authmethods": [TICKET]}
        if name is not None:
            self._details["authid"] = name

    def begin(self) -> Attempt:
        """Return an attempt, which asks for the token when the router does."""
        return _Plain(TICKET, self._details, self._answer, quick=isinstance(self._token, str))

    def _answer(self, extra: Mapping[str, Any]) -> Answer | Awaitable[Answer]:
        token = self._token
        if isinstance(token, str):
            return Answer(token, {})
        try:
            found = token()
        except Exception as error:
            raise _no_token(error) from error
        return Answer(found, {}) if isinstance(found, str) else _awaited(found)


async def _awaited(found: Awaitable[str]) -> Answer:
    try:
        return Answer(await found, {})
    except Exception as error:
        raise _no_token(error) from error


def _no_token(error: Exception) -> LoginFailed:
    return LoginFailed(f"There is no token: {type(error).__name__}: {error}")


@final
class Certificate:
    """The certificate that the TLS connection has shown, whose user is logged in."""

    method: Final = "tls"

    def begin(self) -> Attempt:
        """Return an attempt that answers no challenge: there is none."""
        details = {"authmethods": [self.method, ANONYMOUS]}
        return _Plain(self.method, details, lambda extra: Answer("", {}))


@final
class Key:
    """The name and the private key of a user. seed: 32 bytes."""

    method: Final = "cryptosign"

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        details: dict[str, Any] = {
            "authmethods": [self.method, ANONYMOUS],
            "authid": name,
            "authextra": {"pubkey": public_key(seed)},
        }
        self._attempt = _Plain(self.method, details, self._signed)

    def begin(self) -> Attempt:
        """Return the attempt, which is the same each time."""
        return self._attempt

    def _signed(self, extra: Mapping[str, Any]) -> Answer:
        """Return the signature of the challenge, and behind it the challenge."""
        challenge = str(extra["challenge"])
        return Answer(self._key.sign(bytes.fromhex(challenge)).hex() + challenge, {})


def public_key(seed: bytes) -> str:
    """Return the public key of a private one, in hexadecimal."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()

"""What one gateway knows of its users, and how often its clients have failed to be one.

Owns: all users, those of the file and those in keys; whom tokens name; failures; random numbers of
challenges. Never: which method a client may use (see `login`), attempts (see `static`, `dynamic`),
WAMP's or MQTT's messages, sessions.
"""

from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol, final

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.random_source import RandomSource
from fox_shard.config import Auth
from fox_shard.gateway.auth.claims import ANONYMOUS, PROVIDER, Attempt, Authenticated, Claim
from fox_shard.gateway.auth.failures import FailureLimit
from fox_shard.gateway.auth.hashing import Hashing
from fox_shard.gateway.auth.methods import TICKET
from fox_shard.gateway.auth.refusals import AuthenticationFailed, KeysNotRead, TooManyFailures
from fox_shard.gateway.auth.tokens import JWT, InvalidToken, KeysMissing, Tokens, is_token
from fox_shard.gateway.auth.user_keys import UserKeys
from fox_shard.users.user import User, Users

NO_USERS: Final = Users(())


class Awaited(Protocol):
    """The clients that wait for the users of their realms (see `awaited_users`)."""

    def waits(self, realm: str) -> bool:
        """Whether a client of the realm has to wait."""

    def attempt(self, claim: Claim) -> Attempt:
        """Return the attempt of a client that has to wait."""


class Asked(Protocol):
    """The authenticators (see `dynamic`)."""

    def decides(self, method: str, realm: str) -> bool:
        """Whether the authenticator of the realm, if there is one, is asked for the method."""

    def asks(self, method: str, claim: Claim, users: Users) -> bool:
        """Whether the authenticator is asked for that client; users of the file go first."""

    def begin(self, method: str, claim: Claim) -> Attempt:
        """Return the attempt of a client for which the authenticator is asked."""


@final
class Authentication:
    """The users of one gateway, and what its clients may try."""

    def __init__(
        self,
        settings: Auth,
        anonymous: Collection[str],
        limit_counts: LimitCounts,
        rng: RandomSource,
        clock: Callable[[], float],
        user_keys: UserKeys | None = None,
    ) -> None:
        """anonymous: the realms that anonymous clients may join although there are users.

        user_keys: the users that are kept in keys.

        rng: for nonces. clock: the time in monotonic seconds.
        """
        self.hashing = Hashing(settings.max_waiting)
        self.limit_counts = limit_counts
        # Those of the file; None: there is no file.
        self.users: Users | None = None
        self._user_keys = user_keys
        # Realm -> what it believes of tokens. Where there is any, there are users, perhaps none.
        self.tokens: Mapping[str, Tokens] = {}
        self.authenticators: Asked | None = None
        self.awaited: Awaited | None = None
        # Of clients that name no realm (see `assigned_realm`); "": they must name one.
        self.assigned_realm = ""
        # From which salts and profiles of users that do not exist are made: the same at all
        # gateways. If it changed with the users, whoever looks twice would see who is not there.
        self.secret = b""
        # Counted since the last report.
        self.failures = 0
        self._anonymous = frozenset(anonymous)
        self._failure_limit = FailureLimit(settings.max_failures)
        # Called with the network of a client that has failed.
        self.tell_others: Callable[[str], None] = lambda network: None
        self._rng = rng
        self._clock = clock

    def users_of(self, realm: str) -> Users | None:
        """Return all users, with those in keys if the realm has such; None: all are anonymous."""
        keys = self._user_keys
        if keys is None or realm not in keys.realms:
            return self.users
        return (self.users or NO_USERS).before(keys.users)

    def dummy(self, realm: str) -> str:
        """Return the verifier of no password."""
        users = self.users_of(realm)
        assert users is not None
        return users.dummy

    def lets_in(
        self, realm: str, authid: str, authrole: str, method: str, provider: str = PROVIDER
    ) -> bool:
        """Whether a session of that identity may go on, with the users that there are now.

        Sessions that an authenticator has let in stay: it cannot take back what it has said.
        """
        if provider != PROVIDER:
            return True
        users = self.users_of(realm)
        if method == ANONYMOUS:
            # The authid of a MQTT client was its client id as long as there were no users.
            is_nobodys = authid == ANONYMOUS or users is None
            return is_nobodys and self.is_anonymous_possible(realm)
        user = users.find(realm, authid) if users is not None else None
        return user is not None and user.role == authrole

    def knows(self, user: User) -> bool:
        """Whether the user is one of those that there are now, in the same role."""
        return self.lets_in(user.realm, user.name, user.role, "")

    def is_anonymous_possible(self, realm: str) -> bool:
        """Whether anonymous clients may join the realm, with the users that there are now."""
        return self.users_of(realm) is None or realm in self._anonymous

    def is_for_tokens(self, realm: str, method: str, signature: str) -> bool:
        """Return whether an answer is to be taken for a token, right or wrong."""
        return method == JWT or (method == TICKET and realm in self.tokens and is_token(signature))

    def bearer(self, claim: Claim, method: str, token: str) -> Authenticated:
        """Return whom the token names. Raises AuthenticationFailed, KeysNotRead."""
        try:
            bearer = self.tokens[claim.realm].verify(token, claim.name)
        except KeysMissing as error:
            raise KeysNotRead("the keys of tokens have not been read yet: try later") from error
        except InvalidToken as error:
            self.failed(claim.address)
            raise AuthenticationFailed(str(error)) from error
        return Authenticated(
            bearer.authid, bearer.authrole, method, provider=JWT, expires=bearer.expires
        )

    def check_failures(self, address: str) -> None:
        """Raise TooManyFailures if clients of the address may not try for now."""
        if not self._failure_limit.allows(address, self._clock()):
            self.limit_counts.add("max_failures")
            raise TooManyFailures("too many attempts from this address have failed: try later")

    def failed(self, address: str) -> None:
        """Count a failure, and let the other gateways count it."""
        self.failures += 1
        self.tell_others(self._failure_limit.failed(address, self._clock()))

    def failed_elsewhere(self, network: str) -> None:
        """Count a failure at another gateway."""
        self._failure_limit.failed_elsewhere(network, self._clock())

    def random(self, end: int) -> int:
        """Return a random number below `end`."""
        return self._rng.randrange(0, end)

    def session_id(self) -> int:
        """Return an id for a session that is to be."""
        return self._rng.randrange(1, 1 << 53)

    def challenge(self) -> bytes:
        """Return the random number that a cryptosign client signs."""
        return self.random(1 << 256).to_bytes(32, "big")

    def who(self, claim: Claim, session: int, provider: str) -> dict[str, Any]:
        """Return what the challenge of WAMP-CRA says of the session that is to be."""
        time = datetime.fromtimestamp(claim.wall, UTC)
        return {
            "authid": claim.name,
            "authrole": "",  # Nobody learns a user's role before the proof.
            "authmethod": "wampcra",
            "authprovider": provider,
            "nonce": self.nonce(),
            "timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "session": session,
        }

    def nonce(self) -> str:
        """Return 128 random bits, in base64."""
        return b64encode(self._rng.randrange(0, 1 << 128).to_bytes(16, "big")).decode()

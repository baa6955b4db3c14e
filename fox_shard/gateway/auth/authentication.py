"""Who a client is: the methods by which it may prove that, and what comes of it.

Owns: which method is chosen, what is the same for all failures, the users of one gateway. Never:
WAMP's or MQTT's messages, sessions, the answers' arithmetic (see `proofs`).

Whether there is a user of that name shows neither in the message, nor in the challenge, nor in the
time that the answer takes. A client offers methods, and the first possible one is taken.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol, final

from msgspec import Struct

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.random_source import RandomSource
from fox_shard.config import Auth
from fox_shard.errors import Refusal
from fox_shard.gateway.auth.certificates import TLS, certified_user, channel_id
from fox_shard.gateway.auth.failures import FailureLimit
from fox_shard.gateway.auth.hashing import Hashing, Job
from fox_shard.gateway.auth.proofs import CryptosignProof, Proof, ScramProof, WampCraProof
from fox_shard.gateway.auth.tokens import JWT, InvalidToken, KeysMissing, Tokens, is_token
from fox_shard.gateway.auth.user_keys import UserKeys
from fox_shard.gateway.clients.access import Access
from fox_shard.users.passwords import LENGTH
from fox_shard.users.user import NAME_LENGTH, User, Users

ANONYMOUS: Final = "anonymous"
NO_USERS: Final = Users(())
PROVIDER: Final = "static"
TICKET: Final = "ticket"
METHODS: Final = (TICKET, "wampcra", "scram", "wamp-scram", "cryptosign", TLS)
BEARERS: Final = frozenset({TICKET, JWT, ANONYMOUS})
"""Methods of a client whose token is looked at that came with its request for a WebSocket."""
OFFERED: Final = 32
"""Methods of a client that are looked at, the first ones."""

_NONCE: Final = re.compile(r"[A-Za-z0-9+/]{1,128}={0,2}")
_PUBKEY: Final = re.compile(r"[0-9a-fA-F]{64}")


class NoMatchingAuthMethod(Refusal):
    """The client accepts none of the authentication methods that are possible here."""

    uri = "wamp.error.no_matching_auth_method"
    reason = 0x8C


class AuthenticationFailed(Refusal):
    """The client has not proved to be the user that it says it is."""

    uri = "wamp.error.authentication_failed"
    reason = 0x86

    def __init__(self, about: str = "") -> None:
        """about: more for the log; clients are told nothing else."""
        super().__init__("the authentication failed")
        self.about = about


class TooManyFailures(Refusal):
    """Too many clients of this address have failed (`auth.max_failures`)."""

    uri = "wamp.error.authentication_failed"
    reason = 0x9F


class Busy(Refusal):
    """Nobody can be let in for now: too many passwords wait (`auth.max_waiting`)."""

    uri = "wamp.error.unavailable"
    reason = 0x89


class KeysNotRead(Refusal):
    """The keys that verify tokens have not been read yet."""

    uri = "wamp.error.unavailable"
    reason = 0x88


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


NOBODY: Final = Authenticated(ANONYMOUS, ANONYMOUS)
"""Who an anonymous client is."""

APPLICATION: Final = Authenticated(
    "fox.application", "application", "application", provider="application"
)
"""Who the application is in whose process the gateway runs. It need not prove anything."""

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
class StaticAttempt:
    """An attempt to be one of the users of the file."""

    __slots__ = (
        "_answered",
        "_authentication",
        "_claim",
        "_proof",
        "_reason",
        "_user",
        "extra",
        "method",
        "session",
    )

    def __init__(
        self,
        authentication: "Authentication",
        claim: Claim,
        method: str,
        user: User | None,
        proof: Proof | None,
        session: int,
    ) -> None:
        """user: None: there is none, and no answer is right. proof: None: the password itself."""
        self._authentication = authentication
        self._claim = claim
        self._user = user
        self._proof = proof
        self._answered = False
        self._reason = ""
        self.method = method
        self.session = session
        self.extra = proof.extra if proof is not None else {}

    def prepare(self, done: Prepared) -> None:
        """Do nothing: the challenge is ready."""
        done(None)

    def cancel(self) -> None:
        """Do nothing: a password that is being checked already is not worth it."""

    def answer(self, signature: str, extra: dict[str, Any], done: Outcome) -> None:
        """Check the client's only answer, and call `done` with the result, now or later."""
        assert not self._answered
        self._answered = True
        authentication, claim = self._authentication, self._claim
        try:
            authentication.check_failures(claim.address)
            if authentication.is_for_tokens(claim.realm, self.method, signature):
                done(authentication.bearer(claim, self.method, signature))
                return
            if len(signature) > LENGTH:
                raise self._failed()
            if self._proof is not None:
                right = self._proof.check(signature, extra)
                done(self._result(right=right))
            else:
                self._check_password(signature, done)
        except Refusal as refusal:
            self._reason = getattr(refusal, "about", "")
            done(refusal)

    def _check_password(self, password: str, done: Outcome) -> None:
        """Have the password checked, of a user that does not exist as well."""
        authentication, claim, user = self._authentication, self._claim, self._user
        if authentication.hashing.full:
            authentication.limit_counts.add("max_waiting")
            raise Busy("too many clients log in at this moment: try again")

        def wanted() -> bool:
            try:
                authentication.check_failures(claim.address)
            except Refusal as refusal:
                done(refusal)
                return False
            return True

        verifier = user.password if user is not None else None
        job = Job(
            verifier or authentication.dummy(claim.realm),
            password,
            wanted,
            lambda right: done(self._result(right=right and verifier is not None)),
        )
        authentication.hashing.add(job)

    def _result(self, *, right: bool) -> Authenticated | Refusal:
        user = self._user
        # Meanwhile the user may have been removed, or have got another role.
        if not right or user is None or not self._authentication.knows(user):
            return self._failed()
        welcome = self._proof.welcome if self._proof is not None else {}
        return Authenticated(user.name, user.role, self.method, welcome)

    def _failed(self) -> AuthenticationFailed:
        self._authentication.failed(self._claim.address)
        return AuthenticationFailed()

    @property
    def description(self) -> str:
        """The attempt in words, for the log."""
        words = self._claim.description(self.method)
        return f"{words}: {self._reason}" if self._reason else words


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
        if method == ANONYMOUS:
            return self._is_anonymous_possible(realm)
        users = self.users_of(realm)
        user = users.find(realm, authid) if users is not None else None
        return user is not None and user.role == authrole

    def knows(self, user: User) -> bool:
        """Whether the user is one of those that there are now, in the same role."""
        return self.lets_in(user.realm, user.name, user.role, "")

    def _is_anonymous_possible(self, realm: str) -> bool:
        return self.users_of(realm) is None or realm in self._anonymous

    def begin(self, claim: Claim) -> Authenticated | Attempt:
        """Return who the client is, if that needs no proof, or the attempt to prove it.

        Raises NoMatchingAuthMethod, TooManyFailures, AuthenticationFailed.
        """
        if claim.access is not None and claim.access.application:
            return APPLICATION
        methods = (*claim.methods[:OFFERED],) or (ANONYMOUS,)
        users = self.users_of(claim.realm)
        if users is None:
            if ANONYMOUS in methods:
                return NOBODY
            raise NoMatchingAuthMethod(f"the only authmethod here is {ANONYMOUS!r}")
        if self.awaited is not None and self.awaited.waits(claim.realm):
            return self.awaited.attempt(claim)
        if claim.name is not None and len(claim.name) > NAME_LENGTH:
            self.failed(claim.address)
            raise AuthenticationFailed()
        if claim.bearer and claim.realm in self.tokens and not BEARERS.isdisjoint(methods):
            self.check_failures(claim.address)
            # Anonymous clients are told which of our methods this is.
            method = next((one for one in methods if one in (TICKET, JWT)), TICKET)
            return self.bearer(claim, method, claim.bearer)
        possible = [one for one in methods if self._is_possible(one, claim, users)]
        if not possible:
            raise self._no_match(claim, methods)
        return self._begin_by(possible, claim, users)

    def _begin_by(
        self, possible: Sequence[str], claim: Claim, users: Users
    ) -> Authenticated | Attempt:
        """Begin by the first of the possible methods that suits the client."""
        asked = self._asked(possible, claim, users)
        method = _chosen(possible, asked, claim, users)
        if method == ANONYMOUS and method not in asked:
            return NOBODY
        self.check_failures(claim.address)
        if method in asked:
            assert self.authenticators is not None
            return self.authenticators.begin(method, claim)
        if method == TLS:
            return self._certified(claim, users)
        return self._challenge(method, claim, users)

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

    def _asked(self, possible: Sequence[str], claim: Claim, users: Users) -> list[str]:
        """Return the methods for which the authenticator would be asked."""
        authenticators = self.authenticators
        if authenticators is None:
            return []
        asked = [one for one in possible if authenticators.asks(one, claim, users)]
        if ANONYMOUS in asked and self._is_anonymous_possible(claim.realm):
            asked.remove(ANONYMOUS)
        return asked

    def _certified(self, claim: Claim, users: Users) -> Authenticated:
        """Return the user whom the client's certificate names, which TLS has verified."""
        user = certified_user(users, claim.realm, claim.name, claim.access)
        if user is None:
            self.failed(claim.address)
            raise AuthenticationFailed()
        return Authenticated(user.name, user.role, TLS)

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

    def _is_possible(self, method: str, claim: Claim, users: Users) -> bool:
        """Whether the client may use the method, if it is the user that it says it is."""
        extra = claim.extra
        decided = self.authenticators is not None and self.authenticators.decides(
            method, claim.realm
        )
        match method:
            case "anonymous":
                return decided or self._is_anonymous_possible(claim.realm)
            case "ticket":
                return claim.name is not None or claim.realm in self.tokens
            case "jwt":
                return claim.realm in self.tokens
            case "wampcra":
                return claim.name is not None and (decided or users.has_wampcra(claim.realm))
            case "scram" | "wamp-scram":
                unbound = extra.get("channel_binding") is None
                return claim.name is not None and unbound and _is(_NONCE, extra.get("nonce"))
            case "cryptosign":
                return _is(_PUBKEY, extra.get("pubkey"))
            case "tls":
                return claim.access is not None and claim.access.user is not None
            case _:
                return False

    def _no_match(self, claim: Claim, methods: Sequence[str]) -> NoMatchingAuthMethod:
        if any(method in METHODS for method in methods):
            return NoMatchingAuthMethod(
                "no offered authmethod is possible: ticket, wampcra, scram need an authid, scram "
                "also authextra.nonce (and no channel binding), cryptosign authextra.pubkey, tls a "
                "client certificate with a name"
            )
        return NoMatchingAuthMethod(
            "this realm is not open to anonymous clients: the authmethods here are "
            + ", ".join((*METHODS, JWT) if claim.realm in self.tokens else METHODS)
        )

    def _challenge(self, method: str, claim: Claim, users: Users) -> StaticAttempt:
        user = _user(method, claim, users)
        name, session = claim.name or "", 0
        proof: Proof | None = None
        match method:
            case "wampcra":
                session = self._rng.randrange(1, 1 << 53)
                proof = WampCraProof(user, users, name, self.who(claim, session, PROVIDER))
            case "scram" | "wamp-scram":
                proof = ScramProof(
                    user,
                    users,
                    name,
                    claim.extra["nonce"],
                    self._nonce(),
                    as_written=method == "wamp-scram",
                )
            case "cryptosign":
                proof = CryptosignProof(
                    user,
                    claim.extra["pubkey"].lower(),
                    self.challenge(),
                    channel_id(claim.access, claim.extra.get("channel_binding")),
                )
        return StaticAttempt(self, claim, method, user, proof, session)

    def random(self, end: int) -> int:
        """Return a random number below `end`."""
        return self._rng.randrange(0, end)

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
            "nonce": self._nonce(),
            "timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "session": session,
        }

    def _nonce(self) -> str:
        return b64encode(self._rng.randrange(0, 1 << 128).to_bytes(16, "big")).decode()


def _is(form: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _user(method: str, claim: Claim, users: Users) -> User | None:
    """Return the user that the client says it is; None if there is none."""
    if method == TLS:
        return certified_user(users, claim.realm, claim.name, claim.access)
    if method != "cryptosign":
        return users.find(claim.realm, claim.name or "")
    user = users.find_by_key(claim.realm, claim.extra["pubkey"].lower())
    named = user is not None and claim.name in (None, user.name)
    return user if named else None


def _chosen(possible: Sequence[str], asked: Sequence[str], claim: Claim, users: Users) -> str:
    """Return the first method that suits the user, or for which an authenticator is asked."""
    for method in possible:
        if method in asked:
            return method
        # A user that is not in the file may be one of the authenticator's, which then has to be
        # asked: all other methods would fail.
        hopeless = asked and method != ANONYMOUS and _user(method, claim, users) is None
        if not hopeless and _suits(method, claim, users):
            return method
    return possible[0]


def _suits(method: str, claim: Claim, users: Users) -> bool:
    """Whether the user, if there is one, has what the method needs."""
    if method in (ANONYMOUS, JWT):
        return True
    user = _user(method, claim, users)
    if user is None:
        # Nothing suits somebody whose key is unknown; a name that is unknown looks like any other.
        return (
            method not in ("cryptosign", TLS) and users.find(claim.realm, claim.name or "") is None
        )
    match method:
        case "ticket":
            return user.password is not None
        case "wampcra":
            return user.wampcra is not None
        case "scram":
            scram = user.scram
            return scram is not None and (
                scram.kdf == "pbkdf2" or scram.autobahn_stored_key is not None
            )
        case "wamp-scram":
            return user.scram is not None
        case _:
            return True

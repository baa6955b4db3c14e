"""Dynamic authentication: an authenticator says who a client is, or what it has to prove.

Owns: when an authenticator is asked, with which arguments (those of Crossbar), and what follows
from its answer. Never: calling it (see `consulting`), the users of the file, which go first.

An authenticator that does not answer lets nobody in.
"""

from collections.abc import Callable, Container, Iterable
from typing import Any, Final, final

from msgspec import Struct

from fox_shard.config import Realm
from fox_shard.documents.payloads import MSGPACK, encode
from fox_shard.errors import Canceled, NoAvailableCallee, QueueFull, Refusal
from fox_shard.gateway.auth.answers import BadAnswer, Principal, read_answer
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.auth.certificates import TLS, channel_id
from fox_shard.gateway.auth.claims import ANONYMOUS, Authenticated, Claim, Outcome, Prepared
from fox_shard.gateway.auth.proofs import CryptosignProof, Proof, WampCraProof
from fox_shard.gateway.auth.refusals import AuthenticationFailed, Busy
from fox_shard.gateway.auth.stand_in import StandIn
from fox_shard.gateway.consulting.consultations import Consultation, Consultations
from fox_shard.gateway.consulting.outcomes import Advice, Adviser, NoAdvice, adviser
from fox_shard.printable import printable
from fox_shard.users.passwords import LENGTH
from fox_shard.users.user import User, Users

PROVIDER: Final = "dynamic"

AUTHEXTRA_BYTES: Final = 1 << 14
"""Bytes of a client's `authextra`, in MessagePack, that an authenticator is told."""

RESERVED: Final = "fox."
"""The beginning of the server's own names, for which no authenticator is asked."""


TROUBLES: Final = frozenset((Canceled.uri, NoAvailableCallee.uri, QueueFull.uri))
"""Errors that are not the authenticator's, which say nothing of the client."""


class Authenticator(Struct, frozen=True):
    """The authenticator of a realm. methods: those for which it is asked."""

    adviser: Adviser
    methods: frozenset[str]


@final
class Authenticators:
    """The authenticators of one gateway."""

    def __init__(
        self,
        realms: Iterable[Realm],
        timeout: float,
        consultations: Consultations,
        existing: Container[str],
        authentication: Authentication,
    ) -> None:
        """timeout: seconds. existing: the names of all realms, also of those made later."""
        self.timeout = timeout
        self.consultations = consultations
        self.existing = existing
        self.authentication = authentication
        self._of = {
            realm.name: Authenticator(
                adviser(realm.authenticator, realm.authenticator_realm or realm.name),
                frozenset(realm.authenticator_methods),
            )
            for realm in realms
            if realm.authenticator
        }

    def decides(self, method: str, realm: str) -> bool:
        """Whether the authenticator of the realm, if there is one, is asked for the method."""
        authenticator = self._of.get(realm)
        return authenticator is not None and method in authenticator.methods

    def asks(self, method: str, claim: Claim, users: Users) -> bool:
        """Whether the authenticator is asked for that client; users of the file go first."""
        if not self.decides(method, claim.realm):
            return False
        name = claim.name
        if method == ANONYMOUS:
            name = None
        elif method == TLS:
            name = claim.access.user if claim.access is not None else None
            if name is None or claim.name not in (None, name):
                return False
        elif method == "cryptosign" and name is None:
            pubkey = claim.extra["pubkey"].lower()
            return users.find_by_key(claim.realm, pubkey) is None
        if name is None:
            return True
        return not name.startswith(RESERVED) and users.find(claim.realm, name) is None

    def begin(self, method: str, claim: Claim) -> "DynamicAttempt":
        """Return the attempt of a client for which the authenticator is asked."""
        return DynamicAttempt(self, self._of[claim.realm], claim, method)


@final
class DynamicAttempt:
    """An attempt (see `claims.Attempt`) that an authenticator decides.

    With a ticket, the authenticator is asked after the client's answer; else before the challenge,
    for what the client has to prove, or, if there is nothing to prove, instead of it.
    """

    def __init__(
        self,
        authenticators: Authenticators,
        authenticator: Authenticator,
        claim: Claim,
        method: str,
    ) -> None:
        self._authenticators = authenticators
        self._authentication = authenticators.authentication
        self._authenticator = authenticator
        self._claim = claim
        self._consultation: Consultation | None = None
        self._principal: Principal | None = None
        self._proof: Proof | None = None
        self._reason = ""
        self.method = method
        self.session = self._authentication.random(1 << 53) or 1
        self.extra: dict[str, Any] = {}
        pubkey = claim.extra.get("pubkey") if method == "cryptosign" else None
        self._pubkey = pubkey.lower() if isinstance(pubkey, str) else ""
        self._name = claim.name
        if method == ANONYMOUS:
            self._name = f"{self._authentication.random(1 << 64):016x}"
        elif method == TLS and claim.access is not None:
            self._name = claim.access.user

    def prepare(self, done: Prepared) -> None:
        """Ask the authenticator, unless that waits for the ticket."""
        if self.method == "ticket":
            done(None)
            return

        def told(principal: Principal | None) -> None:
            if self.method not in ("wampcra", "cryptosign"):
                done(self._result(principal))
                return
            # A client that is refused gets a challenge, too, to which no answer is right.
            self._principal = principal
            self._proof = self._new_proof(principal.user if principal is not None else None)
            self.extra = self._proof.extra
            done(None)

        self._ask({}, told, done)

    def answer(self, signature: str, extra: dict[str, Any], done: Outcome) -> None:
        """Check the client's only answer, or have the authenticator check it, if it is a ticket."""
        try:
            self._authentication.check_failures(self._claim.address)
        except Refusal as refusal:
            done(refusal)
            return
        authentication, claim = self._authentication, self._claim
        if authentication.is_for_tokens(claim.realm, self.method, signature):
            try:
                done(authentication.bearer(claim, self.method, signature))
            except Refusal as refusal:
                self._reason = getattr(refusal, "about", "")
                done(refusal)
        elif len(signature) > LENGTH:
            done(self._failed("the answer is too long"))
        elif self._proof is None:
            self._ask({"ticket": signature}, lambda found: done(self._result(found)), done)
        else:
            right = self._proof.check(signature, extra)
            done(self._result(self._principal if right else None))

    def cancel(self) -> None:
        """Ask no more: the client has left."""
        if self._consultation is not None:
            self._consultation.cancel()

    @property
    def description(self) -> str:
        """The attempt in words, for the log: why it failed, but never a ticket."""
        reason = f": {printable(self._reason[:200])}" if self._reason else ""
        return self._claim.description(self.method) + reason

    # Asking

    def _ask(
        self,
        more: dict[str, Any],
        told: Callable[[Principal | None], None],
        refused: Callable[[Refusal], None],
    ) -> None:
        """Ask the authenticator. told: called with the principal; None: it says no.

        refused: called if there is no answer, or none that says anything.
        """
        try:
            details = self._details() | more
        except BadAnswer as error:
            refused(self._failed(str(error)))
            return

        # Meanwhile others of this address may have failed.
        def is_wanted() -> bool:
            try:
                self._authentication.check_failures(self._claim.address)
            except Refusal as refusal:
                refused(refusal)
                return False
            return True

        def answered(outcome: Advice | NoAdvice) -> None:
            try:
                self._authentication.check_failures(self._claim.address)
                principal = self._read(outcome)
            except Refusal as refusal:
                refused(refusal)
                return
            told(principal)

        self._consultation = self._authenticators.consultations.consult(
            self._authenticator.adviser,
            [self._claim.realm, self._name, details],
            {},
            self._authenticators.timeout,
            answered,
            login=True,
            is_wanted=is_wanted,
        )

    def _details(self) -> dict[str, Any]:
        """Return what the authenticator is told besides realm and authid. Raises BadAnswer."""
        claim = self._claim
        authextra = dict(claim.extra)
        try:
            size = len(encode([authextra], {}, MSGPACK)[0])
        except Refusal as refusal:
            raise BadAnswer(f"authextra cannot be passed on: {refusal.message}") from None
        if size > AUTHEXTRA_BYTES:
            raise BadAnswer(f"authextra has {size} bytes: {AUTHEXTRA_BYTES} are passed on")
        details: dict[str, Any] = {
            "authmethod": self.method,
            "authextra": authextra,
            "session": self.session,
            "transport": {"type": claim.transport, "peer": claim.peer},
        }
        if self._pubkey:
            details["pubkey"] = self._pubkey
        if claim.access is not None and claim.access.user is not None:
            details["certificate"] = claim.access.user
        return details

    def _read(self, outcome: Advice | NoAdvice) -> Principal | None:
        """Return who the client is; None: the authenticator says no. Raises Refusal."""
        if isinstance(outcome, NoAdvice):
            self._reason = f"the authenticator: {outcome.message}"
            if outcome.why == "busy":
                raise Busy("too many clients log in at this moment: try again")
            if outcome.why == "error" and outcome.uri not in TROUBLES:
                return None
            # It is not the client's fault, so it does not count.
            raise AuthenticationFailed()
        try:
            return read_answer(
                outcome.value,
                self.method,
                self._claim.realm,
                self._name,
                self._pubkey,
                self._authenticators.existing,
            )
        except BadAnswer as error:
            self._reason = str(error)
            if error.is_refusal:
                return None
            raise self._failed(str(error)) from None

    # What comes of it

    def _new_proof(self, user: User | None) -> Proof:
        claim, authentication = self._claim, self._authentication
        if self.method == "wampcra":
            who = authentication.who(claim, self.session, PROVIDER)
            nobody = StandIn(None, self._name or "", authentication.secret)
            return WampCraProof(user, nobody.wampcra(), who)
        channel = channel_id(claim.access, claim.extra.get("channel_binding"))
        return CryptosignProof(user, self._pubkey, authentication.challenge(), channel)

    def _result(self, principal: Principal | None) -> Authenticated | Refusal:
        if principal is None:
            return self._failed(self._reason)
        user = principal.user
        return Authenticated(
            user.name,
            user.role,
            self.method,
            principal.extra,
            provider=PROVIDER,
            realm=user.realm,
        )

    def _failed(self, reason: str) -> AuthenticationFailed:
        self._reason = reason
        self._authentication.failed(self._claim.address)
        return AuthenticationFailed()

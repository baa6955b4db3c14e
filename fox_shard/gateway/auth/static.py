"""Attempts to be one of the users of the file, or of those in keys.

Owns: the challenge for each method, and what comes of the answer. Never: the arithmetic of both
(see `proofs`); checking passwords (see `hashing`); which method is taken (see `login`).

Whether there is a user of that name shows neither in the message, nor in the challenge, nor in the
time that the answer takes.
"""

from typing import Any, final

from fox_shard.errors import Refusal
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.auth.certificates import channel_id
from fox_shard.gateway.auth.claims import PROVIDER, Authenticated, Claim, Outcome, Prepared
from fox_shard.gateway.auth.hashing import Job
from fox_shard.gateway.auth.methods import user_of
from fox_shard.gateway.auth.proofs import CryptosignProof, Proof, ScramProof, WampCraProof
from fox_shard.gateway.auth.refusals import AuthenticationFailed, Busy
from fox_shard.gateway.auth.stand_in import StandIn
from fox_shard.users.passwords import LENGTH
from fox_shard.users.user import User, Users


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
        authentication: Authentication,
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


def challenged(
    authentication: Authentication, method: str, claim: Claim, users: Users
) -> StaticAttempt:
    """Return the attempt of a client that is to prove by that method which user it is."""
    user = user_of(method, claim, users)
    name, session = claim.name or "", 0
    # What a user is asked to prove that is not there, or lacks the method.
    nobody = StandIn(
        users.profile(claim.realm, name, authentication.secret), name, authentication.secret
    )
    proof: Proof | None = None
    match method:
        case "wampcra":
            session = authentication.session_id()
            who = authentication.who(claim, session, PROVIDER)
            proof = WampCraProof(user, nobody.wampcra(), who)
        case "scram" | "wamp-scram":
            proof = ScramProof(
                user,
                nobody.scram(),
                name,
                claim.extra["nonce"],
                authentication.nonce(),
                as_written=method == "wamp-scram",
            )
        case "cryptosign":
            proof = CryptosignProof(
                user,
                claim.extra["pubkey"].lower(),
                authentication.challenge(),
                channel_id(claim.access, claim.extra.get("channel_binding")),
            )
    return StaticAttempt(authentication, claim, method, user, proof, session)

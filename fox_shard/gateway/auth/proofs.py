"""What a client is asked to prove, for each method of WAMP: the challenge, and its answer.

Owns: challenges and checking their answers, of users that there are and of those that are not: the
latter get the same challenges, whose answers are checked as well, and always wrong. Never: which
method is chosen (see `login`), sessions, checking passwords (see `hashing`).
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error
from hashlib import sha256
from typing import Any, Final, Protocol, final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fox_shard.gateway.auth.certificates import TLS_UNIQUE
from fox_shard.users.scram import ARGON2, AUTOBAHN_ARGON2, signed_text
from fox_shard.users.user import Scram, User, WampCra

NO_KEY: Final = bytes(32)


class Proof(Protocol):
    """One challenge, to which an answer is checked at once."""

    extra: dict[str, Any]
    """Of CHALLENGE."""

    welcome: dict[str, Any]
    """The `authextra` of WELCOME, after the right answer."""

    def check(self, signature: str, extra: dict[str, Any]) -> bool:
        """Return whether [AUTHENTICATE, Signature|string, Extra|dict] is the right answer."""


@final
class WampCraProof:
    """A text that the client signs with its key (WAMP #wampcra)."""

    def __init__(self, user: User | None, nobody: WampCra, who: dict[str, Any]) -> None:
        """nobody: see `StandIn`. who: what the challenge says of the session."""
        stored = user.wampcra if user is not None else None
        self._exists = stored is not None
        if stored is None:
            stored = nobody
        self._challenge = msgspec.json.encode(who).decode()
        self._key = stored.key
        self.extra: dict[str, Any] = {"challenge": self._challenge}
        if stored.salt:
            self.extra |= {
                "salt": stored.salt,
                "iterations": stored.iterations,
                "keylen": stored.keylen,
            }
        self.welcome: dict[str, Any] = {}

    def check(self, signature: str, extra: dict[str, Any]) -> bool:
        """Return whether the signature is that of the challenge."""
        wanted = b64encode(hmac.digest(self._key.encode(), self._challenge.encode(), "sha256"))
        return hmac.compare_digest(wanted, signature.encode()) and self._exists


@final
class ScramProof:
    """A proof of the password that neither tells nor stores it (WAMP #wamp-scram).

    As the specification writes it (method `wamp-scram`), or as autobahn and Crossbar speak it
    (method `scram`): see `users.scram`.
    """

    def __init__(
        self, user: User | None, nobody: Scram, name: str, client_nonce: str, server_nonce: str,
        *, as_written: bool,
    ) -> None:  # fmt: skip
        """nobody: see `StandIn`. name: the authid. client_nonce: of HELLO, in base64.

        as_written: see the class.
        """
        stored = user.scram if user is not None else None
        self._exists = stored is not None
        if stored is None:
            stored = nobody
        keys = (stored.stored_key, stored.server_key)
        kdf: str = stored.kdf
        if kdf == ARGON2 and not as_written:
            keys = (stored.autobahn_stored_key or NO_KEY, stored.autobahn_server_key or NO_KEY)
            self._exists = self._exists and stored.autobahn_stored_key is not None
            kdf = AUTOBAHN_ARGON2
        self._stored_key, self._server_key = keys
        self._as_written = as_written
        self._nonce = client_nonce + server_nonce
        salt = b64encode(stored.salt).decode()
        self.extra: dict[str, Any] = {
            "nonce": self._nonce,
            "salt": salt,
            "kdf": kdf,
            "iterations": stored.iterations,
        }
        if stored.kdf == ARGON2:
            self.extra["memory"] = stored.memory
        self._message = signed_text(
            name, client_nonce, self._nonce, salt, stored.iterations, as_written=as_written
        )
        self.welcome: dict[str, Any] = {}

    def check(self, signature: str, extra: dict[str, Any]) -> bool:
        """Return whether the signature is the ClientProof."""
        if self._as_written and not self._is_answered(extra):
            return False
        try:
            proof = b64decode(signature, validate=True)
        except (Error, ValueError):
            return False
        if len(proof) != 32:
            return False
        client_signature = hmac.digest(self._stored_key, self._message, "sha256")
        client_key = bytes(a ^ b for a, b in zip(client_signature, proof, strict=True))
        right = hmac.compare_digest(sha256(client_key).digest(), self._stored_key)
        verifier = b64encode(hmac.digest(self._server_key, self._message, "sha256")).decode()
        if self._as_written:
            self.welcome = {"verifier": f"v={verifier}"}
        else:
            self.welcome = {"scram_server_signature": verifier}
        return right and self._exists

    def _is_answered(self, extra: dict[str, Any]) -> bool:
        """Whether the answer belongs to this challenge, and binds to no channel."""
        bound = extra.get("channel_binding") is not None or extra.get("cbind_data") is not None
        return extra.get("nonce") == self._nonce and not bound


@final
class CryptosignProof:
    """A random number that the client signs with its Ed25519 key (WAMP #cryptosignauth)."""

    def __init__(
        self, user: User | None, pubkey: str, challenge: bytes, channel: bytes = b""
    ) -> None:
        """pubkey: that of HELLO, in hexadecimal. challenge: 32 bytes.

        channel: 32 bytes that identify the TLS connection, to which the signature is bound; empty:
        it is bound to none (WAMP #channelbinding).
        """
        self._exists = user is not None
        self._pubkey = bytes.fromhex(pubkey)
        self._message = bytes(a ^ b for a, b in zip(challenge, channel or bytes(32), strict=True))
        binding = TLS_UNIQUE if channel else None
        self.extra: dict[str, Any] = {"challenge": challenge.hex(), "channel_binding": binding}
        self.welcome: dict[str, Any] = {}

    def check(self, signature: str, extra: dict[str, Any]) -> bool:
        """Return whether it is the signature of the message, followed by the message."""
        try:
            answer = bytes.fromhex(signature)
            Ed25519PublicKey.from_public_bytes(self._pubkey).verify(answer[:64], self._message)
        except (ValueError, InvalidSignature):
            return False
        # Some clients leave out the message.
        return answer[64:] in (b"", self._message) and self._exists

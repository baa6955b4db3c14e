"""How a client of ours proves who it is.

Owns: what HELLO says of it, and the answer to CHALLENGE. Never: where a password or key is from.
"""

from typing import Any, ClassVar, Protocol, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Login(Protocol):
    """One way to log in."""

    @property
    def method(self) -> str:
        """The one whose challenge it answers."""

    @property
    def details(self) -> dict[str, Any]:
        """For HELLO.Details."""

    def signature(self, extra: dict[str, Any]) -> str:
        """Return the answer to a challenge. extra: CHALLENGE.Extra."""


@final
class Password:
    """The name and the password of a user."""

    method = "ticket"

    def __init__(self, name: str, password: str) -> None:
        # Without users, the server lets in whoever is content to be anonymous.
        methods = [self.method, "anonymous"]
        self.details: dict[str, Any] = {"authmethods": methods, "authid": name}
        self._password = password

    def signature(self, extra: dict[str, Any]) -> str:
        """Return the password."""
        return self._password


@final
class Certificate:
    """The certificate that the TLS connection has shown, whose user is logged in."""

    method = "tls"
    details: ClassVar[dict[str, Any]] = {"authmethods": [method, "anonymous"]}

    def signature(self, extra: dict[str, Any]) -> str:
        """Return nothing: a certificate is not challenged."""
        return ""


@final
class Key:
    """The name and the private key of a user. seed: 32 bytes."""

    method = "cryptosign"

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.details: dict[str, Any] = {
            "authmethods": [self.method, "anonymous"],
            "authid": name,
            "authextra": {"pubkey": public_key(seed)},
        }

    def signature(self, extra: dict[str, Any]) -> str:
        """Return the signature of the challenge, and behind it the challenge."""
        challenge = str(extra["challenge"])
        return self._key.sign(bytes.fromhex(challenge)).hex() + challenge


def public_key(seed: bytes) -> str:
    """Return the public key of a private one, in hexadecimal."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()

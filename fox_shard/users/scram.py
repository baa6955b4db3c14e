"""SCRAM's arithmetic, which clients and servers do alike (WAMP #wamp-scram).

Owns: the salted password, the keys made from it, the text that both sign. Never: who asks whom,
what is stored.

As the specification writes it (method `wamp-scram`), or as autobahn and Crossbar speak it (method
`scram`): with another name of the function, no GS2 header, a name that is not escaped, and, with
Argon2, a password that is not normalized and a hash that is taken as its text.
"""

import hashlib
import hmac
from base64 import b64encode
from typing import Final, NamedTuple

from argon2.low_level import Type, hash_secret_raw

from fox_shard.users.saslprep import normalized

ARGON2: Final = "argon2id13"
PBKDF2: Final = "pbkdf2"

AUTOBAHN_ARGON2: Final = "argon2id-13"
"""What autobahn and Crossbar call it."""

_NO_CHANNEL: Final = b64encode(b"n,,").decode()


class Keys(NamedTuple):
    """The keys that are made from a salted password."""

    client: bytes
    stored: bytes
    server: bytes


def salted(
    password: str, kdf: str, salt: bytes, iterations: int, memory: int, *, as_written: bool
) -> bytes:
    """Return SaltedPassword. memory: KiB, of Argon2. Takes tens of milliseconds."""
    if kdf == PBKDF2:
        return hashlib.pbkdf2_hmac("sha256", normalized(password).encode(), salt, iterations)
    text = normalized(password) if as_written else password
    found = hash_secret_raw(text.encode(), salt, iterations, memory, 1, 32, Type.ID)
    return found if as_written else b64encode(found).rstrip(b"=")


def keys_of(salted_password: bytes) -> Keys:
    """Return the keys of a salted password."""
    client = hmac.digest(salted_password, b"Client Key", "sha256")
    server = hmac.digest(salted_password, b"Server Key", "sha256")
    return Keys(client, hashlib.sha256(client).digest(), server)


def signed_text(
    name: str, client_nonce: str, nonce: str, salt: str, iterations: int, *, as_written: bool
) -> bytes:
    """Return AuthMessage, without channel binding. name: the authid. nonce: of both ends."""
    name, header = normalized(name), ""
    if as_written:
        name = name.replace("=", "=3D").replace(",", "=2C")
        header = _NO_CHANNEL
    return (
        f"n={name},r={client_nonce},r={nonce},s={salt},i={iterations},c={header},r={nonce}"
    ).encode()

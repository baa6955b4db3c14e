"""Passwords: the verifiers that are stored of one, and checking one.

Owns: which functions, and what they cost. Never: where verifiers are kept. Everything here
takes tens of milliseconds, so it must not run in an event loop.
"""

import hashlib
from base64 import b64encode
from typing import Final

from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret

from fox_shard.users import scram
from fox_shard.users.saslprep import normalized
from fox_shard.users.user import Kdf, Scram, User, WampCra

LENGTH: Final = 1024
"""Characters of the longest password."""

TIME_COST: Final = 2
MEMORY_COST: Final = 19_456
"""The costs of argon2id: OWASP's recommendation, in iterations and KiB."""

PBKDF2_ITERATIONS: Final = 100_000


def verifier_of(password: str, salt: bytes) -> str:
    """Return the argon2id verifier of a password, as a PHC text."""
    secret = normalized(password).encode()
    return hash_secret(secret, salt, TIME_COST, MEMORY_COST, 1, 32, Type.ID).decode()


def matches(verifier: str, password: str) -> bool:
    """Return whether it is the password of that verifier. Raises Argon2Error if it cannot be read.

    The time does not depend on the answer.
    """
    try:
        return verify_secret(verifier.encode(), normalized(password).encode(), Type.ID)
    except VerifyMismatchError:
        return False


def scram_of(password: str, kdf: Kdf, salt: bytes) -> Scram:
    """Return what SCRAM needs of a password (WAMP #wamp-scram)."""
    if kdf == scram.PBKDF2:
        keys = scram.keys_of(
            scram.salted(password, kdf, salt, PBKDF2_ITERATIONS, 0, as_written=True)
        )
        return Scram(
            kdf=kdf,
            salt=salt,
            iterations=PBKDF2_ITERATIONS,
            stored_key=keys.stored,
            server_key=keys.server,
        )
    keys, autobahn = (
        scram.keys_of(
            scram.salted(password, kdf, salt, TIME_COST, MEMORY_COST, as_written=as_written)
        )
        for as_written in (True, False)
    )
    return Scram(
        kdf=kdf,
        salt=salt,
        iterations=TIME_COST,
        memory=MEMORY_COST,
        stored_key=keys.stored,
        server_key=keys.server,
        autobahn_stored_key=autobahn.stored,
        autobahn_server_key=autobahn.server,
    )


def wampcra_of(password: str, salt: str) -> WampCra:
    """Return what WAMP-CRA needs of a password (WAMP #wampcra)."""
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), PBKDF2_ITERATIONS, 32)
    return WampCra(key=b64encode(key).decode(), salt=salt, iterations=PBKDF2_ITERATIONS, keylen=32)


def user_with_password(
    name: str,
    realm: str,
    role: str,
    password: str,
    salts: tuple[bytes, bytes, str],
    *,
    kdf: Kdf = "argon2id13",
    wampcra: bool = False,
) -> User:
    """Return a user with all verifiers of a password.

    salts: of the password, of SCRAM, of WAMP-CRA; random.
    """
    return User(
        name=name,
        realm=realm,
        role=role,
        password=verifier_of(password, salts[0]),
        scram=scram_of(password, kdf, salts[1]),
        wampcra=wampcra_of(password, salts[2]) if wampcra else None,
    )

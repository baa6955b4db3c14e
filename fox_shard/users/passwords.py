"""Passwords: the verifiers that are stored of one, and checking one.

Owns: which functions, and what they cost. Never: where verifiers are kept. Everything here but
`normalized` takes tens of milliseconds, so it must not run in an event loop.
"""

import hashlib
import hmac
import stringprep
import unicodedata
from base64 import b64encode
from typing import Final

from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type, hash_secret, hash_secret_raw, verify_secret

from fox_shard.users.user import Kdf, Scram, User, WampCra

LENGTH: Final = 1024
"""Characters of the longest password."""

TIME_COST: Final = 2
MEMORY_COST: Final = 19_456
"""The costs of argon2id: OWASP's recommendation, in iterations and KiB."""

PBKDF2_ITERATIONS: Final = 100_000

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def normalized(text: str) -> str:
    """Return the text as SASLprep does (RFC 4013), or the same text if SASLprep prohibits it.

    Text that mixes directions of writing is not looked at.
    """
    if text.isascii():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in text
        if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if any(prohibited(char) for char in prepared for prohibited in _PROHIBITED):
        return text
    return prepared


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
    if kdf == "pbkdf2":
        secret = normalized(password).encode()
        salted = hashlib.pbkdf2_hmac("sha256", secret, salt, PBKDF2_ITERATIONS)
        stored, server = scram_keys(salted)
        return Scram(
            kdf=kdf,
            salt=salt,
            iterations=PBKDF2_ITERATIONS,
            stored_key=stored,
            server_key=server,
        )
    stored, server = scram_keys(_argon2id(normalized(password), salt))
    # autobahn does not normalize passwords, and takes the hash as it stands in a PHC text.
    text = b64encode(_argon2id(password, salt)).rstrip(b"=")
    autobahn_stored, autobahn_server = scram_keys(text)
    return Scram(
        kdf=kdf,
        salt=salt,
        iterations=TIME_COST,
        memory=MEMORY_COST,
        stored_key=stored,
        server_key=server,
        autobahn_stored_key=autobahn_stored,
        autobahn_server_key=autobahn_server,
    )


def _argon2id(password: str, salt: bytes) -> bytes:
    return hash_secret_raw(password.encode(), salt, TIME_COST, MEMORY_COST, 1, 32, Type.ID)


def scram_keys(salted: bytes) -> tuple[bytes, bytes]:
    """Return StoredKey and ServerKey of SaltedPassword."""
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")


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

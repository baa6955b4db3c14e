"""The keys that verify tokens (JWT, RFC 7519): from a file's or a key set's bytes to keys.

Owns: which algorithms fit which key, so that no public key is ever taken for a secret. Never: files
and URLs (see `runtime.token_keys`), tokens.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK, PyJWTError
from msgspec import Struct

from fox_shard.config import Jwt

MOST: Final = 100
"""Keys of one key set."""

SECRET: Final = 32
"""Bytes of the shortest secret (RFC 7518 3.2)."""

RSA_BITS: Final = 2048
"""Bits of the shortest RSA key (RFC 7518 3.3), and RSA_BITS_MOST of the longest."""

RSA_BITS_MOST: Final = 8192

_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA: Final = frozenset(f"{kind}{bits}" for kind in ("RS", "PS") for bits in (256, 384, 512))
_HMAC: Final = frozenset({"HS256", "HS384", "HS512"})

Material = bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey


class TokenKeysError(ValueError):
    """Keys that cannot be used; the message is a sentence's end, without a part of any key."""


class TokenKey(Struct, frozen=True):
    """One key, and the algorithms that it may be used with. kid: "": it has no name."""

    material: Any
    algorithms: frozenset[str]
    kid: str = ""


@final
class TokenKeys:
    """The keys of one realm. named: whether tokens choose between them by `kid`."""

    __slots__ = ("_keys", "named")

    def __init__(self, keys: Iterable[TokenKey], *, named: bool) -> None:
        self._keys = tuple(keys)
        self.named = named

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str | None, algorithm: str) -> TokenKey | None:
        """Return the key for a token's head; None: there is none.

        Without `kid`, the key is the only one with the algorithm: several are not tried in turn.
        """
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        if self.named and kid is not None:
            fitting = [key for key in fitting if key.kid == kid]
        return fitting[0] if len(fitting) == 1 else None


def read_key(data: bytes, settings: Jwt) -> TokenKeys:
    """Return the key of a file: a secret, or a public key in PEM. Raises TokenKeysError."""
    wanted = frozenset(settings.algorithms)
    if settings.is_secret:
        secret = data.strip(b"\r\n")
        if b"-----BEGIN" in secret:
            raise TokenKeysError("is a key in PEM, and HS… algorithms need a secret")
        if len(secret) < SECRET:
            raise TokenKeysError(f"is shorter than {SECRET} bytes")
        return TokenKeys([TokenKey(secret, wanted & _HMAC)], named=False)
    try:
        material = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TokenKeysError("is no public key in PEM") from error
    algorithms = algorithms_of(material) & wanted
    if not algorithms:
        raise TokenKeysError("fits none of the algorithms")
    return TokenKeys([TokenKey(material, algorithms)], named=False)


def read_key_set(data: bytes, settings: Jwt) -> TokenKeys:
    """Return the keys of a JSON Web Key Set (RFC 7517) that can verify tokens.

    Others are left out, as a set may have keys for other purposes. Raises TokenKeysError if the set
    cannot be read, or none is left.
    """
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise TokenKeysError("is no JSON") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST:
        raise TokenKeysError(f"is no key set with at most {MOST} keys")
    found = [_entry(entry, settings) for entry in entries]
    keys = [key for key in found if key is not None]
    if not keys:
        raise TokenKeysError("has no public key that fits the algorithms")
    return TokenKeys(keys, named=True)


def _entry(entry: object, settings: Jwt) -> TokenKey | None:
    """Return a key of a set; None: it is not for us."""
    if not isinstance(entry, dict) or entry.get("kty") == "oct" or "d" in entry:
        return None  # A secret, or a private key: nobody should have published it.
    kid, algorithm = entry.get("kid", ""), entry.get("alg")
    if entry.get("use", "sig") != "sig" or not isinstance(kid, str):
        return None
    try:
        material = PyJWK.from_dict(_without_alg(entry), _some_algorithm(entry)).key
        algorithms = algorithms_of(material)
    except (PyJWTError, TokenKeysError, UnsupportedAlgorithm, ValueError, TypeError):
        return None
    algorithms &= frozenset(settings.algorithms)
    if algorithm is not None:
        algorithms &= {algorithm} if isinstance(algorithm, str) else frozenset()
    return TokenKey(material, algorithms, kid) if algorithms else None


def _without_alg(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "alg"}


def _some_algorithm(entry: Mapping[str, Any]) -> str | None:
    """Return an algorithm by which PyJWT knows the kind of key; only its numbers are wanted."""
    return {"RSA": "RS256", "OKP": "EdDSA"}.get(str(entry.get("kty")))


def algorithms_of(material: object) -> frozenset[str]:
    """Return the algorithms for a public key. Raises TokenKeysError if it is too short."""
    match material:
        case RSAPublicKey():
            if not RSA_BITS <= material.key_size <= RSA_BITS_MOST:
                raise TokenKeysError(f"has not {RSA_BITS} to {RSA_BITS_MOST} bits")
            return _RSA
        case EllipticCurvePublicKey():
            algorithm = _CURVES.get(material.curve.name)
            return frozenset({algorithm} if algorithm else ())
        case Ed25519PublicKey() | Ed448PublicKey():
            return frozenset({"EdDSA"})
        case _:
            return frozenset()

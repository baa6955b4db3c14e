"""Keys and tokens (JWT) for tests."""

import json
from functools import cache

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fox_shard.config import Jwt

SECRET = b"0123456789abcdef0123456789abcdef"
ISSUER, AUDIENCE = "https://id.example", "broker"
EXPIRES = 1000


@cache
def private_key(kind, number=0):
    """Return a private key: "rsa", "ec" or "ed". number: there are several."""
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def pem(kind, number=0):
    public = private_key(kind, number).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


ALGORITHM = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}


def key_set(*keys):
    """Return a JWKS of (kind, kid, number)."""
    entries = []
    for kind, kid, number in keys:
        algorithm = jwt.get_algorithm_by_name(ALGORITHM[kind])
        public = private_key(kind, number).public_key()
        entries.append({**algorithm.to_jwk(public, as_dict=True), "kid": kid, "use": "sig"})
    return json.dumps({"keys": entries}).encode()


def claims(now, **more):
    """Return claims that hold at `now`; None takes one away."""
    all_ = {
        "sub": "peter",
        "role": "dev",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + EXPIRES,
        **more,
    }
    return {name: value for name, value in all_.items() if value is not None}


def token(now, kind="rsa", *, kid=None, number=0, **more):
    """Return a token that is right, but for what `more` says."""
    headers = {"kid": kid} if kid else None
    if kind == "secret":
        return jwt.encode(claims(now, **more), SECRET, "HS256", headers)
    key = private_key(kind, number)
    return jwt.encode(claims(now, **more), key, ALGORITHM[kind], headers)


def settings(*algorithms, **more):
    more = {"issuer": ISSUER, "audience": AUDIENCE, "key": "key.pem", **more}
    return Jwt(algorithms=algorithms or ("RS256", "ES256", "EdDSA"), **more)

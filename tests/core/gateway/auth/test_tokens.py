"""Tokens (JWT, RFC 7519): which are believed, and by which keys."""

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from token_samples import SECRET, claims, key_set, pem, private_key, settings, token

from fox_shard.gateway.auth.renewal import Renewal
from fox_shard.gateway.auth.token_keys import TokenKeysError, read_key, read_key_set
from fox_shard.gateway.auth.tokens import InvalidToken, KeysMissing, Tokens, is_token

NOW = 1_800_000_000


def tokens_of(kind="rsa", **more):
    chosen = settings("HS256", **more) if kind == "secret" else settings(**more)
    tokens = Tokens("realm1", chosen, lambda: 100.0, lambda: float(NOW))
    tokens.keys = read_key(SECRET if kind == "secret" else pem(kind), chosen)
    return tokens


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed", "secret"])
def test_a_right_token_names_its_bearer(kind):
    bearer = tokens_of(kind).verify(token(NOW, kind), None)
    assert bearer == ("peter", "dev", NOW + 1010)


def test_other_claims_may_name_the_client_and_its_realm():
    tokens = tokens_of(authid="email", role="group", realm="realm")
    more = {"email": "mary@example.com", "group": "ops"}
    bearer = tokens.verify(token(NOW, realm="realm1", **more), "mary@example.com")
    assert bearer[:2] == ("mary@example.com", "ops")
    with pytest.raises(InvalidToken, match="another realm"):
        tokens.verify(token(NOW, realm="other", **more), None)
    with pytest.raises(InvalidToken, match="another realm"):
        tokens.verify(token(NOW, **more), None)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"exp": NOW - 10}, "expired"),
        ({"exp": None}, "never expires"),
        ({"exp": "soon"}, "no time"),
        ({"exp": True}, "no time"),
        ({"exp": 10**400}, "no time|signature"),
        ({"nbf": NOW + 11}, "not valid yet"),
        ({"iss": "https://elsewhere"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "others"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": []}, "audience"),
        ({"sub": None}, "'sub' is no name"),
        ({"sub": "fox.worker"}, "'sub' is no name"),
        ({"sub": ""}, "'sub' is no name"),
        ({"sub": "x" * 256}, "'sub' is no name"),
        ({"role": None}, "'role' is no name"),
        ({"role": "fox.admin"}, "'role' is no name"),
        ({"role": ["dev"]}, "'role' is no name"),
        ({"sub": "paul"}, "somebody else's"),
        ({"more": "x" * 8192}, "too long"),
    ],
)
def test_a_wrong_token_proves_nothing(more, reason):
    with pytest.raises(InvalidToken, match=reason):
        tokens_of().verify(token(NOW, **more), "peter")


@pytest.mark.parametrize("more", [{"exp": NOW - 9}, {"nbf": NOW + 10}, {"aud": ["x", "broker"]}])
def test_the_leeway_and_several_audiences_are_allowed(more):
    assert tokens_of().verify(token(NOW, **more), None).authid == "peter"


def test_a_token_for_an_audience_is_refused_where_none_is_configured():
    tokens = tokens_of(audience="")
    assert tokens.verify(token(NOW, aud=None), None)
    with pytest.raises(InvalidToken, match="audience"):
        tokens.verify(token(NOW), None)


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(head, secret):
    text = f"{part(head)}.{part(claims(NOW))}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), hashlib.sha256))}"


@pytest.mark.parametrize(
    "forged",
    [
        jwt.encode(claims(NOW), None, "none"),
        f"{part({'alg': 'none'})}.{part(claims(NOW))}.",
        signed({"alg": "HS256"}, pem("rsa")),
        signed({"alg": "RS256"}, pem("rsa")),
        jwt.encode(claims(NOW), private_key("rsa"), "RS512"),
        jwt.encode(claims(NOW), private_key("rsa", 1), "RS256"),
        jwt.encode(claims(NOW), private_key("ec"), "ES256"),
        jwt.encode(claims(NOW), private_key("rsa"), "RS256", {"crit": ["exp"]}),
        token(NOW)[:-8] + "AAAAAAAA",
        f"{part({'alg': 7})}.a.b",
        f"{part(b'{')}.a.b",
        f"{part(b'[' * 700)}.a.b",
        "ey.a.b",
        "...",
    ],
)
def test_a_forged_token_proves_nothing(forged):
    with pytest.raises(InvalidToken):
        tokens_of().verify(forged, None)


def test_without_keys_nothing_is_said_of_a_token():
    tokens = tokens_of()
    tokens.keys = None
    with pytest.raises(KeysMissing):
        tokens.verify(token(NOW), None)


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        (token(NOW), True),
        ("eyJhbGciOiJub25lIn0.x.", True),
        ("eyJ.a", False),
        ("a.b.c", False),
        ("ey!!.b.c", False),
        ("eyes.and.ears", False),
        ("ey" + "J" * 2000 + ".b.c", False),
        ("s3cret", False),
        ("éy.b.c", False),
        ("eyé.b.c", False),
    ],
)
def test_what_looks_like_a_token(text, looks):
    assert is_token(text) is looks


# Keys


@pytest.mark.parametrize(
    ("data", "algorithms", "reason"),
    [
        (b"short", ("HS256",), "shorter than 32 bytes"),
        (pem("rsa"), ("HS256",), "is a key in PEM"),
        (SECRET, ("RS256",), "no public key"),
        (pem("rsa"), ("ES256",), "fits none"),
        (pem("ec"), ("ES384",), "fits none"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(data, algorithms, reason):
    with pytest.raises(TokenKeysError, match=reason):
        read_key(data, settings(*algorithms))


def test_a_token_chooses_its_key_by_name():
    tokens = tokens_of()
    data = key_set(("rsa", "a", 0), ("rsa", "b", 1), ("ec", "c", 0))
    tokens.keys = read_key_set(data, tokens.settings)
    assert tokens.verify(token(NOW, kid="b", number=1), None)
    assert tokens.verify(token(NOW, "ec"), None), "the only key with this algorithm"
    with pytest.raises(InvalidToken, match="signature"):
        tokens.verify(token(NOW, kid="a", number=1), None)
    with pytest.raises(InvalidToken, match="not known"):
        tokens.verify(token(NOW), None)
    with pytest.raises(InvalidToken, match="not known"):
        tokens.verify(token(NOW, kid="d"), None)


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"alg": "RS512"},
        {"d": "AAAA"},
        {"kty": "oct", "k": part(SECRET)},
        {"kty": "?"},
        {"n": "AAAA"},
        {"n": 7},
        {"kid": 7},
        {"kty": ["RSA"]},
    ],
)
def test_keys_of_a_set_that_are_not_for_us_are_left_out(change):
    first, second = json.loads(key_set(("rsa", "a", 0), ("ec", "c", 0)))["keys"]
    data = json.dumps({"keys": [{**first, **change}, second, 7]}).encode()
    assert len(read_key_set(data, settings())) == 1


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"keys": 7}', b'{"keys": []}', b"[" * 9999, b"\xff", b'{"keys": [{}]}']
)
def test_a_set_without_keys_is_refused(data):
    with pytest.raises(TokenKeysError):
        read_key_set(data, settings())


def test_a_key_set_is_requested_again_for_unknown_keys_but_seldom():
    renewal = Renewal(30.0, 3600.0)
    assert renewal.is_due(0.0)
    renewal.began()
    assert not renewal.is_due(1000.0)
    renewal.succeeded(5.0)
    renewal.want(6.0)
    assert (renewal.is_due(34.9), renewal.is_due(35.0)) == (False, True)
    renewal.began()
    renewal.succeeded(35.0)
    assert (renewal.is_due(3634.0), renewal.is_due(3635.0)) == (False, True)


def test_requests_that_fail_become_rarer_whatever_clients_send():
    renewal, now, pauses = Renewal(10.0, 3600.0), 0.0, []
    for _ in range(6):
        assert renewal.is_due(now)
        renewal.began()
        renewal.failed(now)
        failed = now
        while not renewal.is_due(now):
            renewal.want(now)
            now += 0.5
        pauses.append(now - failed)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]

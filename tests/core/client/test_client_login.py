"""Logging in with a password that is not sent, and with tokens."""

import base64
import hashlib
import hmac

import msgspec
import pytest
from client_cores import CoreEnd

from fox_shard.client.effects import Hangup, Lost, Prove
from fox_shard.client.failures import LoginFailed
from fox_shard.client.login import Answer, Token
from fox_shard.client.password import Password, is_private, login_at
from fox_shard.users import scram

PASSWORD = "pencil"
BARE = b"[m\x99h\x9d\x125\x8e\xec\xa0K\x14\x126\xfa\x81"
SALT = base64.b64encode(BARE).decode()
NONCE = "rOprNGfwEbeRWgbNEkqO"


def attempt_of(methods=("wamp-scram", "scram", "wampcra"), *, trusting=False, name="user"):
    """Return an attempt whose nonce is that of RFC 7677."""
    nonce = base64.b64decode(NONCE + "=" * (-len(NONCE) % 4))
    login = Password(name, PASSWORD, methods, trusting=trusting, random=lambda size: nonce)
    return login.begin()


def challenge(**changed):
    server = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    return {"nonce": NONCE + server, "salt": SALT, "kdf": "pbkdf2", "iterations": 4096, **changed}


@pytest.mark.cites("advanced.authentication_scram.11")
def test_the_vector_of_rfc_7677():
    """RFC 7677, section 3, which WAMP #wamp-scram says its implementations are tested with."""
    attempt = attempt_of()
    assert attempt.details["authextra"] == {"nonce": NONCE, "channel_binding": None}
    answer = attempt.answer("wamp-scram", challenge())
    assert answer.signature == "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert answer.extra["nonce"] == challenge()["nonce"]
    attempt.check({"authextra": {"verifier": "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="}})


@pytest.mark.parametrize(
    "welcome",
    [
        {},
        {"authextra": None},
        {"authextra": {"verifier": 7}},
        {"authextra": {"verifier": "v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="}},
        {"authextra": {"verifier": "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="}},
        {"authextra": {"verifier": "é"}},
    ],
)
@pytest.mark.cites("advanced.authentication_scram.15")
def test_a_router_that_does_not_know_the_password_is_not_believed(welcome):
    attempt = attempt_of()
    attempt.answer("wamp-scram", challenge())
    with pytest.raises(LoginFailed, match="does not know the password"):
        attempt.check(welcome)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"nonce": "AAAA"}, "nonce is another one"),
        ({"nonce": NONCE}, "nonce is another one"),
        ({"nonce": None}, "nonce is another one"),
        ({"salt": "§"}, "not in base64"),
        ({"kdf": "md5"}, "'md5', which is unknown"),
        ({"iterations": 4095}, "guess the password quickly"),
        ({"iterations": 0}, "guess the password quickly"),
        ({"iterations": "many"}, "guess the password quickly"),
        ({"iterations": 10**9}, "too much work"),
        ({"kdf": "argon2id13", "iterations": 1, "memory": 8191}, "guess the password quickly"),
        ({"kdf": "argon2id13", "iterations": 1}, "guess the password quickly"),
        ({"kdf": "argon2id13", "iterations": 10**9, "memory": 8}, "too much work"),
        ({"kdf": "argon2id13", "iterations": 1, "memory": 1 << 22}, "too much work"),
        ({"kdf": "argon2id13", "iterations": 2000, "memory": 8, "salt": "AAAA"}, "cannot be"),
    ],
)
@pytest.mark.cites("advanced.authentication_scram.9", "advanced.authentication_scram.10")
def test_a_challenge_that_could_harm_is_not_answered(changed, why):
    with pytest.raises(LoginFailed, match=why):
        attempt_of().answer("wamp-scram", challenge(**changed))


def test_who_trusts_the_router_may_be_asked_for_little():
    attempt_of(trusting=True).answer("wamp-scram", challenge(iterations=1))


@pytest.mark.parametrize("as_written", [True, False])
@pytest.mark.parametrize("kdf", ["argon2id13", "pbkdf2"])
@pytest.mark.cites("advanced.authentication_scram.17", "advanced.authentication_scram.18")
def test_the_proof_is_made_by_the_stored_key(kdf, as_written):
    iterations, memory = (4096, 0) if kdf == "pbkdf2" else (2, 8192)
    extra = challenge(kdf=kdf, iterations=iterations, memory=memory)
    name = "a=b,c\u00ad"
    method = "wamp-scram" if as_written else "scram"
    attempt = attempt_of(name=name)
    answer = attempt.answer(method, extra)
    salted = scram.salted(PASSWORD, kdf, BARE, iterations, memory, as_written=as_written)
    keys = scram.keys_of(salted)
    text = scram.signed_text(name, NONCE, extra["nonce"], SALT, iterations, as_written=as_written)
    assert (b"=2C" in text) is as_written
    signature = hmac.digest(keys.stored, text, "sha256")
    proof = base64.b64decode(answer.signature)
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == keys.stored


def test_the_hash_of_a_password_is_made_once(monkeypatch):
    made = []
    real = scram.salted
    monkeypatch.setattr(scram, "salted", lambda *a, **k: made.append(a) or real(*a, **k))
    login = Password("user", PASSWORD)
    for iterations in (4096, 4096, 4097):
        attempt = login.begin()
        nonce = attempt.details["authextra"]["nonce"] + "AAAA"
        attempt.answer("wamp-scram", challenge(nonce=nonce, iterations=iterations))
    assert len(made) == 2


def test_nonces_differ():
    login = Password("user", PASSWORD)
    nonces = {login.begin().details["authextra"]["nonce"] for _ in range(3)}
    assert len(nonces) == 3
    assert all(len(base64.b64decode(nonce)) == 16 for nonce in nonces)


# WAMP-CRA


TEXT = '{"nonce": "LHRTC9zeOIrt_9U3", "authid": "peter", "session": 3251278072152162}'


def test_wampcra_without_salt_signs_with_the_password():
    answer = attempt_of(trusting=True).answer("wampcra", {"challenge": TEXT})
    wanted = hmac.digest(PASSWORD.encode(), TEXT.encode(), "sha256")
    assert answer == Answer(base64.b64encode(wanted).decode(), {})


def test_wampcra_with_salt_signs_with_the_derived_key():
    """WAMP #wampcra, password salting, with the numbers of the specification."""
    extra = {"challenge": TEXT, "salt": "salt123", "keylen": 32, "iterations": 1000}
    key = base64.b64encode(hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b"salt123", 1000, 32))
    wanted = base64.b64encode(hmac.digest(key, TEXT.encode(), "sha256")).decode()
    assert attempt_of().answer("wampcra", extra).signature == wanted
    # Both numbers may be missing.
    del extra["keylen"], extra["iterations"]
    assert attempt_of().answer("wampcra", extra).signature == wanted


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({}, "not one of WAMP-CRA"),
        ({"challenge": TEXT}, "without a salt"),
        ({"challenge": TEXT, "salt": ""}, "without a salt"),
        ({"challenge": TEXT, "salt": "s", "iterations": 999}, "999 iterations"),
        ({"challenge": TEXT, "salt": "s", "iterations": 10**9}, "too much work"),
        ({"challenge": TEXT, "salt": "s", "keylen": 10**9}, "too much work"),
        ({"challenge": TEXT, "salt": "s", "keylen": 0}, "too much work"),
    ],
)
def test_a_challenge_of_wampcra_that_could_harm_is_not_answered(extra, why):
    with pytest.raises(LoginFailed, match=why):
        attempt_of().answer("wampcra", extra)


# Which methods


@pytest.mark.cites("advanced.authentication_cra.1", "advanced.authentication_cra.2")
@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("wss://fox.example.com/ws", True),
        ("unix:/run/fox.sock", True),
        ("ws://localhost/ws", True),
        ("ws://127.0.0.9:8080/ws", True),
        ("ws://[::1]:8080/ws", True),
        ("ws://fox.example.com/ws", False),
        ("ws://192.168.0.7/ws", False),
        ("ws://localhost.example.com/ws", False),
        ("ws://wss:x@fox.example.com/ws", False),
        ("ws://[::1/ws", False),
    ],
)
def test_a_password_is_sent_only_where_nobody_listens(url, private):
    assert is_private(url) is private
    offered = login_at(url, "ann", PASSWORD).begin().details["authmethods"]
    assert offered[:3] == ["wamp-scram", "scram", "wampcra"]
    assert ("ticket" in offered) is private
    assert ("anonymous" in offered) is private
    assert login_at(url, "ann", PASSWORD).begin().details["authid"] == "ann"


def test_the_core_does_not_answer_a_method_that_was_not_offered():
    end = CoreEnd(login_at("ws://example.com/ws", "ann", PASSWORD), joins=False)
    end.do("opened")
    end.take_sent()
    end.says(4, "ticket", {})
    assert not end.take_sent()
    assert any(isinstance(told, Hangup) for told in end.told)


# The core


def test_the_core_has_the_proof_made_and_checks_the_router():
    login = Password("user", PASSWORD)
    end = CoreEnd(login, joins=False)
    end.do("opened")
    ((_, _, details),) = end.take_sent()
    nonce = details["authextra"]["nonce"] + "AAAA"
    end.says(4, "wamp-scram", challenge(nonce=nonce))
    (prove,) = end.take_told()
    assert isinstance(prove, Prove)
    assert not end.take_sent()
    end.do("proves", prove.attempt, prove.attempt.answer(prove.method, prove.extra))
    ((kind, _, more),) = end.take_sent()
    assert (kind, more["nonce"]) == (5, nonce)
    end.says(2, 9, {"authextra": {"verifier": "v=wrong"}})
    hangup, lost = end.take_told()
    assert "does not know the password" in hangup.why
    assert lost == Lost(hangup.why)
    assert end.take_sent() == [[3, {}, "wamp.error.authentication_failed"]]
    assert end.core.session == 0


@pytest.mark.cites("advanced.authentication_scram.9", "advanced.authentication_scram.10")
def test_a_challenge_that_is_not_answered_aborts():
    end = CoreEnd(Password("user", PASSWORD), joins=False)
    end.do("opened")
    end.take_sent()
    end.says(4, "wamp-scram", challenge(nonce="AAAA"))
    (prove,) = end.take_told()
    with pytest.raises(LoginFailed) as failed:
        prove.attempt.answer(prove.method, prove.extra)
    end.do("proves", prove.attempt, failed.value)
    assert end.take_sent() == [[3, {}, "wamp.error.authentication_failed"]]
    hangup, _ = end.take_told()
    assert hangup == Hangup(str(failed.value))


def test_a_proof_of_an_earlier_connection_is_not_sent():
    end = CoreEnd(Password("user", PASSWORD), joins=False)
    end.do("opened")
    ((_, _, details),) = end.take_sent()
    end.says(4, "wamp-scram", challenge(nonce=details["authextra"]["nonce"] + "AAAA"))
    (prove,) = end.take_told()
    end.lose()
    end.do("opened")
    ((_, _, other),) = end.take_sent()
    assert other["authextra"]["nonce"] != details["authextra"]["nonce"]
    end.do("proves", prove.attempt, Answer("proof", {}))
    end.do("proves", prove.attempt, LoginFailed("no"))
    assert not end.take_sent()


# Tokens


def test_a_token_that_is_a_text_is_sent_at_once():
    end = CoreEnd(Token("a.b.c"), joins=False)
    end.do("opened")
    end.says(4, "ticket", {})
    hello, answer = end.take_sent()
    assert (hello[2]["authmethods"], "authid" in hello[2]) == (["ticket"], False)
    assert answer == [5, "a.b.c", {}]


def test_a_token_that_is_a_function_is_asked_for_each_time():
    tokens = iter(("one", "two"))
    login = Token(lambda: next(tokens), "ann")
    assert login.begin().details["authid"] == "ann"
    for token in ("one", "two"):
        attempt = login.begin()
        assert not attempt.is_quick("ticket")
        assert attempt.answer("ticket", {}) == Answer(token, {})
    with pytest.raises(LoginFailed, match="There is no token: StopIteration"):
        login.begin().answer("ticket", {})


def test_what_is_sent_can_be_encoded():
    answer = attempt_of().answer("wamp-scram", challenge())
    msgspec.msgpack.encode([5, answer.signature, answer.extra])

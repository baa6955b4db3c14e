"""Passwords and what is stored of them."""

import base64
import hmac

import pytest
from autobahn.wamp.auth import derive_key, derive_scram_credential

from fox_shard.users import passwords
from fox_shard.users.passwords import matches, scram_of, verifier_of, wampcra_of
from fox_shard.users.saslprep import normalized

SALT = b"0123456789abcdef"


def test_only_the_password_matches_its_verifier():
    verifier = verifier_of("s3cret", SALT)
    assert verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert matches(verifier, "s3cret")
    assert not matches(verifier, "S3cret")
    assert not matches(verifier, "")


@pytest.mark.parametrize(
    ("text", "prepared", "source"),
    [
        ("abc", "abc", "ASCII"),
        ("I\u00adX", "IX", "RFC 4013, section 3: soft hyphen mapped to nothing"),
        ("\u00aa", "a", "RFC 4013, section 3: NFKC"),
        ("\u2168", "IX", "RFC 4013, section 3: NFKC"),
        ("a\u00a0b", "a b", "RFC 4013, section 2.1: spaces"),
        ("a\u0300", "\u00e0", "composed and decomposed are one password"),
        ("é\x07", "é\x07", "prohibited: left as it is"),
    ],
)
@pytest.mark.cites("advanced.authentication_scram.4")
def test_passwords_are_normalized_as_saslprep_does(text, prepared, source):
    assert normalized(text) == prepared


@pytest.mark.cites("advanced.authentication_scram.4")
def test_one_password_may_be_typed_in_both_compositions():
    one, other = "caf\u00e9", "cafe\u0301"
    assert matches(verifier_of(one, SALT), other)
    assert matches(verifier_of(other, SALT), one)
    for kdf in ("argon2id13", "pbkdf2"):
        keys = [scram_of(text, kdf, SALT) for text in (one, other)]
        assert len({(each.stored_key, each.server_key) for each in keys}) == 1


def test_scram_keys_for_autobahn_are_those_that_autobahn_derives(monkeypatch):
    monkeypatch.setattr(passwords, "TIME_COST", 4096)
    monkeypatch.setattr(passwords, "MEMORY_COST", 512)
    theirs = derive_scram_credential("a@example.com", "s3cret", SALT)
    ours = scram_of("s3cret", "argon2id13", SALT)
    assert ours.autobahn_stored_key.hex() == theirs["stored-key"]
    assert ours.autobahn_server_key.hex() == theirs["server-key"]
    assert (ours.iterations, ours.memory) == (theirs["iterations"], theirs["memory"])
    assert ours.stored_key != ours.autobahn_stored_key


def test_scram_with_pbkdf2_gives_the_keys_of_rfc_7677(monkeypatch):
    """RFC 7677, section 3: user "user", password "pencil"; the ServerKey signs the server's end."""
    monkeypatch.setattr(passwords, "PBKDF2_ITERATIONS", 4096)
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    scram = scram_of("pencil", "pbkdf2", salt)
    assert (scram.memory, scram.autobahn_stored_key) == (0, None)
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(scram.server_key, message, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_key_of_wampcra_is_the_one_that_clients_derive():
    stored = wampcra_of("s3cret", "salt123")
    derived = derive_key("s3cret", stored.salt, stored.iterations, stored.keylen)
    assert stored.key.encode() == derived

"""WAMP's authentication (WAMP #authentication): challenges, answers and refusals."""

import base64
import hashlib
import hmac
import json
from random import Random
from types import SimpleNamespace

import msgspec
import pytest
from argon2.low_level import Type, hash_secret_raw
from autobahn.wamp.auth import AuthScram, compute_wcs, derive_key
from autobahn.wamp.types import Challenge
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from user_samples import PASSWORD, PRIVATE_KEY, bot, check_passwords, mary, peter, users
from wamp_client import ALL, ROLES, SESSION, Client

from fox_shard.config import Auth
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.auth.methods import METHODS
from fox_shard.gateway.auth.proofs import CryptosignProof
from fox_shard.users.passwords import user_with_password
from fox_shard.users.user import Users

VIOLATION = "wamp.error.protocol_violation"
FAILED = "wamp.error.authentication_failed"
NO_MATCH = "wamp.error.no_matching_auth_method"
NONCE = "egVDf3DMJh0="


def pubkey_of(private_key):
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private_key))
    return key.public_key().public_bytes_raw().hex()


ROBOT = pubkey_of(PRIVATE_KEY)


def signed(challenge):
    """Return the signature of PRIVATE_KEY, and behind it the challenge."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(PRIVATE_KEY))
    return key.sign(bytes.fromhex(challenge)).hex() + challenge


def client_of(*more, subprotocol="wamp.2.json", settings=None, anonymous=(), only=None):
    client = Client(subprotocol)
    gateway = client.gateway
    if settings is not None or anonymous:
        gateway.authentication = Authentication(
            settings or Auth(), anonymous, gateway.limit_counts, Random(1), lambda: gateway.now
        )
    gateway.authentication.users = only if only is not None else users(*more)
    gateway.authentication.secret = b"secret"
    return client


def again(client):
    """Return another client of the same gateway."""
    other = Client()
    other.gateway = client.gateway
    other.session.router = client.gateway
    return other


def hello(client, *methods, name="peter", realm="realm1", **extra):
    details = {"roles": ROLES, "authmethods": list(methods)}
    if name is not None:
        details["authid"] = name
    return client.send([1, realm, {**details, **({"authextra": extra} if extra else {})}])


def challenged(client, method, *, methods=None, **more):
    """Return the extra of the CHALLENGE."""
    ((kind, chosen, extra),) = hello(client, *(methods or [method]), **more)
    assert (kind, chosen) == (4, method)
    return extra


def answer(client, signature, extra=None):
    """Answer the challenge, and return what comes of it."""
    received = client.send([5, signature, extra or {}])
    check_passwords(client.gateway)
    return received + client.received()


def assert_welcome(messages, authid="peter", authrole="dev", method=None):
    ((kind, session, details),) = messages
    assert (kind, session) == (2, SESSION)
    shown = [details[key] for key in ("authid", "authrole", "authmethod", "authprovider")]
    assert shown == [authid, authrole, method, "static"]
    return details


def assert_failed(client, messages):
    assert messages == [[3, {"message": "the authentication failed"}, FAILED]]
    assert client.hung_up == 1
    assert "session_opened" not in [name for name, *_ in client.asked]


# Ticket


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.cites("advanced.authentication.1", "advanced.authentication.3")
def test_the_right_ticket_opens_the_session(subprotocol):
    client = client_of(subprotocol=subprotocol)
    assert challenged(client, "ticket") == {}
    assert client.send([5, PASSWORD, {}]) == []
    assert client.asked == []
    assert check_passwords(client.gateway) == 1
    assert_welcome(client.received(), method="ticket")
    ((name, how),) = client.asked
    assert (name, how["authmethod"], how["authprovider"]) == ("session_opened", "ticket", "static")
    assert (client.session.authid, client.session.authrole) == ("peter", "dev")
    assert client.session.caller.authid == "peter"


@pytest.mark.parametrize("name", ["peter", "paul", "bot", "mary@example.com", ""])
@pytest.mark.cites("advanced.authentication.3")
def test_all_wrong_tickets_cost_and_say_the_same(name):
    """No matter whether there is a user of that name, here or in another realm."""
    client = client_of(bot("ab" * 32))
    challenged(client, "ticket", name=name)
    assert client.send([5, "wrong", {}]) == []
    (job,) = client.gateway.authentication.hashing.due()
    assert job._verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    client.gateway.authentication.hashing.finished(job, right=job.run())
    assert_failed(client, client.received())


def test_the_log_says_who_failed_and_not_by_what():
    client = client_of()
    challenged(client, "ticket")
    answer(client, "wrong")
    says = f"{FAILED}: the authentication failed (ticket as 'peter' in realm1)"
    assert client.connection.refused == says


def test_a_ticket_that_is_too_long_is_not_hashed():
    client = client_of()
    challenged(client, "ticket")
    assert_failed(client, client.send([5, "x" * 1025, {}]))


# WAMP-CRA


@pytest.mark.cites("advanced.authentication_cra.3")
def test_the_signature_of_wampcra_opens_the_session():
    client = client_of()
    extra = challenged(client, "wampcra")
    who = json.loads(extra["challenge"])
    shown = {key: who[key] for key in ("authid", "authrole", "authmethod", "authprovider")}
    assert shown == {
        "authid": "peter",
        "authrole": "",
        "authmethod": "wampcra",
        "authprovider": "static",
    }
    assert who["timestamp"] == "2027-01-15T08:00:00.000Z"
    assert who["session"] == client.session.id > 0
    key = derive_key(PASSWORD, extra["salt"], extra["iterations"], extra["keylen"])
    signature = compute_wcs(key, extra["challenge"]).decode()
    assert_welcome(answer(client, signature), method="wampcra")


def test_wampcra_without_salt_is_signed_with_the_secret_itself():
    secret = {"key": "plain", "salt": ""}
    plain = peter().__class__(
        name="plain", realm="realm1", role="dev", wampcra=type(peter().wampcra)(**secret)
    )
    client = client_of(plain)
    extra = challenged(client, "wampcra", name="plain")
    assert set(extra) == {"challenge"}
    signature = compute_wcs("plain", extra["challenge"]).decode()
    assert_welcome(answer(client, signature), authid="plain", method="wampcra")


@pytest.mark.parametrize("name", ["peter", "paul"])
@pytest.mark.parametrize("signature", ["", "é", base64.b64encode(bytes(32)).decode()])
def test_a_wrong_signature_of_wampcra_fails(name, signature):
    client = client_of()
    extra = challenged(client, "wampcra", name=name)
    assert set(extra) == {"challenge", "salt", "iterations", "keylen"}
    assert set(json.loads(extra["challenge"])) >= {"authid", "authrole", "session", "nonce"}
    assert json.loads(extra["challenge"])["authrole"] == ""
    assert_failed(client, answer(client, signature))


# SCRAM


def scram_proof(name, extra, *, password=PASSWORD, client_nonce=NONCE):
    """Return ClientProof and the verifier, as WAMP #wamp-scram computes them."""
    salt, secret = base64.b64decode(extra["salt"]), password.encode()
    iterations = extra["iterations"]
    if extra["kdf"] == "pbkdf2":
        salted = hashlib.pbkdf2_hmac("sha256", secret, salt, iterations)
    else:
        assert extra["kdf"] == "argon2id13"
        salted = hash_secret_raw(secret, salt, iterations, extra["memory"], 1, 32, Type.ID)
    message = (
        f"n={name.replace('=', '=3D').replace(',', '=2C')},r={client_nonce},"
        f"r={extra['nonce']},s={extra['salt']},i={iterations},c=biws,r={extra['nonce']}"
    ).encode()
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
    return base64.b64encode(proof).decode(), base64.b64encode(verifier).decode()


@pytest.mark.parametrize("kdf", ["argon2id13", "pbkdf2"])
@pytest.mark.cites(
    "advanced.authentication_scram.1",
    "advanced.authentication_scram.8",
    "advanced.authentication_scram.14",
    "advanced.authentication_scram.17",
)
def test_scram_as_the_specification_writes_it(kdf):
    client = client_of(only=Users([peter(kdf=kdf)]))
    extra = challenged(client, "wamp-scram", nonce=NONCE, channel_binding=None)
    assert (extra["kdf"], extra["nonce"][: len(NONCE)]) == (kdf, NONCE)
    assert ("memory" in extra) is (kdf == "argon2id13")
    proof, verifier = scram_proof("peter", extra)
    details = assert_welcome(answer(client, proof, {"nonce": extra["nonce"]}), method="wamp-scram")
    assert details["authextra"] == {"verifier": f"v={verifier}"}


def test_a_name_is_escaped_in_what_scram_signs():
    """RFC 5802, section 5.1: "," and "=" in user names."""
    odd = peter()
    odd = type(odd)(name="a=b,c", realm="realm1", role="dev", scram=odd.scram)
    client = client_of(only=Users([odd]))
    extra = challenged(client, "wamp-scram", name="a=b,c", nonce=NONCE)
    proof, _ = scram_proof("a=b,c", extra)
    messages = answer(client, proof, {"nonce": extra["nonce"]})
    assert_welcome(messages, authid="a=b,c", method="wamp-scram")


@pytest.mark.cites("advanced.authentication_scram.4")
def test_a_name_is_normalized_in_what_scram_signs():
    """RFC 4013: the soft hyphen maps to nothing, and composed letters are meant."""
    raw, prepared = "pe\u00adte\u0301r", "pet\u00e9r"
    odd = type(peter())(name=raw, realm="realm1", role="dev", scram=peter().scram)
    client = client_of(only=Users([odd]))
    for signed_name in (raw, prepared):
        extra = challenged(client, "wamp-scram", name=raw, nonce=NONCE)
        proof, _ = scram_proof(signed_name, extra)
        messages = answer(client, proof, {"nonce": extra["nonce"]})
        if signed_name == raw:
            assert_failed(client, messages)
            client = again(client)
    assert_welcome(messages, authid=raw, method="wamp-scram")


def test_scram_as_autobahn_speaks_it():
    client = client_of()
    autobahn = AuthScram(authid="peter", password=PASSWORD)
    extra = challenged(client, "scram", **autobahn.authextra)
    signature = autobahn.on_challenge(None, Challenge("scram", extra)).decode()
    details = assert_welcome(answer(client, signature), method="scram")
    log = SimpleNamespace(info=lambda text: None, error=lambda text: None)
    refusal = autobahn.on_welcome(SimpleNamespace(log=log), details["authextra"])
    assert refusal is None


@pytest.mark.parametrize(
    "change",
    [
        {"password": "wrong"},
        {"client_nonce": "AAAA"},
        {"sent": {}},
        {"sent": {"nonce": "egVDf3DMJh0=AAAA"}},
        {"sent": {"channel_binding": "tls-unique", "cbind_data": "AAAA"}},
        {"proof": "AAAA"},
        {"proof": "no base64"},
        {"proof": "é"},
    ],
)
@pytest.mark.cites("advanced.authentication_scram.13", "advanced.authentication_scram.16")
def test_a_wrong_answer_to_scram_fails(change):
    client = client_of()
    extra = challenged(client, "wamp-scram", nonce=NONCE)
    about = {key: value for key, value in change.items() if key in ("password", "client_nonce")}
    proof, _ = scram_proof("peter", extra, **about)
    sent = {"nonce": extra["nonce"], **change.get("sent", {})} if change.get("sent") != {} else {}
    assert_failed(client, answer(client, change.get("proof", proof), sent))


@pytest.mark.parametrize("method", ["scram", "wamp-scram"])
@pytest.mark.cites("advanced.authentication_scram.7")
def test_an_unknown_user_gets_a_challenge_of_scram_like_any_other(method):
    """WAMP #wamp-scram: with a salt that is always the same for an authid."""
    salts = set()
    client = client_of()
    for _ in range(2):
        client = again(client)
        known = challenged(client_of(), method, nonce=NONCE)
        extra = challenged(client, method, name="paul", nonce=NONCE)
        assert set(extra) == set(known)
        alike = ("kdf", "iterations", "memory")
        assert [extra[key] for key in alike] == [known[key] for key in alike]
        assert len(extra["salt"]) == len(known["salt"])
        salts.add(extra["salt"])
        proof = base64.b64encode(bytes(32)).decode()
        assert_failed(client, answer(client, proof, {"nonce": extra["nonce"]}))
    assert len(salts) == 1
    other = challenged(again(client), method, name="pauline", nonce=NONCE)
    assert other["salt"] not in salts


@pytest.mark.cites("advanced.authentication_scram.2")
def test_nonces_of_the_server_differ():
    client = client_of()
    one = challenged(client, "wamp-scram", nonce=NONCE)["nonce"]
    two = challenged(again(client), "wamp-scram", nonce=NONCE)["nonce"]
    assert one != two
    assert len(base64.b64decode(one.removeprefix(NONCE))) == 16


# Cryptosign


@pytest.mark.parametrize("name", ["bot", None])
@pytest.mark.cites("advanced.authentication_cryptosign.1", "advanced.authentication_cryptosign.6")
def test_the_signature_of_a_known_key_opens_the_session(name):
    client = client_of(bot(ROBOT))
    extra = challenged(client, "cryptosign", name=name, pubkey=ROBOT)
    assert len(bytes.fromhex(extra["challenge"])) == 32
    assert extra["channel_binding"] is None
    signature = signed(extra["challenge"])
    messages = answer(client, signature)
    assert_welcome(messages, authid="bot", authrole="machine", method="cryptosign")


@pytest.mark.parametrize(
    ("private_key", "challenge", "signature"),
    [
        (
            PRIVATE_KEY,
            "ff" * 32,
            "b32675b221f08593213737bef8240e7c15228b07028e19595294678c90d11c0cae80a357331bfc5cc9fb7108"
            "1464e6e75013517c2cf067ad566a6b7b728e5d03" + "ff" * 32,
        ),
        (
            "d511fe78e23934b3dadb52fcd022974b80bd92bccc7c5cf404e46cc0a8a2f5cd",
            "b26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d",
            "d4209ad10d5aff6bfbc009d7e924795de138a63515efc7afc6b01b7fe5201372190374886a70207b042294af"
            "5bd64ce725cd8dceb344e6d11c09d1aaaf4d660f"
            "b26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d",
        ),
    ],
)
@pytest.mark.cites("advanced.authentication_cryptosign.2", "advanced.authentication_cryptosign.4")
def test_the_vectors_of_the_specification(private_key, challenge, signature):
    """WAMP #cryptosignauth, test vectors without a channel."""
    pubkey = pubkey_of(private_key)
    proof = CryptosignProof(bot(pubkey), pubkey, bytes.fromhex(challenge))
    assert proof.check(signature, {})
    assert not proof.check("00" + signature[2:], {})
    assert not proof.check(signature[:-2] + "00", {})
    assert not CryptosignProof(None, pubkey, bytes.fromhex(challenge)).check(signature, {})


@pytest.mark.cites("advanced.authentication_cryptosign.3", "advanced.authentication_cryptosign.8")
def test_the_vector_of_the_specification_with_a_channel():
    """WAMP #channelbinding: the message is the challenge XOR the channel ID."""
    pubkey = pubkey_of(PRIVATE_KEY)
    channel = bytes.fromhex("62e935ae755f3d48f80d4d59f6121358c435722a67e859cc0caa8b539027f2ff")
    signature = (
        "9b6f41540c9b95b4b7b281c3042fa9c54cef43c842d62ea3fd6030fcb66e70b3e80d49d44c29d1635da9348d02ec"
        "93f3ed1ef227dfb59a07b580095c2b82f80f"
        "9d16ca518aa0c2b707f2b2a609edeca73bca8dd59817a633f35574ac6fd80d00"
    )
    proof = CryptosignProof(bot(pubkey), pubkey, bytes.fromhex("ff" * 32), channel)
    assert proof.extra["channel_binding"] == "tls-unique"
    assert proof.check(signature, {})
    assert not CryptosignProof(bot(pubkey), pubkey, bytes.fromhex("ff" * 32)).check(signature, {})


@pytest.mark.parametrize("signature", ["", "xy", "00" * 96, "00" * 64])
@pytest.mark.parametrize("name", ["bot", "peter"])
@pytest.mark.cites("advanced.authentication_cryptosign.4")
def test_a_wrong_signature_of_cryptosign_fails(name, signature):
    client = client_of(bot(ROBOT))
    challenged(client, "cryptosign", name=name, pubkey=ROBOT)
    assert_failed(client, answer(client, signature))


@pytest.mark.parametrize("name", ["peter", None])
def test_a_key_that_is_not_the_users_fails_however_well_it_signs(name):
    client = client_of()
    extra = challenged(client, "cryptosign", name=name, pubkey=ROBOT)
    signature = signed(extra["challenge"])
    assert_failed(client, answer(client, signature))


# Which method


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["ticket", "wampcra"], "ticket"),
        (["wampcra", "ticket"], "wampcra"),
        (["anonymous", "ticket"], "ticket"),
        (["jwt", "tls", "wamp-scram", "ticket"], "wamp-scram"),
        (["cryptosign", "scram"], "scram"),
        (["x"] * 31 + ["ticket"], "ticket"),
    ],
)
def test_the_first_possible_method_is_taken(offered, chosen):
    challenged(client_of(), chosen, methods=offered, nonce=NONCE)


def test_a_method_for_which_the_user_has_nothing_is_passed_by():
    client = client_of(only=Users([peter(wampcra=False), mary()]))
    challenged(client, "ticket", methods=["wampcra", "ticket"])
    client = client_of(only=Users([peter(kdf="argon2id13"), bot("ab" * 32)]))
    ((_, method, _),) = hello(client, "cryptosign", "ticket", pubkey="cd" * 32)
    assert method == "ticket"


OFFERS = (
    ["wampcra", "ticket"],
    ["ticket", "wampcra"],
    ["scram", "ticket"],
    ["wamp-scram", "wampcra"],
    ["cryptosign", "scram", "ticket"],
)


def shown(users, name):
    """Return what the challenges show of a name, without what is chosen anew each time."""
    shown = []
    for offered in OFFERS:
        client = client_of(only=users)
        ((_, method, extra),) = hello(client, *offered, name=name, nonce=NONCE, pubkey="cd" * 32)
        kinds = (extra.get(key) for key in ("kdf", "iterations", "memory", "keylen"))
        shown.append((method, *kinds, "salt" in extra and len(extra["salt"])))
    return tuple(shown)


def salts(users, name):
    return [
        challenged(client_of(only=users), method, name=name, nonce=NONCE)["salt"]
        for method in ("wampcra", "scram", "wamp-scram")
    ]


def called(name, **more):
    salts = (b"0123456789abcdef", b"fedcba9876543210", "ab" * 16)
    return user_with_password(name, "realm1", "dev", PASSWORD, salts, **more)


@pytest.mark.parametrize(
    "more",
    [
        [],
        [called("plain")],
        [called("old", kdf="pbkdf2"), called("plain")],
        [called("plain"), bot("ab" * 32)],
    ],
    ids=["one kind", "two kinds", "three kinds", "a key only"],
)
def test_nobody_can_tell_from_challenges_who_exists(more):
    """Although users differ in the methods that they have, and a client may offer several."""
    there = Users([called("signer", wampcra=True), *more])
    of_users = {shown(there, user.name) for user in there.all}
    of_nobody = {shown(there, f"nobody{number}") for number in range(40)}
    assert len(of_users) == 1 + len(more)
    assert of_nobody == of_users


def test_what_nobody_looks_like_stays_the_same_whoever_is_added():
    before = Users([called("signer", wampcra=True), called("plain")])
    after = Users([called("new"), *before.all, called("other", wampcra=True)])
    names = [f"nobody{number}" for number in range(10)]
    assert [shown(before, name) for name in names] == [shown(after, name) for name in names]
    assert [salts(before, name) for name in names] == [salts(after, name) for name in names]


def test_the_worker_is_no_user_that_anybody_looks_like():
    worker = msgspec.structs.replace(bot("ab" * 32), name="fox.worker")
    there = Users([called("plain"), worker])
    assert {shown(there, f"nobody{number}") for number in range(20)} == {shown(there, "plain")}


@pytest.mark.parametrize(
    ("offered", "more"),
    [
        ([], {}),
        (["anonymous"], {}),
        (["jwt"], {}),
        (["x"] * 32 + ["ticket"], {}),
        (["ticket", "wampcra"], {"name": None}),
        (["scram", "wamp-scram"], {}),
        (["scram"], {"nonce": "no base64"}),
        (["scram"], {"nonce": "A" * 1000}),
        (["scram"], {"nonce": 7}),
        (["wamp-scram"], {"nonce": NONCE, "channel_binding": "tls-unique"}),
        (["cryptosign"], {}),
        (["cryptosign"], {"pubkey": "abcd"}),
    ],
)
@pytest.mark.cites("advanced.authentication_scram.6")
def test_if_no_method_is_possible_the_client_is_told_what_would_be(offered, more):
    client = client_of()
    ((kind, details, uri),) = hello(client, *offered, **more)
    assert (kind, uri) == (3, NO_MATCH)
    assert any(method in details["message"] for method in METHODS)


def test_a_client_of_an_open_realm_is_told_that_it_may_be_anonymous():
    client = client_of(anonymous=["realm1"])
    ((kind, details, uri),) = hello(client, "cookie")
    assert (kind, uri) == (3, NO_MATCH)
    assert "not open" not in details["message"]
    assert "anonymous" in details["message"]
    ((_, details, _),) = hello(client_of(), "cookie")
    assert "not open to anonymous clients" in details["message"]


def test_a_name_that_is_too_long_fails():
    client = client_of()
    assert_failed(client, hello(client, "ticket", name="x" * 256))


@pytest.mark.parametrize("offered", [[], ["anonymous"], ["anonymous", "ticket"]])
def test_a_realm_may_be_open_to_anonymous_clients_although_there_are_users(offered):
    client = client_of(anonymous=("realm1",))
    messages = hello(client, *offered)
    assert_welcome(messages, authid="anonymous", authrole="anonymous", method="anonymous")
    assert client.session.caller is None


def test_without_users_all_clients_are_anonymous():
    client = Client()
    messages = hello(client, "ticket", "anonymous")
    assert_welcome(messages, authid="anonymous", authrole="anonymous", method="anonymous")


# Order, time, limits


@pytest.mark.parametrize(
    "message",
    [[1, "realm1", {"roles": ROLES}], [6, {}, "wamp.close.normal"], [16, 1, {}, "a.b"], [5, "x"]],
)
@pytest.mark.cites("advanced.authentication.2")
def test_only_authenticate_is_legal_after_a_challenge(message):
    client = client_of()
    challenged(client, "ticket")
    ((kind, _, uri),) = client.send(message)
    assert (kind, uri) == (3, VIOLATION)
    assert client.hung_up == 1


@pytest.mark.parametrize("message", [[5, PASSWORD, {}], [16, 1, {}, "a.b"]])
def test_nothing_is_legal_while_a_password_is_checked(message):
    client = client_of()
    challenged(client, "ticket")
    assert client.send([5, PASSWORD, {}]) == []
    ((kind, _, uri),) = client.send(message)
    assert (kind, uri) == (3, VIOLATION)
    check_passwords(client.gateway)
    assert client.received() == []
    assert client.asked == []


@pytest.mark.parametrize("answered", [False, True])
def test_a_client_may_abort_the_handshake(answered):
    client = client_of()
    challenged(client, "ticket")
    if answered:
        client.send([5, PASSWORD, {}])
    assert client.send([3, {}, "wamp.close.normal"]) == []
    check_passwords(client.gateway)
    assert (client.received(), client.asked, client.hung_up) == ([], [], 1)


def test_a_connection_that_is_lost_while_a_password_is_checked_leaves_nothing():
    client = client_of()
    challenged(client, "ticket")
    client.send([5, PASSWORD, {}])
    client.session.connection_lost(client.gateway.now)
    check_passwords(client.gateway)
    assert (client.received(), client.asked) == ([], [])


@pytest.mark.parametrize("method", ["ticket", "wampcra", "wamp-scram", "scram"])
@pytest.mark.cites("advanced.authentication_scram.13")
def test_an_answer_must_come_in_time(method):
    client = client_of()
    challenged(client, method, nonce=NONCE)
    client.gateway.pass_time(10.0)
    ((kind, details, uri),) = client.received()
    assert (kind, uri) == (3, VIOLATION)
    assert details["message"] == "no right AUTHENTICATE came in 10 seconds"
    assert client.gateway.limit_counts.totals() == {"handshake_timeout": 1}


def test_a_user_removed_while_the_client_answers_does_not_get_in():
    client = client_of()
    challenged(client, "ticket")
    client.send([5, PASSWORD, {}])
    client.gateway.authentication.users = Users([mary()])
    check_passwords(client.gateway)
    assert_failed(client, client.received())


def test_an_address_with_too_many_failures_has_to_wait():
    client = client_of(settings=Auth(max_failures=3))
    for _ in range(3):
        challenged(client, "ticket")
        answer(client, "wrong")
        client = again(client)
    ((kind, details, uri),) = hello(client, "ticket")
    assert (kind, uri) == (3, FAILED)
    assert "too many attempts from this address" in details["message"]
    assert client.gateway.limit_counts.totals() == {"max_failures": 1}
    client.gateway.pass_time(20.0)
    client = again(client)
    challenged(client, "ticket")
    assert_welcome(answer(client, PASSWORD), method="ticket")
    assert client.gateway.authentication.failures == 3


def test_many_attempts_at_once_count_one_by_one():
    first = client_of(settings=Auth(max_failures=3))
    clients = [first, *(again(first) for _ in range(9))]
    for client in clients:
        challenged(client, "ticket")
    for client in clients:
        client.send([5, "wrong", {}])
    # Two at a time, so at most one more than is allowed.
    assert check_passwords(first.gateway) <= 4
    said = [message[1]["message"] for client in clients for message in client.received()]
    assert len(said) == 10
    assert said.count("the authentication failed") <= 4
    assert all(client.hung_up for client in clients)


def test_successes_do_not_count():
    client = client_of(settings=Auth(max_failures=1))
    for _ in range(5):
        challenged(client, "ticket")
        assert_welcome(answer(client, PASSWORD), method="ticket")
        client = again(client)


def test_a_client_that_only_asks_whether_it_must_log_in_has_not_failed():
    """As the dashboard does when it is opened, and requests over HTTP without Authorization."""
    client = client_of(settings=Auth(max_failures=1))
    for _ in range(5):
        ((kind, _, uri),) = hello(client, name=None)
        assert (kind, uri) == (3, NO_MATCH)
        client = again(client)
    challenged(client, "ticket")
    assert_welcome(answer(client, PASSWORD), method="ticket")
    assert client.gateway.authentication.failures == 0


def test_only_so_many_passwords_wait():
    client = client_of(settings=Auth(max_waiting=2))
    for _ in range(2):
        challenged(client, "ticket")
        assert client.send([5, PASSWORD, {}]) == []
        client = again(client)
    challenged(client, "ticket")
    ((kind, _, uri),) = client.send([5, PASSWORD, {}])
    assert (kind, uri) == (3, "wamp.error.unavailable")
    assert client.gateway.limit_counts.totals() == {"max_waiting": 1}

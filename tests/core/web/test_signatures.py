"""Signed requests, as Crossbar's clients send them."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from web_sessions import WALL, FakeSessions, client, request

from fox_shard.runtime.signing_keys import SigningKeysFileError, read_signing_keys
from fox_shard.web import make_app
from fox_shard.web.context import Limits
from fox_shard.web.problems import Problem
from fox_shard.web.sessions import Visitor
from fox_shard.web.signatures import Signatures, SigningKey

SECRET = "kkjH68GiuUZkkjH68GiuUZ"
KEY = SigningKey(key="myapp", secret=SECRET, user="ann", password="pw", realm="other")
BODY = b'{"topic": "com.example.a"}'


def signed(body=BODY, at=WALL, secret=SECRET, nonce="5", key="myapp"):
    """Return the parameters, computed as crossbarconnect does."""
    timestamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    mac = hmac.new(secret.encode(), None, hashlib.sha256)
    for part in (key, timestamp, "1", nonce):
        mac.update(part.encode())
    mac.update(body)
    signature = base64.urlsafe_b64encode(mac.digest()).decode()
    fields = {"key": key, "timestamp": timestamp, "seq": "1", "nonce": nonce}
    return {**fields, "signature": signature}


def refused(query, body=BODY, signatures=None, wall=WALL):
    with pytest.raises(Problem) as refusal:
        (signatures or Signatures([KEY])).signer(query, body, wall)
    return refusal.value.status


def test_a_signed_request_is_carried_out_by_the_user_of_the_key():
    sessions = FakeSessions()
    app = make_app(sessions, Limits(), lambda: WALL, [KEY])
    headers = {"content-type": "application/json"}

    async def run():
        async with client(sessions, app=app) as http:
            url = "/api/publish"
            first = await http.post(url, content=BODY, params=signed(), headers=headers)
            again = await http.post(url, content=BODY, params=signed(), headers=headers)
            plain = await http.post(url, content=BODY, headers=headers)
            return first.status_code, again.status_code, plain.status_code

    assert asyncio.run(run()) == (200, 401, 200)
    visitors = [Visitor("other", "127.0.0.1", "ann", "pw"), Visitor("realm1", "127.0.0.1")]
    assert sessions.visitors == visitors


def test_without_keys_the_parameters_mean_nothing():
    sessions = FakeSessions()
    answer = request(sessions, "POST", "/api/publish", json=json.loads(BODY), params=signed())
    assert answer.status_code == 200
    assert sessions.visitors[0].name == ""


def test_what_was_changed_is_refused():
    assert refused(signed(), BODY + b" ") == 401
    assert refused(signed(secret=SECRET + "x")) == 401
    assert refused(signed(key="other")) == 401
    assert refused({**signed(), "seq": "2"}) == 401
    assert refused({**signed(), "signature": "é"}) == 401
    for field in ("key", "timestamp", "seq", "nonce"):
        assert refused({**signed(), field: ""}) == 400
    assert refused({**signed(), "timestamp": "yesterday"}) == 400


def test_a_signature_is_good_once_and_for_a_while():
    signatures = Signatures([KEY])
    assert signatures.signer(signed(), BODY, WALL) == KEY
    assert refused(signed(), signatures=signatures) == 401
    assert signatures.signer(signed(nonce="6"), BODY, WALL) == KEY
    assert refused(signed(), signatures=signatures, wall=WALL + 299) == 401
    for seconds in (-301, 301):
        assert refused(signed(at=WALL + seconds)) == 401


def test_no_more_signatures_are_remembered_than_allowed(monkeypatch):
    monkeypatch.setattr("fox_shard.web.signatures.MOST", 3)
    signatures = Signatures([KEY])
    for nonce in "123":
        signatures.signer(signed(nonce=nonce), BODY, WALL)
    assert refused(signed(nonce="4"), signatures=signatures) == 503
    later = WALL + 601
    assert signatures.signer(signed(nonce="4", at=later), BODY, later) == KEY


TOML = """
[[key]]
key = "myapp"
secret = "kkjH68GiuUZkkjH68GiuUZ"
user = "ann"
password = "pw"
realm = "other"
"""


def test_keys_are_read_from_a_file_that_only_its_owner_can_read(tmp_path):
    path = tmp_path / "web-keys.toml"
    assert read_signing_keys("") == ()
    path.write_text(TOML)
    path.chmod(0o644)
    with pytest.raises(SigningKeysFileError, match="has the mode 0644"):
        read_signing_keys(str(path))
    path.chmod(0o600)
    assert read_signing_keys(str(path)) == (KEY,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("key = 1", "Expected `array`"),
        (TOML.replace("kkjH68GiuUZkkjH68GiuUZ", "short"), "length >= 16"),
        (TOML + TOML, "two keys of one name"),
        ("[", "Cannot read web.keys"),
    ],
)
def test_a_file_with_a_mistake_is_refused(tmp_path, text, why):
    path = tmp_path / "web-keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SigningKeysFileError, match=why):
        read_signing_keys(str(path))
    with pytest.raises(SigningKeysFileError, match="No such file"):
        read_signing_keys(str(tmp_path / "none"))

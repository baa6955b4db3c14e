"""The requests of webhooks, as another implementation of Standard Webhooks reads them."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks

from fox_shard.config.webhook import key_of
from fox_shard.errors import InvalidPayload
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS
from fox_shard.worker.webhooks.message import body_of, headers_of, published_at

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + b64encode(bytes(range(1, 33))).decode()
PUBLICATION = 64 * 131072 * 60 + 3


def now():
    return datetime.now(UTC)


def sent(*secrets, wall=None, args=(1,), kwargs=()):
    body = body_of("realm1", "a.b", PUBLICATION, list(args), dict(kwargs))
    wall = now().timestamp() if wall is None else wall
    return dict(headers_of(PUBLICATION, wall, body, [key_of(one) for one in secrets])), body


def test_a_request_is_verified_by_another_implementation():
    headers, body = sent(SECRET)
    assert standardwebhooks.Webhook(SECRET).verify(body, headers) == json.loads(body)
    assert headers["webhook-id"] == str(PUBLICATION)
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_while_secrets_are_exchanged_each_of_them_verifies(secret):
    headers, body = sent(SECRET, OTHER)
    standardwebhooks.Webhook(secret).verify(body, headers)


def test_another_secret_does_not_verify():
    headers, body = sent(SECRET)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(body, headers)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_the_time_is_that_of_the_try(seconds):
    headers, body = sent(SECRET, wall=(now() + timedelta(seconds=seconds)).timestamp())
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(body, headers)


def test_without_a_secret_there_is_no_signature():
    assert "webhook-signature" not in sent()[0]


def test_the_body_tells_what_was_published_where_and_when():
    _, body = sent(args=["ä", 2.5, None, b"\0\1"], kwargs={"n": [1]})
    assert json.loads(body) == {
        "type": "a.b",
        "timestamp": "2024-01-01T00:01:00.000Z",
        "id": PUBLICATION,
        "realm": "realm1",
        "data": {"args": ["ä", 2.5, None, "\0AAE="], "kwargs": {"n": [1]}},
    }


def test_an_event_without_arguments_has_empty_ones():
    assert json.loads(body_of("r", "a", 64, [], {}))["data"] == {"args": [], "kwargs": {}}


def test_what_json_cannot_have_is_refused():
    with pytest.raises(InvalidPayload):
        body_of("r", "a", 64, [{None: 2}], {})


def test_a_publication_says_when_it_was():
    assert published_at(SHARDS * TICKS * 5) == EPOCH + 5


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "whsec_!!!", "ä", SECRET + "!"])
def test_a_secret_that_is_none_is_told_without_showing_it(secret):
    with pytest.raises(ValueError, match="24 to 64 random bytes in base64"):
        key_of(secret)

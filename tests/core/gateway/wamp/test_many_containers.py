"""A message of too many lists and maps costs its sender one request, and the gateway no memory."""

import pytest
from wamp_client import ALL, ENCODE, Client, joined

from fox_shard.config import Gateway as Settings
from fox_shard.documents.containers import CONTAINER_LIMIT
from fox_shard.gateway.wamp.unread import SURELY_FEW

JSON, MSGPACK, CBOR = ALL
MOST = SURELY_FEW


def lists(count):
    """Return that many lists in one."""
    return [[]] * (count - 1)


def maps(count):
    return {str(number): {} for number in range(count - 1)}


def sends(name, message, **settings):
    client = joined(name, max_containers=MOST, **settings)
    client.session.next_invocation = 9
    return client, client.send_bytes(ENCODE[name](message))


TOO_MANY = [
    (16, 9, {"acknowledge": True}, "a", lists(MOST)),
    (16, 9, {"acknowledge": True}, "a", [], maps(MOST)),
    (16, 9, {"acknowledge": True}, "a", lists(MOST // 2), maps(MOST // 2)),
    (16, 9, {"acknowledge": True, "x": lists(MOST)}, "a"),
    (16, 9, {"acknowledge": True, "exclude": lists(MOST)}, "a"),
    (32, 9, {"x": lists(MOST)}, "a"),
    (34, 9, lists(MOST)),
    (48, 9, {}, "a", lists(MOST)),
    (48, 9, {"x": maps(MOST)}, "a"),
    (49, 9, {"x": lists(MOST)}),
    (64, 9, {"x": lists(MOST)}, "a"),
    (66, 9, lists(MOST)),
]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("message", TOO_MANY)
def test_a_request_of_too_many_lists_gets_an_error(name, message):
    client, (answer,) = sends(name, message)
    assert answer[:2] == [8, message[0]]
    assert answer[2:5:2] == [9, "fox.error.invalid_payload"]
    assert answer[5] == ["the message has more than 1,000 lists and maps (gateway.max_containers)"]
    assert client.gateway.limit_counts.totals() == {"max_containers": 1}
    assert client.send([16, 2, {}, "com.example", [1]]) == []
    assert [asked[0] for asked in client.asked] == ["publish"]


@pytest.mark.parametrize("name", ALL)
def test_a_publish_of_too_many_lists_without_acknowledgement_is_counted_only(name):
    client, answers = sends(name, (16, 9, {"acknowledge": False}, "a", lists(MOST)))
    assert answers == []
    assert client.gateway.limit_counts.totals() == {"max_containers": 1}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("message", [(70, 9, {}, lists(MOST)), (8, 68, 9, {}, "a.b", lists(MOST))])
def test_an_answer_of_too_many_lists_fails_its_call(name, message):
    client, _ = sends(name, message)
    ((kind, request, uri, *_),) = client.asked
    assert (kind, request, uri) == ("invocation_error", 9, "fox.error.invalid_payload")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "message",
    [(1, "realm1", {"roles": {}, "x": lists(MOST)}), (1, "realm1", lists(MOST))],
)
def test_a_hello_of_too_many_lists_ends_its_connection(name, message):
    client = Client(name, max_containers=MOST)
    (answer,) = client.send(message)
    assert answer[0::2] == [3, "wamp.error.protocol_violation"]
    assert client.hung_up == 1


@pytest.mark.parametrize("name", ALL)
def test_a_message_has_as_many_as_the_setting_says(name):
    # The message is a list, and its options are a map.
    client, answers = sends(name, (16, 9, {"acknowledge": True}, "a", lists(MOST - 2)))
    assert answers == []
    assert [asked[0] for asked in client.asked] == ["publish"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "text", ["[" * 5000, '\\"[{' * 5000, "ä" * 5000, "€" * 5000, "\u0791" * 5000]
)
def test_texts_may_have_whatever_begins_a_list(name, text):
    client, answers = sends(name, (16, 9, {"acknowledge": True}, "a", [text, {text: text}]))
    assert answers == []
    assert len(client.asked) == 1


@pytest.mark.parametrize("name", [MSGPACK, CBOR])
def test_bytes_may_have_whatever_begins_a_list(name):
    blob = bytes(range(256)) * 100
    client, answers = sends(name, (16, 9, {"acknowledge": True}, "a", [blob, blob[:200]]))
    assert answers == []
    assert len(client.asked) == 1


def test_tags_count_in_cbor():
    head = b"\x85\x10\x09\xa1\x6backnowledge\xf5\x61a"
    for tagged in (b"\xc1\x01", b"\xd8\x20\x60", b"\xd9\xd9\xf7\x01"):
        client = joined(CBOR, max_containers=MOST)
        (answer,) = client.send_bytes(head + b"\x99" + MOST.to_bytes(2) + tagged * MOST)
        assert answer[2:5:2] == [9, "fox.error.invalid_payload"]


@pytest.mark.parametrize("size", [b"\x9a\x7f\xff\xff\xff", b"\x9b" + b"\x7f" * 8])
def test_a_declared_length_costs_nothing(size):
    client = joined(CBOR)
    (answer,) = client.send_bytes(b"\x85\x10\x01\xa0\x61a" + size * 100)
    assert answer[0::2] == [3, "wamp.error.protocol_violation"]


def test_the_default_is_that_of_mqtt_payloads():
    assert Settings().max_containers == CONTAINER_LIMIT

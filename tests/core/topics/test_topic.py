"""Topic names: the exchange of slash and dot, legal names, reserved topics, sequences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.errors import InvalidUri, ProtocolViolation
from fox_shard.topics.topic import (
    SEQUENCE_LENGTH,
    check_mqtt_topic,
    check_topic,
    in_sequence,
    is_in_sequence,
    is_reserved,
    mqtt_deliverable,
    to_mqtt,
    to_wamp,
)


@pytest.mark.parametrize(
    ("mqtt", "wamp"),
    [
        ("a", "a"),
        ("a/b", "a.b"),
        ("a.b", "a/b"),
        ("a/b.c", "a.b/c"),
        ("/", "."),
        ("/a//b/", ".a..b."),
        ("$SYS/broker/uptime", "$SYS.broker.uptime"),
        ("living room/lamp", "living room.lamp"),
    ],
)
def test_slash_and_dot_change_places(mqtt, wamp):
    assert to_wamp(mqtt) == wamp
    assert to_mqtt(wamp) == mqtt


@given(st.text(st.sampled_from("ab./\0é")))
def test_the_exchange_is_its_own_inverse_and_loses_nothing(name):
    assert to_wamp(name) == to_mqtt(name)
    assert to_mqtt(to_wamp(name)) == name


@pytest.mark.parametrize(
    "uri",
    [
        "a",
        "com.myapp.topic",
        "com.my-app.t+o*p",
        "été.ü",
        "a/b.c",
        "*",
        "a.$b",
        "x.wamp",
        "wamps.a",
    ],
)
@pytest.mark.cites("basic.building_blocks.4")
def test_loose_uris_are_topics(uri):
    check_topic(uri)


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("", "WAMP #uris: at least one component"),
        (".", "WAMP #uris: empty component"),
        ("a..b", "WAMP #uris: empty component"),
        (".a", "WAMP #uris: empty component"),
        ("a.", "WAMP #uris: empty component"),
        ("a b", "WAMP #uris: white space"),
        ("a\n", "WAMP #uris: white space"),
        ("a\u2003b", "WAMP #uris: white space"),
        ("a.#", "WAMP #uris: '#'"),
        ("a#b", "WAMP #uris: '#'"),
        ("a\0b", "MQTT-4.7.3-2"),
    ],
)
@pytest.mark.cites("basic.building_blocks.3", "basic.building_blocks.4")
def test_uris_that_break_the_loose_rule_are_refused(uri, source):
    with pytest.raises(InvalidUri):
        check_topic(uri, reserved_ok=True)


@pytest.mark.parametrize("uri", ["wamp", "wamp.session.count", "fox", "fox.x", "$SYS.x", "$", "$a"])
@pytest.mark.cites("basic.building_blocks.5")
def test_reserved_topics_are_refused_unless_allowed(uri):
    with pytest.raises(InvalidUri, match="reserved"):
        check_topic(uri)
    check_topic(uri, reserved_ok=True)


@pytest.mark.parametrize(
    ("uri", "reserved"),
    [
        ("wamp", True),
        ("wamp.", True),
        ("wamp.a", True),
        ("fox.a.b", True),
        ("$", True),
        ("$SYS.a", True),
        ("$share/x", True),
        ("", False),
        ("wam", False),
        ("wamper", False),
        ("wamp/a", False),
        ("foxes.a", False),
        ("a.wamp", False),
        ("a.$b", False),
        (".wamp", False),
    ],
)
def test_the_first_component_alone_makes_a_topic_reserved(uri, reserved):
    assert is_reserved(uri) is reserved


@pytest.mark.parametrize("name", ["a", "/", "a b", "//", "é" * 32767 + "x", "$SYS/x", "a*b"])
def test_an_mqtt_topic_name_may_contain_almost_anything(name):
    check_mqtt_topic(name)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("", "MQTT-4.7.3-1"),
        ("a\0", "MQTT-4.7.3-2"),
        ("a" * 65536, "MQTT-4.7.3-3"),
        ("é" * 32768, "MQTT-4.7.3-3"),
        ("a/+", "MQTT-3.3.2-2"),
        ("a+", "MQTT-3.3.2-2"),
        ("#", "MQTT-3.3.2-2"),
    ],
)
def test_an_invalid_mqtt_topic_name_ends_the_connection(name, source):
    with pytest.raises(ProtocolViolation) as caught:
        check_mqtt_topic(name)
    assert caught.value.reason == 0x90


@pytest.mark.parametrize(
    ("uri", "deliverable"),
    [
        ("a.b", True),
        ("a b..", True),
        ("a.+", False),
        ("a+b", False),
        ("#", False),
        ("a" * 65535, True),
        ("a" * 65536, False),
        ("é" * 32768, False),
    ],
)
def test_only_valid_mqtt_topic_names_are_deliverable_to_mqtt(uri, deliverable):
    assert mqtt_deliverable(uri) is deliverable


# Sequences


@pytest.mark.parametrize(
    ("publication", "name"),
    [(1, "a.b.~0000000000000001"), ((1 << 53) - 1, "a.b.~9007199254740991")],
)
def test_a_sequence_key_is_named_after_its_publication_id(publication, name):
    assert in_sequence("a.b", publication) == name
    assert len(name) == len("a.b") + SEQUENCE_LENGTH
    assert is_in_sequence(name)
    check_topic(name)


@given(st.lists(st.integers(0, (1 << 53) - 1)))
def test_the_keys_of_a_sequence_sort_by_publication_id(publications):
    names = [in_sequence("é", number) for number in publications]
    assert sorted(names) == [in_sequence("é", number) for number in sorted(publications)]


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "a",
        "a.b",
        ".~0000000000000001",
        "a.~000000000000001",
        "a.0000000000000001",
        "a~0000000000000001",
        "a.~00000000000000x1",
        "a.~000000000000001x",
        "a.~00000000000000-1",
        "a.~000000000000000٣",
        "a.~000000000000000²",
        "a.~0000000000000001.b",
    ],
)
def test_a_topic_that_does_not_end_in_a_sequence_number_is_in_no_sequence(topic):
    assert not is_in_sequence(topic)

"""paho-mqtt clients of MQTT 3.1 and 3.1.1, over TCP and WebSocket."""

import socket
from itertools import product

import pytest
from mqtt_peers import PATIENCE, TRIES, MQTTv31, MQTTv311, Refused

TRANSPORTS = ["tcp", "websockets"]
LEVELS = [pytest.param(MQTTv31, id="3.1"), pytest.param(MQTTv311, id="3.1.1")]
REFUSED_REALM = 5


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return request.param


@pytest.fixture(params=LEVELS)
def protocol(request):
    return request.param


def test_messages_go_both_ways_in_every_quality_of_service(mqtt, transport, protocol):
    options = {"transport": transport, "protocol": protocol}
    publisher = mqtt.connect("qos-publisher", gateway=0, **options)
    expected = []
    subscribers = []
    for granted in (0, 1, 2):
        subscriber = mqtt.connect(f"qos-subscriber-{granted}", gateway=1, **options)
        assert subscriber.subscribe("qos/topic", qos=granted) == [granted]
        subscribers.append(subscriber)
    for number in range(30):
        payload = f"{number} \0ä".encode()
        publisher.publish("qos/topic", payload, qos=number % 3)
        expected.append((payload, number % 3))
    for granted, subscriber in enumerate(subscribers):
        got = subscriber.take(30)
        wanted = [("qos/topic", payload, min(qos, granted), False) for payload, qos in expected]
        # paho hands over a message of quality of service 2 when it is released, so order is
        # promised within each quality only [MQTT-4.6.0-6].
        for quality in (0, 1, 2):
            assert [one for one in got if one[2] == quality] == [
                one for one in wanted if one[2] == quality
            ]


def test_a_burst_of_every_quality_arrives_complete_and_in_order(mqtt, transport):
    publisher = mqtt.connect("burst-publisher", gateway=0, transport=transport)
    subscriber = mqtt.connect("burst-subscriber", gateway=1, transport=transport)
    subscriber.subscribe("burst/#", qos=2)
    for qos in (0, 1, 2):
        infos = [publisher.client.publish(f"burst/{qos}", str(n), qos) for n in range(1000)]
        got = subscriber.take(1000)
        assert got == [(f"burst/{qos}", b"%d" % n, qos, False) for n in range(1000)]
        for info in infos:
            info.wait_for_publish(PATIENCE)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_payload_of_a_megabyte_arrives(mqtt, transport, qos):
    publisher = mqtt.connect("large-publisher", gateway=0, transport=transport)
    subscriber = mqtt.connect("large-subscriber", gateway=1, transport=transport)
    subscriber.subscribe("large/topic", qos=qos)
    payload = bytes(range(256)) * 4096
    publisher.publish("large/topic", payload, qos)
    assert subscriber.take(1) == [("large/topic", payload, qos, False)]


def test_an_empty_payload_arrives(mqtt):
    client = mqtt.connect("empty")
    client.subscribe("empty/topic")
    client.publish("empty/topic")
    assert client.take(1) == [("empty/topic", b"", 0, False)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_retained_message_awaits_new_subscribers_until_it_is_erased(mqtt, protocol, qos):
    """[MQTT-3.3.1-5] to [MQTT-3.3.1-12]."""
    topic = f"kept/{protocol}/{qos}"
    publisher = mqtt.connect("kept-publisher", gateway=0, protocol=protocol)
    early = mqtt.connect("kept-early", gateway=1, protocol=protocol)
    early.subscribe(topic, qos=2)
    publisher.publish(topic, "old", qos, retain=True)
    publisher.publish(topic, "kept", qos, retain=True)
    assert early.take(2) == [(topic, b"old", qos, False), (topic, b"kept", qos, False)]

    late = mqtt.connect("kept-late", gateway=1, protocol=protocol)
    late.subscribe(topic, qos=2)
    assert late.take(1) == [(topic, b"kept", qos, True)]
    # Subscribing again replaces the subscription and sends the keys again [MQTT-3.8.4-3].
    late.subscribe(topic, qos=0)
    assert late.take(1) == [(topic, b"kept", 0, True)]

    publisher.publish(topic, "", qos, retain=True)
    assert late.take(1) == [(topic, b"", 0, False)]
    latest = mqtt.connect("kept-latest", gateway=0, protocol=protocol)
    latest.subscribe(topic, qos=2)
    publisher.publish(topic, "end", 1)
    assert latest.take(1) == [(topic, b"end", 1, False)]


def test_a_wildcard_subscription_gets_all_matching_retained_messages(mqtt):
    publisher = mqtt.connect("kept-many-publisher", gateway=0)
    topics = [f"keptmany/{number}/x" for number in range(50)]
    for topic in topics:
        publisher.publish(topic, topic, qos=1, retain=True)
    subscriber = mqtt.connect("kept-many-subscriber", gateway=1)
    subscriber.subscribe("keptmany/+/x", qos=1)
    got = subscriber.take(50)
    assert sorted(got) == sorted((topic, topic.encode(), 1, True) for topic in topics)


@pytest.mark.parametrize(
    ("filter_", "matching", "others", "source"),
    [
        ("w1/+", ["w1/a", "w1/"], ["w1", "w1/a/b"], "MQTT-4.7.1-3"),
        ("w2/#", ["w2", "w2/a", "w2/a/b", "w2//b"], ["w22/a"], "MQTT-4.7.1-2"),
        ("w3/+/c/+", ["w3/b/c/d", "w3//c/"], ["w3/b/c", "w3/b/x/d"], "MQTT-4.7.1-3"),
        ("/w4/+", ["/w4/a"], ["w4/a"], "MQTT-4.7.3-1"),
        ("w5/a", ["w5/a"], ["w5/A", "w5/a/", "/w5/a"], "MQTT-4.7.3-4"),
        ("w6/+/#", ["w6/a", "w6/a/b/c"], ["w6"], "MQTT-4.7.1-2"),
        ("w7/ä €/+", ["w7/ä €/𝄞"], ["w7/a €/x"], "MQTT-4.7.3-1"),
    ],
)
def test_a_filter_gets_the_topics_it_matches(mqtt, filter_, matching, others, source):
    publisher = mqtt.connect("wildcard-publisher", gateway=0)
    subscriber = mqtt.connect("wildcard-subscriber", gateway=1)
    subscriber.subscribe(filter_, "wildcard/end")
    for topic in [*others, *matching, "wildcard/end"]:
        publisher.publish(topic, topic)
    assert [topic for topic, _, _ in subscriber.until("wildcard/end")] == matching


def test_overlapping_subscriptions_deliver_once_in_the_best_quality(mqtt):
    """[MQTT-3.3.5-1]."""
    client = mqtt.connect("overlapping")
    assert client.subscribe(("over/#", 0), ("over/+", 2), ("over/a", 1)) == [0, 2, 1]
    client.publish("over/a", "x", qos=2)
    client.publish("over/end", "y", qos=2)
    assert client.until("over/end") == [("over/a", b"x", 2)]


def test_an_unsubscribed_filter_gets_no_messages_and_the_others_go_on(mqtt):
    client = mqtt.connect("unsubscribing")
    client.subscribe("unsub/a", "unsub/b")
    client.unsubscribe("unsub/a", "never/subscribed")
    client.publish("unsub/a", "a")
    client.publish("unsub/b", "b")
    assert client.take(1) == [("unsub/b", b"b", 0, False)]


@pytest.mark.parametrize(("qos", "retain"), [*product([0, 1, 2], [False, True])])
def test_a_will_goes_out_when_the_socket_is_cut(mqtt, transport, qos, retain):
    """[MQTT-3.1.2-8] to [MQTT-3.1.2-17]."""
    topic = f"will/{transport}/{qos}/{retain}"
    watcher = mqtt.connect("will-watcher", gateway=0)
    watcher.subscribe(topic, qos=2)
    will = {"topic": topic, "payload": b"gone\0", "qos": qos, "retain": retain}
    mortal = mqtt.connect("will-mortal", gateway=1, transport=transport, will=will)
    mortal.cut()
    assert watcher.take(1) == [(topic, b"gone\0", qos, False)]
    late = mqtt.connect("will-late", gateway=1)
    late.subscribe(topic, "will/end", qos=2)
    late.publish("will/end", None, 2)
    assert late.until("will/end") == ([(topic, b"gone\0", qos)] if retain else [])
    watcher.publish(topic, "", retain=True)


def test_no_will_goes_out_after_disconnect(mqtt):
    """[MQTT-3.14.4-3]."""
    watcher = mqtt.connect("nowill-watcher", gateway=0)
    watcher.subscribe("nowill/#")
    leaving = mqtt.connect("nowill-leaving", gateway=0, will={"topic": "nowill/will"})
    leaving.close()
    again = mqtt.connect("nowill-again", gateway=0)
    again.publish("nowill/end")
    assert watcher.take(1) == [("nowill/end", b"", 0, False)]


def test_a_silent_client_is_cut_off_and_its_will_goes_out(mqtt, cluster):
    """[MQTT-3.1.2-24]: the client is cut off after one and a half keep-alive intervals."""
    watcher = mqtt.connect("silent-watcher", gateway=0)
    watcher.subscribe("silent/will")
    connect = b"\x10\x24\x00\x04MQTT\x04\x06\x00\x01\x00\x06silent\x00\x0bsilent/will\x00\x03hem"
    with socket.create_connection(("127.0.0.1", cluster.mqtt), PATIENCE) as silent:
        silent.sendall(connect)
        assert silent.recv(4) == b"\x20\x02\x00\x00"
        assert silent.recv(1) == b""
    assert watcher.take(1) == [("silent/will", b"hem", 0, False)]


def test_a_client_that_pings_stays(mqtt):
    client = mqtt.connect("pinging", keepalive=4)
    other = mqtt.connect("pinging-other")
    # This is longer than one and a half intervals, but paho pings meanwhile.
    assert not client.lost.wait(7)
    client.subscribe("pinging/topic")
    other.publish("pinging/topic", "still here")
    assert client.take(1)[0][1] == b"still here"


def test_a_second_client_of_one_id_takes_over_also_from_another_gateway(mqtt):
    """[MQTT-3.1.4-2]."""
    missing = {"at the same gateway", "at the other one"}
    for _ in range(TRIES):
        older, newer = mqtt.connect("taken"), mqtt.connect("taken")
        assert older.lost.wait(PATIENCE)
        assert not newer.lost.is_set()
        same = newer.gateway == older.gateway
        missing.discard("at the same gateway" if same else "at the other one")
        newer.close()
        if not missing:
            return
    raise AssertionError(f"the second client never landed {missing}")


@pytest.mark.parametrize("clean", [True, False])
def test_no_session_is_present(mqtt, clean):
    client = mqtt.connect("presence", clean=clean)
    assert client.flags.session_present is False
    client.subscribe("presence/topic", qos=1)
    client.close()
    again = mqtt.connect("presence", clean=clean)
    assert again.flags.session_present is False
    again.publish("presence/topic", "for nobody", qos=1)
    again.subscribe("presence/end")
    again.publish("presence/end")
    assert again.take(1) == [("presence/end", b"", 0, False)]


def test_an_unknown_realm_is_refused_and_the_default_one_may_be_named(mqtt):
    with pytest.raises(Refused) as caught:
        mqtt.connect("realms", user="me@nowhere")
    assert caught.value.args[0].value in (REFUSED_REALM, 0x87)
    named = mqtt.connect("realm-named", user="me@realm1")
    unnamed = mqtt.connect("realm-unnamed", user="me")
    named.subscribe("realms/topic")
    unnamed.publish("realms/topic", "the same")
    assert named.take(1)[0][1] == b"the same"


def test_clients_without_an_id_are_told_apart(mqtt):
    """[MQTT-3.1.3-6]."""
    first, second = mqtt.connect(), mqtt.connect()
    first.subscribe("noid/topic")
    second.publish("noid/topic", "x")
    assert first.take(1)[0][1] == b"x"


def test_one_subscribe_may_have_many_filters(mqtt):
    client = mqtt.connect("many-filters")
    assert client.subscribe(*((f"mf/{n}", n % 3) for n in range(500))) == [
        n % 3 for n in range(500)
    ]
    for number in (0, 250, 499):
        client.publish(f"mf/{number}", str(number), qos=2)
        assert client.take(1) == [(f"mf/{number}", b"%d" % number, number % 3, False)]


@pytest.mark.parametrize("topic", ["$SYS/x", "wamp/x", "fox/x"])
def test_clients_cannot_publish_to_reserved_topics(mqtt, topic):
    """Such a publish is dropped and acknowledged, because MQTT 3.1.1 cannot refuse it."""
    client = mqtt.connect("reserved")
    client.subscribe(topic, "reserved/end", qos=1)
    client.publish(topic, "x", qos=1)
    client.publish("reserved/end", qos=1)
    assert client.until("reserved/end") == []

"""With `slow_consumer = "drop"`, a client that reads too slowly loses events, and nothing else."""

import pytest

from fox_shard.config import Gateway as Settings
from fox_shard.config import History
from fox_shard.gateway.clients.limited_lines import FIRST
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World


def world(policy="drop", **settings):
    return World(
        7,
        gateways=1,
        shards=2,
        settings=Settings(slow_consumer=policy, **settings),
        history=(History(topic="h.", match="prefix"),),
    )


@pytest.fixture
def made():
    return world()


def opened(made):
    client = WampClient(made, 0)
    made.run_until(lambda: client.session)
    return client


def subscribed(made, topic="a.", match="prefix", client=None, **options):
    """Return a client with one more subscription."""
    client = client or opened(made)
    request = client.subscribe(topic, match=match, **options)
    made.run_until(lambda: client.answer(33, request))
    return client


def subscribed_mqtt(made, filter_="a/#", qos=0):
    client = MqttClient(made, 0)
    made.run_until(lambda: client.connected)
    client.subscribe(filter_, qos=qos)
    made.run_until(lambda: client.subscribed)
    return client


def connection_of(made, client):
    return made.gateway(0).sessions[client.wire.session].connection


def fall_behind(made, *clients):
    for client in clients:
        made.gateway(0).fell_behind(connection_of(made, client))


def catch_up(made, *clients):
    for client in clients:
        made.gateway(0).caught_up(connection_of(made, client))


def publish(made, topic, *values, **options):
    publisher = opened(made)
    for value in values:
        publisher.publish(topic, value, **options)
    made.run(1)


def dropped(made):
    return made.gateway(0).limit_counts.totals().get("slow_consumer", 0)


def queueing(made):
    return made.gateway(0).realms["realm1"].queueing


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exclude_authrole": ["nobody"]},
        {"acknowledge": True},
        {"retain": True},
        {"disclose_me": True},
    ],
)
def test_a_client_that_is_behind_gets_no_events_until_it_has_caught_up(options, made):
    slow, slow_mqtt, other = subscribed(made), subscribed_mqtt(made), subscribed(made)
    publish(made, "a.b", 1, **options)
    fall_behind(made, slow, slow_mqtt)
    publish(made, "a.b", 2, 3, **options)
    publish(made, "a.c", 4, **options)
    assert dropped(made) == 6
    catch_up(made, slow, slow_mqtt)
    publish(made, "a.b", 5, **options)
    assert other.events == [1, 2, 3, 4, 5]
    assert slow.events == [1, 5]
    assert slow_mqtt.payloads == [b"1", b"5"]
    assert dropped(made) == 6
    assert not queueing(made)


def test_with_the_other_policy_nothing_is_dropped():
    made = world("disconnect")
    slow = subscribed(made)
    fall_behind(made, slow)
    publish(made, "a.b", 1, 2)
    catch_up(made, slow)
    assert slow.events == [1, 2]
    assert dropped(made) == 0


def test_a_run_of_events_is_dropped(made):
    slow, other = subscribed_mqtt(made), subscribed_mqtt(made)
    publisher = MqttClient(made, 0)
    made.run_until(lambda: publisher.connected)
    fall_behind(made, slow)
    with publisher.wire.together():
        for number in range(50):
            publisher.publish("a/b", b"%d" % number)
    made.run(1)
    assert other.payloads == [b"%d" % number for number in range(50)]
    assert slow.payloads == []
    assert dropped(made) == 50


def test_answers_and_calls_are_not_dropped(made):
    slow = opened(made)
    registered = slow.register("p.q")
    made.run_until(lambda: slow.answer(65, registered))
    fall_behind(made, slow)
    publishing = slow.publish("a.b", 1, acknowledge=True)
    calling = slow.call("no.such")
    subscribing = slow.subscribe("a.b")
    caller = opened(made)
    caller.call("p.q", 1)
    made.run_until(
        lambda: slow.answer(17, publishing) and slow.answer(33, subscribing) and slow.of(68)
    )
    assert slow.of(8)[0][2] == calling
    assert dropped(made) == 0


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_at_quality_of_service_1_and_2_are_not_dropped(qos, made):
    slow, publisher = subscribed_mqtt(made, qos=qos), MqttClient(made, 0)
    made.run_until(lambda: publisher.connected)
    fall_behind(made, slow)
    publisher.publish("a/b", b"1", qos)
    publisher.publish("a/b", b"2", 0)
    publisher.publish("a/b", b"3", qos)
    made.run(1)
    assert slow.payloads == [b"1", b"3"]
    assert dropped(made) == 1


def test_keys_that_a_client_asks_for_are_not_dropped(made):
    publish(made, "k.a", 1, retain=True)
    publish(made, "k.b", 2, retain=True)
    slow, slow_mqtt = opened(made), MqttClient(made, 0)
    made.run_until(lambda: slow_mqtt.connected)
    fall_behind(made, slow, slow_mqtt)
    slow.subscribe("k.", match="prefix", get_retained=True)
    slow_mqtt.subscribe("k/#")
    made.run(1)
    assert sorted(slow.events) == [1, 2]
    assert sorted(slow_mqtt.payloads) == [b"1", b"2"]
    assert dropped(made) == 0


def test_a_state_stream_misses_no_change(made):
    slow = subscribed(made, "k.", retained=True)
    fall_behind(made, slow)
    publish(made, "k.a", 1, 2, retain=True)
    publish(made, "k.a", retain=True)
    assert slow.events == [1, 2]
    publisher = opened(made)
    publisher.publish("k.a", retain=True)
    made.run(1)
    assert dropped(made) == 0


def test_a_follower_misses_no_event_whether_recorded_or_live(made):
    publish(made, "h.a", 1, 2)
    slow = opened(made)
    fall_behind(made, slow)
    subscribed(made, "h.", client=slow, after=0)
    publish(made, "h.a", 3, 4)
    assert slow.events == [1, 2, 3, 4]
    assert dropped(made) == 0


def test_a_snapshot_of_the_history_is_complete(made):
    publish(made, "h.a", 1, 2)
    slow = opened(made)
    fall_behind(made, slow)
    slow.subscribe("h.", match="prefix", after=0, snapshot=True)
    made.run(1)
    assert slow.events == [1, 2]
    assert slow.of(35)


def test_events_that_pass_a_filter_are_dropped(made):
    slow = subscribed(made, filter={"a": 1})
    other = subscribed(made, filter={"a": 1})
    fall_behind(made, slow)
    publish(made, "a.b", {"a": 1, "b": 2}, {"a": 2})
    assert slow.events == []
    assert other.events == [{"a": 1, "b": 2}]
    assert dropped(made) == 1


def test_of_two_subscriptions_only_the_promised_one_goes_on(made):
    slow = subscribed(made, "k.", retained=True)
    subscribed(made, "k.", client=slow)
    fall_behind(made, slow)
    publish(made, "k.a", 1, retain=True)
    assert slow.events == [1]
    assert dropped(made) == 1


@pytest.mark.parametrize("how", ["leave", "drop"])
def test_a_session_that_ends_is_forgotten(how, made):
    slow = subscribed(made)
    fall_behind(made, slow)
    connection = connection_of(made, slow)
    publish(made, "a.b", 1)
    getattr(slow, how)()
    made.run(1)
    assert not queueing(made)
    assert not connection.behind
    publish(made, "a.b", 2)
    assert dropped(made) == 1


def test_queued_deliveries_stay_in_order_when_the_client_has_caught_up(made):
    slow, publisher = subscribed_mqtt(made, qos=1), MqttClient(made, 0)
    slow.acknowledges = False
    made.run_until(lambda: publisher.connected)
    window = made.gateway(0).requests.mqtt.max_inflight
    for number in range(window + 1):
        publisher.publish("a/b", b"%d" % number, 1)
    made.run(2)
    fall_behind(made, slow)
    catch_up(made, slow)
    assert queueing(made)
    publisher.publish("a/b", b"last", 0)
    made.run(1)
    assert len(slow.payloads) == window
    fall_behind(made, slow)
    slow.acknowledges = True
    slow.acknowledge()
    made.run(2)
    assert slow.payloads[-2:] == [b"%d" % window, b"last"]
    assert queueing(made)
    catch_up(made, slow)
    assert not queueing(made)


def test_what_is_dropped_is_no_delivery_and_has_metrics(made):
    slow, _ = subscribed(made), subscribed(made)
    made.gateway(0)._report()
    fall_behind(made, slow)
    publish(made, "a.b", 1, 2)
    report = made.gateway(0)._report()
    assert report.realms["realm1"]["deliveries"] == 2
    assert report.realms["realm1"]["dropped_events"] == 2
    assert report.counters["refused.slow_consumer"] == 2
    assert made.gateway(0).health()["refused"] == {"slow_consumer": 2}
    assert made.gateway(0)._report().realms["realm1"]["dropped_events"] == 0


def test_the_log_says_who_missed_how_many_events(made):
    gateway = made.gateway(0)
    slow = [subscribed(made) for _ in range(FIRST + 2)]
    gateway.notices.clear()
    fall_behind(made, *slow)
    publish(made, "a.b", 1, 2)
    notices = gateway.notices
    catch_up(made, *slow)
    lines = [fields for name, fields in notices if name == "events_dropped"]
    assert len(lines) == FIRST
    assert lines[0]["reason"] == f"session {slow[0].session} ('anonymous') missed 2 events"
    assert gateway.timers.next() <= made.now + 1.0

"""`$SYS`: mosquitto's topics and formats, published at their shards when a value has changed."""

import pytest
from coordinators import coordinator_of

from fox_shard import __version__
from fox_shard.backplane.frames import RETAIN, Join, Leave, Publish, Report
from fox_shard.backplane.placement import Placement
from fox_shard.coordinator.sys import Sys
from fox_shard.deadline import NEVER
from fox_shard.documents import payloads

PLACEMENT = Placement(4)
VERSION = f"fox-shard version {__version__}".encode()


def sys_of(*realms, interval=10.0, now=100.0):
    return Sys(realms or ("realm1",), interval, now)


def news_of(sys, now, sessions=0):
    """Return {topic: value} of the present news, without realms and `$SYS.broker.`."""
    return {
        topic.removeprefix("$SYS.broker."): value for _, topic, value in sys.news(sessions, now)
    }


def test_the_first_news_has_every_topic():
    assert news_of(sys_of(), 103.5, sessions=7) == {
        "version": VERSION,
        "uptime": b"3 seconds",
        "clients.connected": b"7",
        "clients.total": b"7",
        "messages.received": b"0",
        "messages.sent": b"0",
        "bytes.received": b"0",
        "bytes.sent": b"0",
        "publish.messages.received": b"0",
        "publish.messages.sent": b"0",
        "publish.messages.dropped": b"0",
        "subscriptions.count": b"0",
        "retained messages.count": b"0",
    }


def test_later_news_has_only_topics_whose_values_have_changed():
    sys = sys_of()
    news_of(sys, 100.0)
    assert news_of(sys, 110.0) == {"uptime": b"10 seconds"}
    assert news_of(sys, 110.9) == {}
    news = news_of(sys, 120.0, sessions=1)
    assert news == {
        "uptime": b"20 seconds",
        "clients.connected": b"1",
        "clients.total": b"1",
    }


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("wamp.messages_in", "messages.received"),
        ("mqtt.messages_out", "messages.sent"),
        ("mqtt.bytes_in", "bytes.received"),
        ("mqtt.bytes_out", "bytes.sent"),
        ("publishes", "publish.messages.received"),
        ("deliveries", "publish.messages.sent"),
    ],
)
def test_counters_add_up_over_processes_and_reports(name, topic):
    sys = sys_of()
    news_of(sys, 100.0)
    sys.report("gateway-0", Report({}, {}, {"a": {name: 1}, "b": {name: 2}}, {}))
    sys.report("gateway-1", Report({}, {}, {"a": {name: 4, "calls": 9}}, {}))
    assert news_of(sys, 100.0) == {topic: b"7"}
    sys.report("gateway-0", Report({}, {}, {"a": {name: 5}}, {}))
    sys.peer_gone("gateway-0")
    assert news_of(sys, 100.0) == {topic: b"12"}


@pytest.mark.parametrize(
    ("name", "topic"),
    [("subscriptions", "subscriptions.count"), ("keys", "retained messages.count")],
)
def test_a_value_sums_the_latest_gauges_of_all_living_processes(name, topic):
    sys = sys_of()
    news_of(sys, 100.0)
    sys.report("one", Report({}, {name: 3}, {}, {}))
    sys.report("two", Report({}, {name: 4}, {}, {}))
    assert news_of(sys, 100.0) == {topic: b"7"}
    sys.report("one", Report({}, {name: 1}, {}, {}))
    assert news_of(sys, 100.0) == {topic: b"5"}
    sys.peer_gone("two")
    assert news_of(sys, 100.0) == {topic: b"1"}


def test_news_is_due_once_an_interval():
    sys = sys_of(interval=10.0, now=100.0)
    assert sys.due == 110.0
    sys.news(0, 110.2)
    assert sys.due == 120.2


def test_there_is_no_news_with_interval_0():
    sys = sys_of(interval=0.0)
    assert sys.due == NEVER
    assert sys.news(3, 200.0) == []
    assert list(sys.topics()) == []


def test_every_realm_gets_the_same_news():
    sys = sys_of("realm1", "com.other")
    news = sys.news(1, 100.0)
    for realm in ("realm1", "com.other"):
        assert (realm, "$SYS.broker.version", VERSION) in news
        assert (realm, "$SYS.broker.clients.connected", b"1") in news


# The coordinator


@pytest.fixture
def coordinator():
    return coordinator_of(PLACEMENT, realms=["realm1", "other"], sys_interval=10, now=0.0)


def join(session):
    return Join(session, "other", "me", "", "", "", "wamp.2.json", "", "", "", 0.0, replay=False)


def test_the_router_publishes_retained_text_at_the_topics_shard(coordinator):
    for shard, frame in coordinator.sys_news(10.0):
        assert isinstance(frame, Publish)
        assert shard == f"shard-{PLACEMENT.shard_of(frame.realm, frame.topic)}"
        assert (frame.session, frame.request, frame.flags) == (0, 0, RETAIN)
        assert (frame.encoding, frame.kwargs) == (payloads.RAW, b"")


def test_sessions_are_counted_over_all_realms(coordinator):
    coordinator.sys_news(0.0)
    coordinator.receive("gateway-0", join(5), 0.0)
    news = {(f.realm, f.topic): f.args for _, f in coordinator.sys_news(0.0)}
    assert news["realm1", "$SYS.broker.clients.connected"] == b"1"
    coordinator.receive("gateway-0", Leave(5, graceful=True), 0.0)
    news = {(f.realm, f.topic): f.args for _, f in coordinator.sys_news(0.0)}
    assert news["realm1", "$SYS.broker.clients.connected"] == b"0"


def test_a_newly_linked_shard_is_sent_its_topics_again(coordinator):
    """The shard has lost its keys, or never got the frames that were on the way."""
    everything = coordinator.sys_news(0.0)
    for number in range(4):
        shard = f"shard-{number}"
        again = coordinator.shard_opened(shard, 0.0)
        assert again == [effect for effect in everything if effect[0] == shard]
    assert coordinator.sys_news(0.0) == []


def test_a_process_that_has_gone_is_not_counted(coordinator):
    coordinator.receive("shard-0", Report({}, {"keys": 3}, {}, {}), 0.0)
    coordinator.receive("gateway-0", Report({}, {"subscriptions": 4}, {}, {}), 0.0)
    coordinator.sys_news(0.0)
    coordinator.shard_gone("shard-0", 0.0)
    coordinator.gateway_gone("gateway-0", 0.0)
    assert {frame.topic: frame.args for _, frame in coordinator.sys_news(0.0)} == {
        "$SYS.broker.retained messages.count": b"0",
        "$SYS.broker.subscriptions.count": b"0",
    }

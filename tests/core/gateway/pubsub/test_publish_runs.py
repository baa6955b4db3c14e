"""Runs of publishes and of events, compared with the same frames one by one."""

from gateway_harness import FakeEncoder, GatewayHarness, RecordingSession, event
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EXCLUDE_ME,
    QOS1,
    RETAIN,
    Audience,
    Event,
    Publish,
    Published,
    Subscribe,
    Subscribed,
)
from fox_shard.documents.payloads import RAW
from fox_shard.topics.pattern import Pattern

PAYLOADS = [b"1", b"2", b"3"]


@given(
    flags=st.sampled_from([0, RETAIN, ACKNOWLEDGE | QOS1, ACKNOWLEDGE | RETAIN]),
    shards=st.lists(st.sampled_from([0, 1]), max_size=4),
    count=st.integers(1, 3),
)
def test_a_run_is_published_like_its_messages_one_by_one(flags, shards, count):
    outcomes = []
    for at_once in (False, True):
        harness = GatewayHarness()
        session, gateway, request = harness.session(), harness.gateway, 1
        for shard in shards:
            route = harness.realm.route(harness.topic(shard))
            step = 1 if flags & ACKNOWLEDGE else 0
            if at_once:
                gateway.requests.publish_all(
                    session, route, flags, request * step, RAW, PAYLOADS[:count]
                )
            else:
                for i, payload in enumerate(PAYLOADS[:count]):
                    number = (request + i) * step
                    gateway.requests.publish(session, route, flags, number, RAW, payload)
            request += count
        state = (session.order, session.last_shard, session.last_seq, session.traffic.publishes)
        reliable = [[*link.reliable] for link in gateway.links]
        got = [harness.got(f"shard-{shard}", Publish) for shard in (0, 1)]
        outcomes.append((got, reliable, state))
    assert outcomes[0] == outcomes[1]


def test_a_publisher_is_paused_after_a_run_without_credit():
    harness = GatewayHarness(linked=False)
    session = RecordingSession(harness.realm, FakeEncoder(), dirty=harness.gateway.dirty)
    harness.gateway.requests.publish_all(session, harness.realm.route("a"), 0, 0, RAW, PAYLOADS)
    assert session.connection.paused


def confirm_subscriptions(harness):
    """Let the shards confirm all subscriptions."""
    for name in ("shard-0", "shard-1"):
        for subscribe in harness.got(name, Subscribe):
            harness.say(name, Subscribed(subscribe.token))


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "refused"]),
        st.sampled_from([0, ACKNOWLEDGE | QOS1, EXCLUDE_ME]),
        st.sampled_from(["own", "other"]),
        st.sampled_from([None, None, None, Audience(exclude=[1])]),
    ),
    max_size=10,
)


@given(EVENTS, st.booleans(), st.integers(0, 1), st.booleans())
def test_events_of_one_batch_are_delivered_like_those_of_many_batches(
    drawn, second, granted_qos, pending
):
    outcomes = []
    for at_once in (False, True):
        harness = GatewayHarness()
        encoder = FakeEncoder(refuses=("refused",))
        sessions = [harness.session(encoder), harness.session(encoder)]
        for text in ("a", "b", "refused"):
            harness.subscribe(sessions[0], Pattern.wamp(text).text, granted_qos=granted_qos)
        if second:
            harness.subscribe(sessions[1], Pattern.wamp("a").text)
        confirm_subscriptions(harness)
        if pending:
            harness.subscribe(sessions[1], Pattern.wamp("b").text)
        frames = [
            event(
                n, topic, session=sessions[0].id if who == "own" else 99, flags=flags, audience=to
            )
            for n, (topic, flags, who, to) in enumerate(drawn, 1)
        ]
        for batch in [frames] if at_once else [[frame] for frame in frames]:
            harness.say("shard-0", *batch)
        confirm_subscriptions(harness)
        told = [[one for one in session.take() if one[0] == "deliver"] for session in sessions]
        written = [session.written for session in sessions]
        outcomes.append((told, written, harness.realm.deliveries))
    assert outcomes[0] == outcomes[1]


def test_a_frame_between_events_keeps_its_place():
    harness = GatewayHarness()
    session = harness.session()
    harness.subscribe(session, Pattern.wamp("a").text, granted_qos=1)
    confirm_subscriptions(harness)
    session.take()
    assured = ACKNOWLEDGE | QOS1
    harness.say(
        "shard-0",
        event(1, "a", flags=assured),
        event(2, "a", flags=assured),
        Published(session.id, [1], [9]),
        event(3, "a", flags=assured),
    )
    assert session.take() == [
        ("deliver", 1, 1),
        ("deliver", 2, 1),
        ("published", [1], [9]),
        ("deliver", 3, 1),
    ]


def test_events_of_two_realms_may_share_a_batch():
    harness = GatewayHarness()
    session = harness.session()
    harness.subscribe(session, Pattern.wamp("a").text)
    confirm_subscriptions(harness)
    other = Event(2, Publish("other", "a", 99, 1, 1, 0, RAW, b""))
    harness.say("shard-0", event(1, "a"), other, event(3, "a"))
    assert session.written == ["w:1", "w:3"]

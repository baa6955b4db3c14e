"""A run of publishes, or of events, against the same one by one."""

from gateway_harness import Flavour, GatewayStage, Spy, event
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
def test_a_run_is_published_like_its_messages(flags, shards, count):
    outcomes = []
    for at_once in (False, True):
        stage = GatewayStage()
        session, gateway, request = stage.session(), stage.gateway, 1
        for shard in shards:
            route = stage.realm.route(stage.topic(shard))
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
        state = (session.order, session.lane, session.lane_seq, session.traffic.publishes)
        reliable = [[*link.reliable] for link in gateway.links]
        got = [stage.got(f"shard-{shard}", Publish) for shard in (0, 1)]
        outcomes.append((got, reliable, state))
    assert outcomes[0] == outcomes[1]


def test_a_run_waits_where_there_is_no_credit():
    stage = GatewayStage(linked=False)
    session = Spy(stage.realm, Flavour(), dirty=stage.gateway.dirty)
    stage.gateway.requests.publish_all(session, stage.realm.route("a"), 0, 0, RAW, PAYLOADS)
    assert session.connection.paused


def subscribed(stage):
    """The shards confirm all that was subscribed to."""
    for name in ("shard-0", "shard-1"):
        for subscribe in stage.got(name, Subscribe):
            stage.say(name, Subscribed(subscribe.token))


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
def test_events_of_one_batch_are_delivered_like_those_of_many(drawn, second, grant, pending):
    outcomes = []
    for at_once in (False, True):
        stage = GatewayStage()
        flavour = Flavour(refuses=("refused",))
        sessions = [stage.session(flavour), stage.session(flavour)]
        for text in ("a", "b", "refused"):
            stage.subscribe(sessions[0], Pattern.wamp(text).text, grant=grant)
        if second:
            stage.subscribe(sessions[1], Pattern.wamp("a").text)
        subscribed(stage)
        if pending:
            stage.subscribe(sessions[1], Pattern.wamp("b").text)
        frames = [
            event(
                n, topic, session=sessions[0].id if who == "own" else 99, flags=flags, audience=to
            )
            for n, (topic, flags, who, to) in enumerate(drawn, 1)
        ]
        for batch in [frames] if at_once else [[frame] for frame in frames]:
            stage.say("shard-0", *batch)
        subscribed(stage)
        told = [[one for one in session.take() if one[0] == "deliver"] for session in sessions]
        written = [session.written for session in sessions]
        outcomes.append((told, written, stage.realm.deliveries))
    assert outcomes[0] == outcomes[1]


def test_what_comes_between_events_keeps_its_place():
    stage = GatewayStage()
    session = stage.session()
    stage.subscribe(session, Pattern.wamp("a").text, grant=1)
    subscribed(stage)
    session.take()
    assured = ACKNOWLEDGE | QOS1
    stage.say(
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
    stage = GatewayStage()
    session = stage.session()
    stage.subscribe(session, Pattern.wamp("a").text)
    subscribed(stage)
    other = Event(2, Publish("other", "a", 99, 1, 1, 0, RAW, b""))
    stage.say("shard-0", event(1, "a"), other, event(3, "a"))
    assert session.written == ["w:1", "w:3"]

"""Publish and subscribe on one shard: events, acknowledgements, subscriptions and keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_harness import ShardHarness, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    QOS1,
    QOS2,
    RECORDED,
    RELIABLE_EVENT,
    RETAIN,
    Audience,
    CaughtUp,
    Event,
    Fence,
    Published,
    Retained,
    Subscribed,
    Unsubscribe,
)
from fox_shard.config import Realm
from fox_shard.topics.pattern import Pattern

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY


@pytest.fixture
def harness():
    return ShardHarness(gateways=3)


def topics(events):
    return [event.publish.topic for event in events]


def unsubscribe(pattern="=a.b", realm="realm1"):
    return Unsubscribe(realm, pattern)


# Events


@pytest.mark.parametrize(
    ("patterns", "events"),
    [
        ([], 0),
        (["=a.c"], 0),
        (["=a.b"], 1),
        (["=a.b", "=a.b"], 1),
        (["=a.b", "*a.+", "^a", "*#"], 1),
        (["*a.#"], 1),
        (["*+.c"], 0),
    ],
)
def test_a_gateway_gets_an_event_once_whatever_the_number_of_its_subscriptions(
    patterns, events, harness
):
    harness.say("gateway-1", *(subscribe(pattern) for pattern in patterns))
    harness.say("gateway-0", publish())
    assert len(harness.got("gateway-1", Event)) == events
    assert harness.got("gateway-2") == []


def test_the_publishers_own_gateway_gets_the_event_too(harness):
    """The gateway decides which of its sessions are left out."""
    harness.say("gateway-0", subscribe())
    harness.say("gateway-0", publish())
    event, answer = harness.got("gateway-0")
    assert event.publication == answer.publications[0]


def test_an_event_is_the_publication_with_its_id(harness):
    harness.say("gateway-1", subscribe())
    sent = publish(fence=Fence("gateway-0", [(1, 2, 3)]), audience=Audience(eligible=[7]))
    harness.say("gateway-0", sent)
    (event,) = harness.got("gateway-1")
    assert event.publish == sent


def test_publication_ids_grow(harness):
    harness.say("gateway-0", *(publish(request=n) for n in range(1, 10)))
    ids = [id_ for answer in harness.got("gateway-0", Published) for id_ in answer.publications]
    assert ids == sorted(set(ids))
    assert len(ids) == 9


def test_realms_are_separate(harness):
    harness.say("gateway-1", subscribe("*#", realm="other", token=1, replay=True))
    harness.say("gateway-0", publish(flags=KEEP))
    assert harness.got("gateway-1") == [Subscribed(1), CaughtUp(1)]
    harness.say("gateway-1", subscribe("*#", realm="other", token=2, replay=True))
    assert harness.got("gateway-1", Event | Retained | Subscribed) == [Subscribed(2)]


def test_an_unsubscribed_gateway_gets_nothing_more(harness):
    harness.say("gateway-1", subscribe("=a.b"), subscribe("*a.+"))
    for gone, left in (("=a.b", 1), ("=a.b", 1), ("*a.+", 0)):
        harness.say("gateway-1", unsubscribe(gone))
        harness.say("gateway-0", publish())
        assert len(harness.got("gateway-1", Event)) == left


def test_unsubscribing_an_unknown_pattern_does_nothing(harness):
    harness.say("gateway-1", unsubscribe("=x"), unsubscribe("=x", realm="unheard"))
    assert harness.got("gateway-1") == []


PATTERNS = ["=a.b", "=a.c", "*a.+", "*+.b", "*a.#", "^a.", "^b"]
TOPICS = ["a.b", "a.c", "b.b", "a"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1), st.sampled_from(PATTERNS)), max_size=8))
def test_events_follow_every_change_of_subscriptions(changes):
    """Matches are cached per topic, and a change of subscriptions must show all the same."""
    harness = ShardHarness(gateways=2)
    wanted = {"gateway-0": set(), "gateway-1": set()}
    for adds, number, pattern in changes:
        name = f"gateway-{number}"
        (wanted[name].add if adds else wanted[name].discard)(pattern)
        harness.say(name, subscribe(pattern) if adds else unsubscribe(pattern))
        harness.say("gateway-0", *(publish(topic, flags=0) for topic in TOPICS))
        for gateway, patterns in wanted.items():
            parsed = [Pattern.parse(text) for text in patterns]
            expected = [t for t in TOPICS if any(pattern.matches(t) for pattern in parsed)]
            assert topics(harness.got(gateway, Event)) == expected


# Acknowledgements


def test_only_an_acknowledged_publication_is_answered(harness):
    harness.say("gateway-0", publish(flags=0), publish(flags=RETAIN))
    assert harness.got("gateway-0") == []


def test_answers_of_one_session_come_as_a_run_in_order(harness):
    sent = [(1, 1), (1, 2), (2, 1), (1, 3)]
    harness.say("gateway-0", *(publish(session=s, request=r) for s, r in sent))
    answers = harness.got("gateway-0", Published)
    assert [(answer.session, answer.requests) for answer in answers] == [
        (1, [1, 2]), (2, [1]), (1, [3]),
    ]  # fmt: skip
    ids = [id_ for answer in answers for id_ in answer.publications]
    assert ids == sorted(ids)
    assert all(len(answer.requests) == len(answer.publications) for answer in answers)


def test_an_answer_waits_for_the_gateways_that_deliver_and_for_no_others(harness):
    harness.say("gateway-1", subscribe())
    harness["gateway-1"].silent = True
    harness.say("gateway-0", publish())
    harness.say("gateway-0", publish("else.where", session=2))
    assert [answer.session for answer in harness.got("gateway-0")] == [2]
    harness["gateway-1"].silent = False
    harness.turns()
    assert [answer.session for answer in harness.got("gateway-0")] == [1]


def test_an_acknowledged_event_is_sent_again_to_a_gateway_that_comes_back(harness):
    harness.say("gateway-1", subscribe())
    harness["gateway-1"].silent = True
    harness.say("gateway-0", publish(args=b'["safe"]'), publish(args=b'["not"]', flags=0))
    assert len(harness.got("gateway-1", Event)) == 2
    peer = harness["gateway-1"]
    peer.replay = [subscribe()]
    peer.link.break_off(harness.now)
    peer.link.watermark = 0
    harness.shard.connection_lost("gateway-1", harness.now)
    peer.silent = False
    harness.turns(6)
    assert [event.publish.args for event in harness.got("gateway-1", Event)] == [b'["safe"]']
    assert harness.got("gateway-0", Published)


@pytest.mark.parametrize("store", ["sqlite", "memory"])
@pytest.mark.parametrize(
    ("flags", "again"),
    [(0, 0), (QOS1, 1), (QOS2, 1), (RETAIN, 1), (RETAIN | EMPTY, 1), (RELIABLE_EVENT, 1)],
)
def test_an_event_that_nobody_would_repeat_is_sent_again_to_a_gateway_that_comes_back(
    flags, again, store
):
    """A will at QoS 1 waits for no acknowledgement, and a key in memory is not recorded."""
    harness = ShardHarness(realms=[Realm(name="realm1", store=store)])
    harness.say("gateway-1", subscribe())
    harness["gateway-1"].silent = True
    harness.say("gateway-0", publish(flags=flags, args=b"" if flags & EMPTY else b"[1]"))
    peer = harness["gateway-1"]
    peer.replay = [subscribe()]
    peer.link.break_off(harness.now)
    peer.link.watermark = 0
    harness.got("gateway-1", Event)
    harness.shard.connection_lost("gateway-1", harness.now)
    peer.silent = False
    harness.turns(6)
    assert len(harness.got("gateway-1", Event)) == again


def test_subscriptions_that_a_gateway_does_not_replay_are_dropped(harness):
    harness.say("gateway-1", subscribe("=a.b"), subscribe("=a.c"))
    peer = harness["gateway-1"]
    peer.replay = [subscribe("=a.c")]
    peer.link.break_off(harness.now)
    harness.shard.connection_lost("gateway-1", harness.now)
    harness.turns(6)
    harness.say("gateway-0", publish("a.b"), publish("a.c"))
    assert topics(harness.got("gateway-1", Event)) == ["a.c"]


def test_the_subscriptions_of_a_gateway_that_has_gone_are_dropped(harness):
    harness.say("gateway-1", subscribe("=a.b"), subscribe("*a.#"))
    harness.kill("gateway-1")
    harness.pass_time(6.0)
    harness.say("gateway-0", publish())
    assert harness.got("gateway-0", Published)
    harness.join("gateway-1")
    harness.turns(6)
    harness.say("gateway-0", publish())
    assert harness.got("gateway-1") == []


# Subscribing


@pytest.mark.parametrize(
    ("token", "replay", "answer"),
    [(0, False, []), (7, False, [Subscribed(7)]), (7, True, [Subscribed(7), CaughtUp(7)])],
)
def test_a_subscription_is_answered_if_it_has_a_token(token, replay, answer, harness):
    for _ in range(2):
        harness.say("gateway-1", subscribe(token=token, replay=replay))
        assert harness.got("gateway-1") == answer


# Keys


def keys(harness, pattern="*#"):
    """Return [(topic, args)] of the matching keys, as a new subscriber gets them."""
    harness.say("gateway-2", subscribe(pattern, token=9, replay=True))
    *retained, end, caught_up = harness.got("gateway-2", (Retained, Subscribed, CaughtUp))
    assert (end, caught_up) == (Subscribed(9), CaughtUp(9))
    harness.say("gateway-2", unsubscribe(pattern))
    assert {frame.token for frame in retained} <= {9}
    return [(frame.event.publish.topic, frame.event.publish.args) for frame in retained]


@pytest.mark.parametrize(
    ("published", "kept"),
    [
        ([("a", 0, b"[1]")], []),
        ([("a", ACKNOWLEDGE, b"[1]")], []),
        ([("a", RETAIN, b"[1]")], [("a", b"[1]")]),
        ([("a", KEEP, b"[1]"), ("a", KEEP, b"[2]")], [("a", b"[2]")]),
        ([("a", KEEP, b"[1]"), ("a", ACKNOWLEDGE, b"[2]")], [("a", b"[1]")]),
        ([("a", KEEP, b"[1]"), ("a", ERASE, b"")], []),
        ([("a", ERASE, b"")], []),
        ([("a", KEEP, b"[1]"), ("a", ACKNOWLEDGE | EMPTY, b"")], [("a", b"[1]")]),
        ([("a", KEEP, b"[1]"), ("a", ERASE, b""), ("a", KEEP, b"[3]")], [("a", b"[3]")]),
    ],
)
@pytest.mark.cites("advanced.pubsub_event_retention.3")
def test_a_retained_event_is_its_topics_key_until_an_empty_one(published, kept, harness):
    """semantics: keys; MQTT-3.3.1-5, MQTT-3.3.1-10."""
    for topic, flags, args in published:
        harness.say("gateway-0", publish(topic, flags=flags, args=args))
    assert keys(harness) == kept
    assert harness.shard.retained_keys.keys_held == len(kept)


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("=a.b", ["a.b"]),
        ("*a.+", ["a.b", "a.c"]),
        ("^a", ["a.b", "a.c"]),
        ("*#", ["a.b", "a.c", "b"]),
        ("*x.#", []),
    ],
)
def test_a_subscriber_is_shown_the_matching_keys_before_its_subscription_is_confirmed(
    pattern, matching, harness
):
    for topic in ("a.b", "b", "a.c"):
        harness.say("gateway-0", publish(topic, flags=KEEP))
    assert sorted(topic for topic, _ in keys(harness, pattern)) == matching


def test_keys_are_shown_only_to_subscribers_that_ask_for_them(harness):
    harness.say("gateway-0", publish(flags=KEEP))
    harness.say("gateway-1", subscribe(token=1, replay=False))
    assert harness.got("gateway-1", Event | Retained | Subscribed) == [Subscribed(1)]


@pytest.mark.parametrize(
    ("audience", "kept"),
    [
        (None, 1),
        (Audience(exclude_authid=["x"]), 1),
        (Audience(eligible_authrole=[]), 1),
        (Audience(eligible=[]), 0),
        (Audience(eligible=[1, 2]), 0),
        (Audience(exclude=[1]), 0),
    ],
)
def test_an_event_limited_to_session_ids_is_no_key(audience, kept, harness):
    """semantics: keys (receivers). Lists of authids and authroles are kept with the key."""
    harness.say("gateway-0", publish(flags=KEEP, audience=audience))
    assert len(keys(harness)) == kept


def test_an_event_limited_to_session_ids_erases_no_key(harness):
    harness.say("gateway-0", publish(flags=KEEP))
    harness.say("gateway-0", publish(flags=ERASE, args=b"", audience=Audience(eligible=[1])))
    assert len(keys(harness)) == 1


def test_a_key_keeps_its_publication_without_the_fence(harness):
    fence = Fence("gateway-0", [(1, 2, 3)])
    harness.say("gateway-0", publish(flags=KEEP, kwargs=b"{}", fence=fence))
    (answer,) = harness.got("gateway-0", Published)
    harness.say("gateway-1", subscribe(token=1, replay=True))
    (retained,) = harness.got("gateway-1", Retained)
    assert retained.event.publication == answer.publications[0]
    expected = publish(flags=KEEP | RECORDED, kwargs=b"{}")
    assert retained.event.publish == expected


def test_keys_outlive_their_publishers(harness):
    harness.say("gateway-0", publish(flags=KEEP))
    harness.kill("gateway-0")
    harness.pass_time(6.0)
    assert len(keys(harness)) == 1

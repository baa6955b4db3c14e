"""Publish and subscribe on one shard: each gateway gets an event once, keys stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_harness import Stage, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RECORDED,
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
from fox_shard.topics.pattern import Pattern

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY


@pytest.fixture
def stage():
    return Stage(gateways=3)


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
    patterns, events, stage
):
    stage.say("gateway-1", *(subscribe(pattern) for pattern in patterns))
    stage.say("gateway-0", publish())
    assert len(stage.got("gateway-1", Event)) == events
    assert stage.got("gateway-2") == []


def test_the_publishers_own_gateway_gets_it_too(stage):
    """Who of its sessions is left out is for the gateway to say."""
    stage.say("gateway-0", subscribe())
    stage.say("gateway-0", publish())
    event, answer = stage.got("gateway-0")
    assert event.publication == answer.publications[0]


def test_an_event_is_the_publication_with_its_id(stage):
    stage.say("gateway-1", subscribe())
    sent = publish(fence=Fence("gateway-0", [(1, 2, 3)]), audience=Audience(eligible=[7]))
    stage.say("gateway-0", sent)
    (event,) = stage.got("gateway-1")
    assert event.publish == sent


def test_publication_ids_grow(stage):
    stage.say("gateway-0", *(publish(request=n) for n in range(1, 10)))
    ids = [id_ for answer in stage.got("gateway-0", Published) for id_ in answer.publications]
    assert ids == sorted(set(ids))
    assert len(ids) == 9


def test_realms_know_nothing_of_each_other(stage):
    stage.say("gateway-1", subscribe("*#", realm="other", token=1, replay=True))
    stage.say("gateway-0", publish(flags=KEEP))
    assert stage.got("gateway-1") == [Subscribed(1), CaughtUp(1)]
    stage.say("gateway-1", subscribe("*#", realm="other", token=2, replay=True))
    assert stage.got("gateway-1", Event | Retained | Subscribed) == [Subscribed(2)]


def test_an_unsubscribed_gateway_gets_nothing_more(stage):
    stage.say("gateway-1", subscribe("=a.b"), subscribe("*a.+"))
    for gone, left in (("=a.b", 1), ("=a.b", 1), ("*a.+", 0)):
        stage.say("gateway-1", unsubscribe(gone))
        stage.say("gateway-0", publish())
        assert len(stage.got("gateway-1", Event)) == left


def test_what_was_not_subscribed_to_can_be_unsubscribed(stage):
    stage.say("gateway-1", unsubscribe("=x"), unsubscribe("=x", realm="unheard"))
    assert stage.got("gateway-1") == []


PATTERNS = ["=a.b", "=a.c", "*a.+", "*+.b", "*a.#", "^a.", "^b"]
TOPICS = ["a.b", "a.c", "b.b", "a"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1), st.sampled_from(PATTERNS)), max_size=8))
def test_changes_of_subscriptions_and_events_never_disagree(changes):
    """The matches are remembered per topic; a change must be seen all the same."""
    stage = Stage(gateways=2)
    wanted = {"gateway-0": set(), "gateway-1": set()}
    for adds, number, pattern in changes:
        name = f"gateway-{number}"
        (wanted[name].add if adds else wanted[name].discard)(pattern)
        stage.say(name, subscribe(pattern) if adds else unsubscribe(pattern))
        stage.say("gateway-0", *(publish(topic, flags=0) for topic in TOPICS))
        for gateway, patterns in wanted.items():
            parsed = [Pattern.parse(text) for text in patterns]
            expected = [t for t in TOPICS if any(pattern.matches(t) for pattern in parsed)]
            assert topics(stage.got(gateway, Event)) == expected


# Acknowledgements


def test_only_an_acknowledged_publication_is_answered(stage):
    stage.say("gateway-0", publish(flags=0), publish(flags=RETAIN))
    assert stage.got("gateway-0") == []


def test_answers_of_one_session_come_as_a_run_in_order(stage):
    sent = [(1, 1), (1, 2), (2, 1), (1, 3)]
    stage.say("gateway-0", *(publish(session=s, request=r) for s, r in sent))
    answers = stage.got("gateway-0", Published)
    assert [(answer.session, answer.requests) for answer in answers] == [
        (1, [1, 2]), (2, [1]), (1, [3]),
    ]  # fmt: skip
    ids = [id_ for answer in answers for id_ in answer.publications]
    assert ids == sorted(ids)
    assert all(len(answer.requests) == len(answer.publications) for answer in answers)


def test_an_answer_waits_for_the_gateways_that_deliver_and_for_no_others(stage):
    stage.say("gateway-1", subscribe())
    stage["gateway-1"].silent = True
    stage.say("gateway-0", publish())
    stage.say("gateway-0", publish("else.where", session=2))
    assert [answer.session for answer in stage.got("gateway-0")] == [2]
    stage["gateway-1"].silent = False
    stage.turns()
    assert [answer.session for answer in stage.got("gateway-0")] == [1]


def test_an_acknowledged_event_is_sent_again_to_a_gateway_that_comes_back(stage):
    stage.say("gateway-1", subscribe())
    stage["gateway-1"].silent = True
    stage.say("gateway-0", publish(args=b'["safe"]'), publish(args=b'["not"]', flags=0))
    assert len(stage.got("gateway-1", Event)) == 2
    puppet = stage["gateway-1"]
    puppet.replay = [subscribe()]
    puppet.link.break_off(stage.now)
    puppet.link.watermark = 0
    stage.shard.lost("gateway-1", stage.now)
    puppet.silent = False
    stage.turns(6)
    assert [event.publish.args for event in stage.got("gateway-1", Event)] == [b'["safe"]']
    assert stage.got("gateway-0", Published)


def test_subscriptions_that_a_gateway_no_longer_tells_are_gone(stage):
    stage.say("gateway-1", subscribe("=a.b"), subscribe("=a.c"))
    puppet = stage["gateway-1"]
    puppet.replay = [subscribe("=a.c")]
    puppet.link.break_off(stage.now)
    stage.shard.lost("gateway-1", stage.now)
    stage.turns(6)
    stage.say("gateway-0", publish("a.b"), publish("a.c"))
    assert topics(stage.got("gateway-1", Event)) == ["a.c"]


def test_a_gateway_that_does_not_come_back_wants_nothing_more(stage):
    stage.say("gateway-1", subscribe("=a.b"), subscribe("*a.#"))
    stage.kill("gateway-1")
    stage.pass_time(6.0)
    stage.say("gateway-0", publish())
    assert stage.got("gateway-0", Published)
    stage.join("gateway-1")
    stage.turns(6)
    stage.say("gateway-0", publish())
    assert stage.got("gateway-1") == []


# Subscribing


@pytest.mark.parametrize(
    ("token", "replay", "answer"),
    [(0, False, []), (7, False, [Subscribed(7)]), (7, True, [Subscribed(7), CaughtUp(7)])],
)
def test_a_subscription_is_answered_if_it_has_a_token(token, replay, answer, stage):
    for _ in range(2):
        stage.say("gateway-1", subscribe(token=token, replay=replay))
        assert stage.got("gateway-1") == answer


# Keys


def keys(stage, pattern="*#"):
    """[(topic, args)] of the keys that match, as a new subscriber gets them."""
    stage.say("gateway-2", subscribe(pattern, token=9, replay=True))
    *retained, end, caught_up = stage.got("gateway-2", (Retained, Subscribed, CaughtUp))
    assert (end, caught_up) == (Subscribed(9), CaughtUp(9))
    stage.say("gateway-2", unsubscribe(pattern))
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
def test_a_retained_event_is_its_topics_key_until_an_empty_one(published, kept, stage):
    """semantics: retained keys; MQTT-3.3.1-5, MQTT-3.3.1-10."""
    for topic, flags, args in published:
        stage.say("gateway-0", publish(topic, flags=flags, args=args))
    assert keys(stage) == kept
    assert stage.shard.retention.keys_held == len(kept)


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
def test_a_subscriber_is_shown_the_keys_that_match_before_it_stands(pattern, matching, stage):
    for topic in ("a.b", "b", "a.c"):
        stage.say("gateway-0", publish(topic, flags=KEEP))
    assert sorted(topic for topic, _ in keys(stage, pattern)) == matching


def test_only_who_asks_is_shown_the_keys(stage):
    stage.say("gateway-0", publish(flags=KEEP))
    stage.say("gateway-1", subscribe(token=1, replay=False))
    assert stage.got("gateway-1", Event | Retained | Subscribed) == [Subscribed(1)]


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
def test_an_event_for_sessions_of_now_is_no_key(audience, kept, stage):
    """semantics: an event limited to session ids is not retained."""
    stage.say("gateway-0", publish(flags=KEEP, audience=audience))
    assert len(keys(stage)) == kept


def test_an_event_for_sessions_of_now_erases_no_key_either(stage):
    stage.say("gateway-0", publish(flags=KEEP))
    stage.say("gateway-0", publish(flags=ERASE, args=b"", audience=Audience(eligible=[1])))
    assert len(keys(stage)) == 1


def test_a_key_has_its_publication_and_publisher_but_no_fence(stage):
    fence = Fence("gateway-0", [(1, 2, 3)])
    stage.say("gateway-0", publish(flags=KEEP, kwargs=b"{}", fence=fence))
    (answer,) = stage.got("gateway-0", Published)
    stage.say("gateway-1", subscribe(token=1, replay=True))
    (retained,) = stage.got("gateway-1", Retained)
    assert retained.event.publication == answer.publications[0]
    expected = publish(flags=KEEP | RECORDED, kwargs=b"{}")
    assert retained.event.publish == expected


def test_keys_survive_who_published_them(stage):
    stage.say("gateway-0", publish(flags=KEEP))
    stage.kill("gateway-0")
    stage.pass_time(6.0)
    assert len(keys(stage)) == 1

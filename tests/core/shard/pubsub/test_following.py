"""Subscribers who get the history first (semantics: `after`)."""

import pytest
from shard_harness import REALM, ShardHarness, publish

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    RETAIN,
    TRACE,
    CaughtUp,
    Event,
    More,
    NotSubscribed,
    Paused,
    Published,
    Recorded,
    Retained,
    SelectedEvent,
    SelectorSpec,
    Subscribe,
    Subscribed,
)
from fox_shard.config import History, Realm
from fox_shard.shard.pubsub.replay import PAGE_EVENTS
from fox_shard.topics.ids import pattern_id

RULED = Realm(name=REALM, history=(History(topic="ruled.#", max_events=16),))
ID = pattern_id(REALM, "subscription", "follow")
REPLAY = Subscribed | Paused | Retained | Recorded | CaughtUp | NotSubscribed


def follow(after=(), *, token=1, **more):
    selector = SelectorSpec(ID, follow=True)
    replay = more.pop("replay", False)
    return Subscribe(token, REALM, "*#", replay, selector, list(after), **more)


@pytest.fixture
def harness():
    return ShardHarness(gateways=3, realms=[RULED])


def record(harness, *numbers, topic="ruled.a", **more):
    """Publish them; returns their ids."""
    for number in numbers:
        one = publish(topic, request=number, args=b"[%d]" % number, **more)
        harness.say("gateway-0", one, reliable=True)
    return [id_ for one in harness.got("gateway-0", Published) for id_ in one.publications]


def replayed(harness, gateway="gateway-1"):
    """Names of the frames of a replay, and the values in them, until it waits or is over."""
    found = []
    for frame in harness.got(gateway, REPLAY):
        event = getattr(frame, "event", None)
        found.append(type(frame).__name__ if event is None else event.publish.args)
    return found


def live(harness, gateway="gateway-1"):
    frames = harness.got(gateway, SelectedEvent)
    assert all(frame.follow for frame in frames)
    return [frame.event.publish.args for frame in frames]


def test_the_history_comes_when_it_is_asked_for_and_then_what_is_live(harness):
    record(harness, 1, 2)
    harness.say("gateway-1", follow())
    assert replayed(harness) == ["Subscribed", "Paused"]
    record(harness, 3)
    harness.say("gateway-1", More(1))
    assert replayed(harness) == [b"[1]", b"[2]", b"[3]", "CaughtUp"]
    record(harness, 4)
    assert live(harness) == [b"[3]", b"[4]"]  # what came before CaughtUp the gateway leaves out


def test_who_has_read_some_gets_the_rest(harness):
    first, second = record(harness, 1, 2)
    harness.say("gateway-1", follow([first]), More(1))
    assert replayed(harness)[2:] == [b"[2]", "CaughtUp"]
    harness.say("gateway-1", follow([], token=2, floor=second), More(2))
    assert replayed(harness)[2:] == ["CaughtUp"]


def test_keys_are_before_the_history(harness):
    record(harness, 1, flags=ACKNOWLEDGE | RETAIN)
    harness.say("gateway-1", follow(replay=True), More(1))
    assert replayed(harness)[2:] == [b"[1]", b"[1]", "CaughtUp"]


def test_what_is_traced_is_recorded_and_marked(harness):
    record(harness, 1, topic="free", flags=ACKNOWLEDGE | TRACE)
    record(harness, 2, topic="free")
    harness.say("gateway-1", follow(), More(1))
    assert replayed(harness)[2:] == [b"[1]", "CaughtUp"]
    record(harness, 3)
    (event,) = [frame.event for frame in harness.got("gateway-1", SelectedEvent)]
    assert event.publish.flags & TRACE


def test_what_is_not_durable_is_live_later(harness):
    harness.disk.held = True
    record(harness, 1)
    harness.say("gateway-1", follow(), More(1))
    assert replayed(harness)[2:] == ["CaughtUp"]
    harness.disk.held = False
    harness.turns()
    assert live(harness) == [b"[1]"]


def test_a_long_history_comes_in_pages():
    realm = Realm(name=REALM, history=(History(topic="ruled.#", max_events=10_000),))
    harness = ShardHarness(gateways=3, realms=[realm])
    harness.send(
        "gateway-0",
        *[publish("ruled.a", request=i, args=b"[%d]" % i) for i in range(PAGE_EVENTS + 1)],
        reliable=True,
    )
    harness.turns()
    harness.say("gateway-1", follow(), More(1))
    first = replayed(harness)
    assert (len(first), first[-1]) == (PAGE_EVENTS + 3, "Paused")
    harness.say("gateway-1", More(1))
    assert replayed(harness) == [b"[%d]" % PAGE_EVENTS, "CaughtUp"]


def test_a_history_that_was_trimmed_is_refused_by_its_oldest_id(harness):
    ids = record(harness, *range(1, 40))
    harness.say("gateway-1", follow([ids[0]]))
    (refusal,) = harness.got("gateway-1", REPLAY)
    assert type(refusal) is NotSubscribed
    assert (refusal.token, refusal.uri) == (1, "fox.error.history_gap")
    assert refusal.oldest in ids
    assert str(refusal.oldest) in refusal.message
    # From there on it is complete; and who has seen nothing gets what there is.
    for after in ([refusal.oldest - 64], []):
        harness.say("gateway-1", follow(after, token=2), More(2))
        assert replayed(harness)[2] == b"[%d]" % (ids.index(refusal.oldest) + 1)


@pytest.mark.parametrize("after", [(), (64,)])
def test_who_reads_slower_than_the_history_is_trimmed_is_told_so(after, harness, monkeypatch):
    """He would never know of what has gone between two pages."""
    monkeypatch.setattr("fox_shard.shard.pubsub.replay.PAGE_EVENTS", 4)
    ids = record(harness, *range(1, 9))
    after = after and (ids[0] - 64,)
    harness.say("gateway-1", follow(after))
    harness.say("gateway-1", More(1))
    assert replayed(harness) == ["Subscribed", "Paused", b"[1]", b"[2]", b"[3]", b"[4]", "Paused"]
    # Here nothing has gone yet that has not come.
    record(harness, *range(9, 19))
    harness.say("gateway-1", More(1))
    assert replayed(harness) == [b"[5]", b"[6]", b"[7]", b"[8]", "Paused"]
    record(harness, *range(19, 40))
    harness.say("gateway-1", More(1))
    [refusal] = harness.got("gateway-1", REPLAY)
    assert (type(refusal), refusal.token) == (NotSubscribed, 1)
    assert refusal.oldest > ids[-1]
    assert harness.shard.subscriptions.replays(harness.shard.peers["gateway-1"]) == {}


def test_what_was_trimmed_before_does_not_matter_to_who_reads_all_there_is(harness, monkeypatch):
    monkeypatch.setattr("fox_shard.shard.pubsub.replay.PAGE_EVENTS", 4)
    record(harness, *range(1, 7), topic="free", flags=ACKNOWLEDGE | TRACE)
    record(harness, *range(7, 40))
    harness.say("gateway-1", follow(), More(1), More(1), More(1))
    assert NotSubscribed not in [type(one) for one in harness.got("gateway-1")]


def test_who_follows_is_sent_what_was_not_heard_before_a_restart(harness):
    """Its publisher's gateway has gone, and does not send it again."""
    first, *_ = record(harness, 1)
    harness["gateway-1"].replay = [follow(token=0, start_id=first)]
    harness.say("gateway-1", follow(), More(1))
    harness.got("gateway-1")
    harness["gateway-1"].deaf = True
    harness.say("gateway-0", publish("ruled.a", request=2, args=b"[2]"), reliable=True)
    harness.kill("gateway-0")
    harness.restart()
    harness.pass_time(harness.terms.peer_timeout + 1)
    assert live(harness) == [b"[2]"]
    assert harness.got("gateway-1", Event) == []


def test_who_has_missed_what_is_trimmed_meanwhile_is_told_so(harness):
    first, *_ = record(harness, 1)
    harness["gateway-1"].replay = [follow(token=0, start_id=first)]
    harness.say("gateway-1", follow(), More(1))
    harness.got("gateway-1")
    harness["gateway-1"].deaf = True
    record(harness, *range(2, 60))
    harness["gateway-1"].deaf = False
    harness["gateway-1"].link.break_off(harness.now)
    harness.turns(6)
    (refusal, *_) = harness.got("gateway-1", NotSubscribed)
    assert (refusal.token, refusal.selector, refusal.uri) == (0, ID, "fox.error.history_gap")
    assert refusal.oldest > first
